/* --json of the real program: each line of stdout is an event with the fields that the design names, in an order that makes sense. */
#include <cjson/cJSON.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

#define DEMO KG_SOURCE_DIR "/graphs/demo/t2v.lua"

static char folder[] = "/tmp/kino_events_XXXXXX";

static int has_text(const cJSON *e, const char *name) { return cJSON_IsString(cJSON_GetObjectItemCaseSensitive(e, name)); }
static double number(const cJSON *e, const char *name)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(e, name);
    return cJSON_IsNumber(n) ? n->valuedouble : -1;
}
static const char *text(const cJSON *e, const char *name)
{
    const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(e, name));
    return s ? s : "";
}
static int is(const cJSON *e, const char *name, const char *value) { return !strcmp(text(e, name), value); }

typedef struct seen { int lines, plans, nodes, steps, dones, errors, warnings, status; double last_i; } seen;

static void check_plan(const cJSON *e, const seen *s)
{
    const cJSON *peak = cJSON_GetObjectItemCaseSensitive(e, "peak");
    CHECK(!s->nodes && !s->steps && number(e, "version") == 1 && has_text(e, "device"));
    CHECK(number(peak, "device") > 1 << 20 && number(peak, "host") > 1 << 20 && number(e, "seconds") >= 0);
    CHECK(number(e, "nodes") >= 0 && number(e, "cached") >= 0);
}

static void check_node(const cJSON *e)
{
    CHECK(strchr(text(e, "node"), '.') && has_text(e, "label") && number(e, "resident") >= 0 && number(e, "seconds") >= 0);
    CHECK(is(e, "state", "run") || is(e, "state", "cached") || is(e, "state", "done"), "%s", text(e, "state"));
    CHECK(!is(e, "node", "wan.sample") || is(e, "label", "main"));
}

/* Steps of the sampler count up to their number, and no further. */
static void check_step(const cJSON *e, seen *s)
{
    double i = number(e, "i"), n = number(e, "n");
    CHECK(strchr(text(e, "node"), '.') && has_text(e, "scope") && i >= 0 && i <= n && number(e, "left") >= 0);
    if (!is(e, "node", "wan.sample") || !is(e, "scope", "step"))
        return;
    CHECK(i >= s->last_i && n == 6);
    s->last_i = i;
}

static void check_event(const char *line, seen *s)
{
    cJSON *e = cJSON_Parse(line);
    CHECK(cJSON_IsObject(e) && !s->dones, "%s", line);
    if (is(e, "event", "plan") && ++s->plans)
        check_plan(e, s);
    else if (is(e, "event", "node") && ++s->nodes)
        check_node(e);
    else if (is(e, "event", "step") && ++s->steps)
        check_step(e, s);
    else if (is(e, "event", "done") && ++s->dones)
        CHECK(number(e, "seconds") >= 0 && number(e, "arena") > 0);
    else if (is(e, "event", "warning") && ++s->warnings)
        CHECK(*text(e, "message") && (!has_text(e, "node") || has_text(e, "label")));
    else if (is(e, "event", "error") && ++s->errors)
        CHECK(number(e, "status") > 0 && has_text(e, "path") && *text(e, "message") && has_text(e, "hint"));
    else
        CHECK(0, "no event: %s", line);
    ++s->lines;
    cJSON_Delete(e);
}

static seen run(const char *arguments)
{
    char command[1024], line[8192];
    seen s = {0};
    snprintf(command, sizeof command,
             "./kino run " DEMO " --any_size yes --size 64x64 --frames 5 --steps 6 --json"
             " --cache %s/c.sqlite --out %s/clip.mp4 %s 2>%s/err", folder,
             folder, arguments, folder);
    FILE *p = popen(command, "r");
    while (p && fgets(line, sizeof line, p))
        check_event(line, &s);
    s.status = p ? pclose(p) : -1;
    s.status = WIFEXITED(s.status) ? WEXITSTATUS(s.status) : -1;
    return s;
}

int main(void)
{
    char command[64];
    CHECK(mkdtemp(folder) != NULL);
    seen s = run("");
    CHECK(s.status == 0 && s.plans == 1 && s.dones == 1 && !s.errors && s.last_i == 6, "%d lines", s.lines);
    CHECK(s.nodes == 12, "six nodes run and are done: %d", s.nodes);
    s = run("--fps 9");
    CHECK(s.status == 0 && s.last_i == 0 && s.plans == 1 && s.dones == 1);
    s = run("--force --force --steps 6 --ram 60M");
    CHECK(s.status == 3 && s.lines == 1 && s.errors == 1);
    s = run("--model none.safetensors");
    CHECK(s.status == 4 && s.lines == 1 && s.errors == 1);
    s = run("--frames 6");
    CHECK(s.status == 2 && s.lines == 1 && s.errors == 1);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK(system(command) == 0);
    return TEST_END();
}
