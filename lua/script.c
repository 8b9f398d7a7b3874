/* The life of a script: opened (forked), described, built, closed. See script.h. */
#include "lua/script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lua/host.h"
#include "lua/wall.h"

enum { SOURCE_MOST = 1 << 20, SENT_MOST = 64 << 20 };

static kg_script_limits limits_filled(kg_script_limits l)
{
    if (l.cpu_seconds <= 0)
        l.cpu_seconds = 5;
    if (l.wall_seconds <= 0)
        l.wall_seconds = 10;
    if (!l.memory)
        l.memory = (size_t)256 << 20;
    if (!l.nodes)
        l.nodes = 4096;
    if (!l.edits)
        l.edits = (size_t)16 << 20;
    return l;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

const kg_embedded *kg_embedded_find(const char *name)
{
    const kg_embedded *e = kg_lua_graphs;
    while (e->name && strcmp(e->name, name))
        ++e;
    return e->name ? e : NULL;
}

const char *kg_script_template(int i)
{
    const kg_embedded *e = kg_lua_graphs;
    for (; e->name && i > 0; --i)
        ++e;
    return e->name;
}

kg_script *kg_host_new(const char *path, const kg_script_options *o)
{
    kg_script *s = calloc(1, sizeof *s);
    if (s) {
        s->fd = -1;
        s->path = strdup(path);
        s->embedded = access(path, F_OK) ? kg_embedded_find(path) : NULL;
        s->folder = s->embedded ? strdup(".") : folder_of(path);
        s->templates = calloc((size_t)o->template_count + 1, sizeof *s->templates);
    }
    if (!s || !s->path || !s->folder || !s->templates) {
        kg_script_close(s);
        kg_fail(KG_FAILED, "out of host memory");
        return NULL;
    }
    for (int i = 0; i < o->template_count; ++i)
        if (!access(o->templates[i], R_OK | X_OK) && (s->templates[s->template_count] = strdup(o->templates[i])))
            ++s->template_count;
    s->files = o->files;
    s->given = o->texts;
    s->given_count = o->text_count;
    s->limits = limits_filled(o->limits);
    s->cancel = o->cancel;
    s->reserved = o->reserved;
    s->no_walls = o->no_walls;
    s->out.most = SENT_MOST;
    return s;
}

const kg_script_text *kg_host_given(const kg_script *s, const char *name)
{
    for (int i = 0; i < s->given_count; ++i)
        if (!strcmp(s->given[i].name, name))
            return &s->given[i];
    return NULL;
}

kg_status kg_host_keep_text(kg_script *s, const char *name, const char *path, const char *text)
{
    for (int i = 0; i < s->text_count; ++i)
        if (!strcmp(s->texts[i].name, name))
            return KG_OK;
    kg_script_text *p = realloc(s->texts, (size_t)(s->text_count + 1) * sizeof *p);
    if (!p)
        return kg_fail(KG_FAILED, "out of host memory");
    s->texts = p;
    p += s->text_count++;
    *p = (kg_script_text){strdup(name), strdup(path), strdup(text)};
    return p->name && p->path && p->text ? KG_OK : kg_fail(KG_FAILED, "out of host memory");
}

const kg_script_text *kg_script_texts(const kg_script *s, int *n)
{
    *n = s->text_count;
    return s->texts;
}

/* The script's text when it is not read from a file, or NULL. */
static const char *instead_of_file(const kg_script *s)
{
    const kg_script_text *given = kg_host_given(s, "");
    return given ? given->text : s->embedded ? (const char *)s->embedded->text : NULL;
}

/* "kino/..." that is neither a file nor a template. */
static kg_status no_template(const char *path)
{
    enum { MOST = 64 };
    const char *names[MOST];
    int n = 0;
    while (n < MOST && kg_lua_graphs[n].name) {
        names[n] = kg_lua_graphs[n].name;
        ++n;
    }
    int near = kg_near(path, names, n);
    kg_fail(KG_INPUT, "there is no graph '%s'", path);
    kg_hint(near >= 0 ? "did you mean %s? kino graphs lists them all" : "kino graphs lists those that come with the program",
            near >= 0 ? names[near] : "");
    return KG_INPUT;
}

static kg_status roots(kg_script *s)
{
    if (!instead_of_file(s) && !strncmp(s->path, "kino/", 5) && access(s->path, F_OK))
        return no_template(s->path);
    kg_status status = instead_of_file(s) ? KG_OK : kg_files_grant(s->files, s->path);
    if (status == KG_OK && !access(s->folder, X_OK))       /* if not, opening the script says what is wrong */
        status = kg_files_root(s->files, s->folder, KG_ROOT_PLAIN);
    for (int i = 0; i < s->template_count && status == KG_OK; ++i)
        status = kg_files_root(s->files, s->templates[i], KG_ROOT_PLAIN);
    return status;
}

/* The source, into the LOAD frame that waits in s->out. */
static kg_status source(kg_script *s)
{
    const char *own = instead_of_file(s);
    kg_file *f = own ? NULL : kg_open(s->files, s->path);
    size_t n = own ? strlen(own) : 0;
    char *text = own ? strdup(own) : f ? kg_file_text(f, SOURCE_MOST, &n) : NULL;
    if (text && text[0] == 0x1b)
        kg_fail(KG_USAGE, "%s is compiled Lua; graph scripts are text", s->path);
    else if (text && memchr(text, 0, n))
        kg_fail(KG_USAGE, "%s is no text: it holds a zero byte", s->path);
    else if (text) {
        kg_write_begin(&s->out, KG_W_LOAD);
        kg_write_text(&s->out, s->path, strlen(s->path));
        kg_write_text(&s->out, text, n);
        kg_host_keep_text(s, "", s->path, text);
    }
    free(text);
    kg_file_unref(f);
    return kg_error_last()->status;
}

static kg_status start(kg_script *s)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return kg_fail(KG_FAILED, "cannot make a socket for a script");
    pid_t parent = getpid();
    s->pid = fork();
    if (s->pid == 0)
        kg_child_main(ends[1], parent, &s->limits, s->reserved);
    close(ends[1]);
    s->fd = ends[0];
    return s->pid > 0 ? KG_OK : kg_fail(KG_FAILED, "cannot start a process for a script");
}

kg_script *kg_script_open(const char *path, const kg_script_options *o)
{
    kg_script *s = kg_host_new(path, o);
    if (!s)
        return NULL;
    if (roots(s) || source(s) || start(s)) {
        kg_script_close(s);
        return NULL;
    }
    return s;
}

void kg_script_close(kg_script *s)
{
    if (!s)
        return;
    kg_host_end(s);
    for (int i = 0; i < s->template_count; ++i)
        free(s->templates[i]);
    for (int i = 0; i < s->text_count; ++i) {
        free((char *)(uintptr_t)s->texts[i].name);
        free((char *)(uintptr_t)s->texts[i].path);
        free((char *)(uintptr_t)s->texts[i].text);
    }
    free(s->texts);
    kg_doc_free(s->doc);
    free(s->templates);
    free(s->path);
    free(s->folder);
    free(s->payload);
    free(s->out.at);
    free(s);
}

/* A fault of any kind ends the script. */
static kg_status end_on(kg_script *s, kg_status status)
{
    if (status)
        kg_host_end(s);
    return status;
}

/* For refusals: the options that take an output. */
static kg_status say_outs(const kg_script *s)
{
    char words[256] = "";
    size_t n = 0;
    for (int i = 0; i < s->doc->n; ++i)
        if (s->doc->params[i].type == KG_S_OUT && n < sizeof words)
            n += (size_t)snprintf(words + n, sizeof words - n, "%s--%s FILE", n ? ", " : "", s->doc->params[i].name);
    return kg_files_out_words(s->files, n ? words : NULL);
}

const kg_script_doc *kg_script_describe(kg_script *s)
{
    size_t bytes;
    if (s->doc)
        return s->doc;
    if (end_on(s, kg_host_greet(s)) || end_on(s, kg_host_send(s)) || end_on(s, kg_host_serve(s, NULL, KG_W_DECLARED, &bytes)))
        return NULL;
    s->doc = kg_doc_decode(s->payload, bytes);
    if (!s->doc)
        kg_host_malformed(s);
    return s->doc && say_outs(s) == KG_OK ? s->doc : NULL;
}

static const kg_script_param *param_find(const kg_script_doc *d, const char *name)
{
    for (int i = 0; i < d->n; ++i)
        if (!strcmp(d->params[i].name, name))
            return &d->params[i];
    return NULL;
}

/* A path that was typed is granted by that act. Names and values are checked by the script's process. */
static kg_status grant(kg_script *s, const kg_script_value *v)
{
    const kg_script_param *p = param_find(s->doc, v->name);
    if (p && p->type == KG_S_PATH && v->text[0])
        return kg_files_grant(s->files, v->text);
    return p && p->type == KG_S_OUT && v->text[0] ? kg_files_grant_out(s->files, v->text) : KG_OK;
}

static kg_status want(kg_script *s, kg_graph *g, size_t bytes)
{
    kg_reader r = {.at = s->payload, .left = bytes};
    uint32_t n = kg_read_u32(&r);
    if (n < 1 || r.left != (size_t)n * sizeof n)
        return kg_host_malformed(s);
    for (uint32_t i = 0; i < n; ++i) {
        uint32_t node = kg_read_u32(&r);
        if (node >= (uint32_t)kg_graph_count(g))
            return kg_host_malformed(s);
        kg_status status = kg_graph_want(g, (int)node);
        if (status)
            return status;
    }
    return KG_OK;
}

static void log_unreached(const kg_script *s, const kg_graph *g)
{
    int nodes[8], n = kg_graph_unreached(g, nodes, 8);
    for (int i = 0; i < n && i < 8; ++i) {
        const char *label = kg_graph_label(g, nodes[i]);
        kg_warn("%s: %s%s%s%s does not run: nothing that the script returns needs it", s->path, kg_graph_type(g, nodes[i])->name,
               label[0] ? " '" : "", label, label[0] ? "'" : "");
    }
    if (n > 8)
        kg_warn("%s: %d more nodes do not run either", s->path, n - 8);
}

kg_status kg_script_build(kg_script *s, const kg_script_value *values, int n, kg_graph *g)
{
    size_t bytes;
    if (!kg_script_describe(s))
        return kg_error_last()->status;
    kg_write_begin(&s->out, KG_W_BUILD);
    kg_write_u32(&s->out, (uint32_t)n);
    for (int i = 0; i < n; ++i) {
        kg_status status = grant(s, &values[i]);
        if (status)
            return end_on(s, status);
        kg_write_text(&s->out, values[i].name, strlen(values[i].name));
        kg_write_text(&s->out, values[i].text, strlen(values[i].text));
    }
    kg_status status = kg_host_send(s);
    if (!status)
        status = kg_host_serve(s, g, KG_W_WANTED, &bytes);
    if (!status)
        status = want(s, g, bytes);
    kg_host_end(s);                            /* a script is run once */
    if (!status)
        log_unreached(s, g);
    return status;
}

int kg_script_walls(const kg_script *s) { return s->walls; }

int kg_script_walls_here(void)
{
    int status = 0;
    pid_t pid = fork();
    if (!pid)
        _exit(kg_wall_up());
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) & (KG_WALL_LANDLOCK | KG_WALL_SECCOMP) : 0;
}

const char *kg_script_type_name(kg_script_type t)
{
    static const char *const names[KG_S_TYPES] = {"string", "int",  "number", "bool", "path", "out",
                                                  "choice", "seed", "seeds",  "list", "size"};
    return names[t];
}
