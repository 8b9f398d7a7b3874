/* kino graphs: the templates that the program brings along, each with what it says of itself. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/kino_cli.h"

static void graph_json(cJSON *list, const char *name, const kg_script_doc *d)
{
    cJSON *o = cJSON_CreateObject(), *params = cJSON_CreateArray();
    cJSON_AddStringToObject(o, "name", name);
    cJSON_AddStringToObject(o, "doc", d->doc);
    for (int i = 0; i < d->n; ++i)
        cJSON_AddItemToArray(params, cJSON_CreateString(d->params[i].name));
    cJSON_AddItemToObject(o, "params", params);
    cJSON_AddItemToArray(list, o);
}

/* The first line of its doc stands in the list. */
static void graph_text(const char *name, const kg_script_doc *d)
{
    char *line = strndup(d->doc, strcspn(d->doc, "\n"));
    printf("%-20s ", name);
    kino_print_plain(line ? line : "", stdout);
    putchar('\n');
    free(line);
}

static kg_status graph(const kino_options *o, const char *name, cJSON *list)
{
    kg_files *files = kg_files_new();
    kg_script *s = kg_script_open(name, &(kg_script_options){.files = files, .no_walls = o->no_walls, .cancel = &kino_interrupted});
    const kg_script_doc *d = s ? kg_script_describe(s) : NULL;
    if (d && list)
        graph_json(list, name, d);
    else if (d)
        graph_text(name, d);
    kg_script_close(s);
    kg_files_free(files);
    return d ? KG_OK : kg_error_last()->status;
}

kg_status kino_graphs(kino_options *o)
{
    if (o->target)
        return kg_fail(KG_USAGE, "kino graphs lists them all; kino run %s --help says what one takes", o->target);
    cJSON *list = o->json ? cJSON_CreateArray() : NULL;
    kg_status s = KG_OK;
    for (int i = 0; s == KG_OK && kg_script_template(i); ++i)
        s = graph(o, kg_script_template(i), list);
    char *text = list && s == KG_OK ? cJSON_PrintUnformatted(list) : NULL;
    if (text)
        puts(text);
    free(text);
    cJSON_Delete(list);
    return s;
}
