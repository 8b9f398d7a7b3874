/* What the engine does for a script: adds nodes, reads templates, writes its lines to the log, and makes an error of its last word. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lua/host.h"

enum { REQUIRES_MOST = 256, SOURCE_MOST = 1 << 20 };

/* The text of a payload that is one text, to be changed in place; NULL when malformed. */
static char *own_text(kg_script *s, size_t bytes)
{
    kg_reader r = {.at = s->payload, .left = bytes};
    const char *text = kg_read_text(&r, SIZE_MAX - 1, NULL);
    if (r.bad || r.left)
        return NULL;
    return (char *)s->payload + (text - (const char *)s->payload);
}

static void log_lines(char *text)
{
    for (char *rest; text; text = rest) {
        rest = strchr(text, '\n');
        if (rest)
            *rest++ = 0;
        kg_log("%s", text);
    }
}

/* An error becomes the answer to the script, which raises it at its line; the record is kept for when nobody catches it. */
static void refuse(kg_script *s)
{
    const kg_error *e = &s->refused;
    kg_error_take(&s->refused);
    snprintf(s->refusal, sizeof s->refusal, "%s%s%s%s%s%s", e->path, e->path[0] ? ": " : "", e->message, e->hint[0] ? " (" : "", e->hint,
             e->hint[0] ? ")" : "");
    kg_write_begin(&s->out, KG_W_REFUSED);
    kg_write_text(&s->out, s->refusal, strlen(s->refusal));
}

/* ---- nodes ---- */

static int plain(const char *s, size_t n)
{
    for (size_t i = 0; i < n; ++i)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '-' || s[i] == '_'))
            return 0;
    return 1;
}

static kg_status add(kg_script *s, kg_graph *g, size_t bytes)
{
    if (!g || !kg_edit_decode(s->payload, bytes, &s->edit))
        return kg_host_malformed(s);
    if (++s->adds > s->limits.nodes)
        return kg_host_limit(s, KG_L_NODES);
    int node = kg_graph_add(g, s->edit.type, s->edit.label, s->edit.args, s->edit.n);
    if (node >= 0) {
        kg_write_begin(&s->out, KG_W_NODE);
        kg_write_u32(&s->out, (uint32_t)node);
    } else
        refuse(s);
    return kg_host_send(s);
}

/* ---- require ---- */

/* "wan_t2v" or "demo/t2v": letters, digits, underscores and dashes, in parts. */
static int template_name(const char *s)
{
    size_t part = 0;
    for (; *s; ++s) {
        if (*s == '/' ? !part : !plain(s, 1))
            return 0;
        part = *s == '/' ? 0 : part + 1;
    }
    return part > 0;
}

/* folder/name.lua, as it is opened (absolute, so that it lies in this root and in no other) and as errors call it. */
static kg_file *template_open(kg_script *s, const char *folder, const char *name, char shown[PATH_MAX])
{
    char here[PATH_MAX] = "", full[PATH_MAX];
    if (folder[0] != '/' && !getcwd(here, sizeof here))
        return NULL;
    int bare = !strcmp(folder, ".");
    int n = snprintf(full, sizeof full, "%s%s%s/%s.lua", here, here[0] ? "/" : "", folder, name);
    int m = snprintf(shown, PATH_MAX, "%s%s%s.lua", bare ? "" : folder, bare ? "" : "/", name);
    if (n >= PATH_MAX || m >= PATH_MAX || !kg_exists(s->files, full))
        return NULL;
    return kg_open(s->files, full);
}

static void template_send(kg_script *s, const char *name, const char *shown, const char *text)
{
    if (kg_host_keep_text(s, name, shown, text) != KG_OK)
        return;
    kg_write_begin(&s->out, KG_W_MODULE);
    kg_write_text(&s->out, shown, strlen(shown));
    kg_write_text(&s->out, text, strlen(text));
}

static void template_text(kg_script *s, const char *name)
{
    char shown[PATH_MAX];
    size_t n;
    const kg_script_text *given = kg_host_given(s, name);
    if (given) {
        template_send(s, name, given->path, given->text);
        return;
    }
    kg_file *f = template_open(s, s->folder, name, shown);
    for (int i = 0; !f && i < s->template_count; ++i)
        f = template_open(s, s->templates[i], name, shown);
    const kg_embedded *own = f || kg_error_last()->status ? NULL : kg_embedded_find(name);
    if (own) {
        template_send(s, name, name, (const char *)own->text);
        return;
    }
    if (!f) {
        kg_fail(KG_INPUT, "there is no template \"%s\"", name);
        kg_hint("require finds %s.lua in '%s'", name, s->folder);
        for (int i = 0; i < s->template_count; ++i)
            kg_hint(", '%s'", s->templates[i]);
        kg_hint(", and what kino graphs lists");
        return;
    }
    char *text = kg_file_text(f, SOURCE_MOST, &n);
    if (text && (text[0] == 0x1b || memchr(text, 0, n)))
        kg_fail(KG_USAGE, "%s is no text; graph scripts are text", shown);
    else if (text)
        template_send(s, name, shown, text);
    free(text);
    kg_file_unref(f);
}

static kg_status require(kg_script *s, size_t bytes)
{
    kg_reader r = {.at = s->payload, .left = bytes};
    const char *name = kg_read_name(&r, KG_EDIT_NAME);
    if (r.bad || r.left)
        return kg_host_malformed(s);
    if (++s->requires > REQUIRES_MOST)
        kg_fail(KG_USAGE, "require is called more than %d times", REQUIRES_MOST);
    else if (!template_name(name))
        kg_fail(KG_USAGE, "require finds graph templates only, and \"%s\" is no name of one", name);
    else
        template_text(s, name);
    if (kg_error_last()->status)
        refuse(s);
    return kg_host_send(s);
}

/* ---- ends ---- */

/* The script's last word. When it is a refusal of ours with the line in front, the refusal's status, path and hint go on. */
static kg_status last_word(kg_script *s, const char *text, const char *way)
{
    const char *open = *way ? " (" : "", *close = *way ? ")" : "";
    size_t n = strlen(text), m = strlen(s->refusal);
    if (!m || n < m || strcmp(text + n - m, s->refusal))
        return kg_fail(KG_USAGE, "%s%s%s%s", text, open, way, close);
    kg_error e = s->refused;
    kg_fail(e.status, "%.*s%s%s%s%s", (int)(n - m), text, e.message, open, way, close);
    kg_error_path(e.path);
    kg_hint("%s", e.hint);
    return e.status;
}

static kg_status ended(kg_script *s, uint32_t kind, size_t bytes)
{
    kg_reader r = {.at = s->payload, .left = bytes};
    if (kind == KG_W_LIMIT)
        return kg_host_limit(s, (int)kg_read_u32(&r));
    const char *text = kg_read_text(&r, SIZE_MAX - 1, NULL), *way = kg_read_text(&r, SIZE_MAX - 1, NULL);
    if (kind != KG_W_ERROR || r.bad || r.left)
        return kg_host_malformed(s);
    kg_host_end(s);
    return last_word(s, text, way);
}

/* Neither files nor the network: that is what running a stranger's script stands on. */
static kg_status walls_hold(kg_script *s)
{
    if (s->walls & KG_WALL_SECCOMP || s->no_walls)
        return KG_OK;
    kg_host_end(s);
    kg_fail(KG_USAGE, "%s is not run: %s", s->path,
            s->walls & KG_WALL_LANDLOCK ? "of the walls around a script this kernel has Landlock, which closes files, and not "
                                          "seccomp, which closes the network too"
                                        : "this kernel has none of the walls around a script, neither Landlock nor seccomp");
    kg_hint("--no-walls runs it without, as any program that you trust");
    return KG_USAGE;
}

kg_status kg_host_greet(kg_script *s)
{
    size_t bytes;
    kg_status status = kg_host_serve(s, NULL, KG_W_HELLO, &bytes);
    if (status)
        return status;
    kg_reader r = {.at = s->payload, .left = bytes};
    s->walls = (int)(kg_read_u32(&r) & (KG_WALL_LANDLOCK | KG_WALL_SECCOMP));
    return r.bad || r.left ? kg_host_malformed(s) : walls_hold(s);
}

kg_status kg_host_serve(kg_script *s, kg_graph *g, uint32_t until, size_t *bytes)
{
    uint32_t kind;
    char *text;
    for (;;) {
        kg_status status = kg_host_receive(s, &kind, bytes);
        if (status || kind == until)
            return status;
        switch (kind) {
        case KG_W_ADD: status = add(s, g, *bytes); break;
        case KG_W_REQUIRE: status = require(s, *bytes); break;
        case KG_W_LOG:
            text = own_text(s, *bytes);
            if (!text)
                return kg_host_malformed(s);
            log_lines(text);
            break;
        default: return ended(s, kind, *bytes);
        }
        if (status)
            return status;
    }
}
