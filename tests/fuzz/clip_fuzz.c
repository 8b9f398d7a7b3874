/* Any bytes as a video: refused, or frames of just the size that its container promised. Without libav nothing is read. */
#include "tests/fuzz/file.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef KG_AV
#include "nodes/lib/media_clip.h"
#include "nodes/lib/media_mp4.h"

static void decode(const kg_file *f)
{
    kg_clip_facts a;
    if (kg_clip_look(f, &a) != KG_OK || a.width * a.height > 1 << 16)
        return;
    kg_clip *c = kg_clip_open(f);
    uint8_t *rgb = malloc((size_t)(3 * a.width * a.height));
    for (int i = 0; c && rgb && i < 20 && kg_clip_next(c, a.width, a.height, i % 3 ? rgb : NULL) == KG_OK; ++i)
        ;
    free(rgb);
    kg_clip_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    kg_file f = fuzz_file(data, n);
    decode(&f);
    kg_error_clear();
    close(f.fd);
    return 0;
}

/* Five frames of 16x16 as we write them. */
size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    char folder[] = "/tmp/kino_fuzz_XXXXXX", path[64];
    size_t n = 0;
    if (index || !mkdtemp(folder))
        return 0;
    snprintf(path, sizeof path, "%s/seed.mp4", folder);
    kg_files *files = kg_files_new();
    kg_files_grant_out(files, path);
    kg_mp4 *m = kg_mp4_new(files, path, &(kg_mp4_settings){.width = 16, .height = 16, .fps = 8, .crf = 30, .preset = "fast"});
    for (int t = 0; t < 5 && m; ++t) {
        uint8_t rgb[3 * 16 * 16];
        for (size_t i = 0; i < sizeof rgb; ++i)
            rgb[i] = (uint8_t)(i * 7 + (size_t)t * 40);
        kg_mp4_frame(m, rgb);
    }
    FILE *f = m && kg_mp4_finish(m) == KG_OK ? fopen(path, "rb") : NULL;
    if (f) {
        n = fread(out, 1, max, f);
        fclose(f);
    }
    kg_mp4_free(m);
    kg_files_free(files);
    unlink(path);
    rmdir(folder);
    kg_error_clear();
    return n;
}
#else
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) { return (void)data, (void)n, 0; }
#endif
