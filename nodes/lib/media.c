/* Small things that pictures and frames share. */
#include "nodes/lib/media.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

void kg_seen_note(kg_seen *s, kg_files *files, const kg_file *f)
{
    *s = (kg_seen){.files = files, .stamp = f->stamp};
}

kg_file *kg_seen_open(const kg_seen *s, const char *path)
{
    kg_file *f = kg_open(s->files, path);
    if (f && !kg_stamp_equal(&f->stamp, &s->stamp)) {
        kg_fail(KG_INPUT, "'%s' has changed since the graph was made", path);
        kg_file_unref(f);
        return NULL;
    }
    return f;
}

int kg_name_end(const char *path, const char *what, const char *ends)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    size_t n = dot ? strlen(dot) : 0, m;
    int at = 0;
    for (const char *s = ends; *s; s += m + (s[m] == '|'), ++at) {
        m = strcspn(s, "|");
        if (n == m && !strncasecmp(dot, s, m))
            return at;
    }
    char list[64] = "";
    for (const char *s = ends; *s; s += m + (s[m] == '|')) {
        m = strcspn(s, "|");
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%.*s", s == ends ? "" : s[m] ? ", " : " or ", (int)m, s);
    }
    kg_fail(KG_USAGE, "'%s': %s is written to a name that ends in %s, in small or capital letters", path, what, list);
    return -1;
}

kg_status kg_frames_check(const char *port, const kg_desc *d)
{
    if (d->dtype != KG_U8 || d->rank != 3 || d->shape[2] != 3)
        return kg_fail(KG_USAGE, "input %s wants frames of 8-bit RGB, [height, width, 3]", port);
    if (d->shape[0] < 2 || d->shape[1] < 2 || d->shape[0] > KG_SIDE_MAX || d->shape[1] > KG_SIDE_MAX)
        return kg_fail(KG_USAGE, "input %s has frames of %" PRId64 "x%" PRId64 "; a side has 2 to %d pixels",
                       port, d->shape[1], d->shape[0], KG_SIDE_MAX);
    return KG_OK;
}

void kg_copy_rows(const kg_tensor *out, const kg_tensor *in)
{
    size_t bytes = (size_t)kg_cols(in) * kg_dtype_bytes(in->dtype);
    size_t from = (size_t)in->row * kg_dtype_bytes(in->dtype);
    size_t to = (size_t)out->row * kg_dtype_bytes(out->dtype);
    for (int64_t i = 0; i < kg_rows(in); ++i)
        memcpy((char *)out->at + (size_t)i * to, (const char *)in->at + (size_t)i * from, bytes);
}

kg_tensor kg_picture_part(kg_tensor picture, int64_t x, int64_t y, int64_t width, int64_t height)
{
    kg_tensor rows = kg_view(picture, KG_SHAPE(picture.shape[0], picture.shape[1] * 3));
    return kg_slice_cols(kg_slice(rows, y, height), 3 * x, 3 * width);
}
