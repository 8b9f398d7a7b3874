/* See rates.h. A cell is the ratio of two sums; each run makes the older ones count for less, so that a driver, a governor or a
 * neighbour that changed is followed within a few runs. */
#include "core/rates.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEPS 0.6          /* of the older sums, beside a run that is as long */
#define FAR 20.0           /* a ratio beyond is no rate: the machine slept, or the clock was set */

static int size_of(double planned, int64_t kernels)
{
    double one = planned / (double)(kernels > 0 ? kernels : 1);
    return one > 1e-9 ? (int)floor(log10(one)) : -9;
}

static int sane(double planned, double taken)
{
    return isfinite(planned) && isfinite(taken) && planned > 0 && taken > 0 && taken < FAR * planned && planned < FAR * taken;
}

/* The cell of this size or of the nearest; NULL when there is none of these units. */
static const kg_rate_cell *nearest(const kg_rates *r, const char *what, int size)
{
    const kg_rate_cell *best = NULL;
    for (int i = 0; i < r->n; ++i)
        if (!strcmp(r->cell[i].what, what) && (!best || abs(r->cell[i].size - size) < abs(best->size - size)))
            best = &r->cell[i];
    return best;
}

static kg_rate_cell *cell_for(kg_rates *r, const char *what, int size)
{
    kg_rate_cell *c = (kg_rate_cell *)nearest(r, what, size);
    if (c && c->size == size)
        return c;
    if (r->n == KG_RATE_CELLS) {           /* the one that knows least makes room */
        c = &r->cell[0];
        for (int i = 1; i < r->n; ++i)
            c = r->cell[i].taken < c->taken ? &r->cell[i] : c;
    } else {
        c = &r->cell[r->n++];
    }
    *c = (kg_rate_cell){.size = size};
    snprintf(c->what, sizeof c->what, "%s", what);
    return c;
}

void kg_rates_note(kg_rates *r, const char *what, double planned, int64_t kernels, double taken)
{
    if (!sane(planned, taken) || strlen(what) >= sizeof r->cell[0].what)
        return;
    kg_rate_cell *c = cell_for(r, what, size_of(planned, kernels));
    double keeps = c->taken > 0 ? KEEPS * fmin(1, taken / c->taken) + 1 - fmin(1, taken / c->taken) : 0;
    c->planned = c->planned * keeps + planned;
    c->taken = c->taken * keeps + taken;
}

double kg_rates_factor(const kg_rates *r, const char *what, double planned, int64_t kernels)
{
    double all[2] = {0, 0};
    if (!r || !r->n)
        return 1;
    const kg_rate_cell *c = nearest(r, what, size_of(planned, kernels));
    if (c)
        return c->taken / c->planned;
    for (int i = 0; i < r->n; ++i) {
        all[0] += r->cell[i].planned;
        all[1] += r->cell[i].taken;
    }
    return all[1] / all[0];
}

void kg_rates_note_load(kg_rate_load *l, double bytes, double seconds)
{
    if (!(bytes > 0) || !(seconds > 0) || !isfinite(bytes / seconds))
        return;
    double keeps = l->bytes > 0 ? 1 - (1 - KEEPS) * fmin(1, bytes / l->bytes) : 0;
    l->bytes = l->bytes * keeps + bytes;
    l->seconds = l->seconds * keeps + seconds;
}

double kg_rates_load_rate(const kg_rate_load *l, double otherwise)
{
    return l->seconds > 0 && l->bytes > 0 ? l->bytes / l->seconds : otherwise;
}

/* ---- JSON ---- */
static int number(const cJSON *v, double *out)
{
    *out = cJSON_IsNumber(v) ? v->valuedouble : NAN;
    return isfinite(*out) && *out >= 0;
}

static int read_load(kg_rate_load *l, const cJSON *v)
{
    return cJSON_IsArray(v) && cJSON_GetArraySize(v) == 2 && number(cJSON_GetArrayItem(v, 0), &l->bytes) &&
           number(cJSON_GetArrayItem(v, 1), &l->seconds);
}

static int read_cell(kg_rate_cell *c, const cJSON *v)
{
    const cJSON *what = cJSON_GetObjectItemCaseSensitive(v, "what"), *size = cJSON_GetObjectItemCaseSensitive(v, "size");
    if (!cJSON_IsString(what) || strlen(what->valuestring) >= sizeof c->what || !cJSON_IsNumber(size) || fabs(size->valuedouble) > 99)
        return 0;
    snprintf(c->what, sizeof c->what, "%s", what->valuestring);
    c->size = (int)size->valuedouble;
    return number(cJSON_GetObjectItemCaseSensitive(v, "planned"), &c->planned) &&
           number(cJSON_GetObjectItemCaseSensitive(v, "taken"), &c->taken) && sane(c->planned, c->taken);
}

kg_status kg_rates_read(kg_rates *r, const char *json)
{
    memset(r, 0, sizeof *r);
    cJSON *o = cJSON_Parse(json);
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(o, "version"), *units = cJSON_GetObjectItemCaseSensitive(o, "units"), *v;
    int good = cJSON_IsNumber(version) && version->valuedouble == 1 && cJSON_IsArray(units) &&
               read_load(&r->cold, cJSON_GetObjectItemCaseSensitive(o, "cold")) &&
               read_load(&r->warm, cJSON_GetObjectItemCaseSensitive(o, "warm"));
    if (good)
        cJSON_ArrayForEach(v, units)
            good = good && r->n < KG_RATE_CELLS && read_cell(&r->cell[r->n++], v);
    cJSON_Delete(o);
    if (good)
        return KG_OK;
    memset(r, 0, sizeof *r);
    return kg_fail(KG_INPUT, "not a table of rates of version 1");
}

static cJSON *load_json(const kg_rate_load *l) { return cJSON_CreateDoubleArray((const double[]){l->bytes, l->seconds}, 2); }

char *kg_rates_text(const kg_rates *r)
{
    cJSON *o = cJSON_CreateObject(), *units = cJSON_AddArrayToObject(o, "units");
    cJSON_AddNumberToObject(o, "version", 1);
    cJSON_AddItemToObject(o, "cold", load_json(&r->cold));
    cJSON_AddItemToObject(o, "warm", load_json(&r->warm));
    for (int i = 0; i < r->n; ++i) {
        cJSON *c = cJSON_CreateObject();
        cJSON_AddStringToObject(c, "what", r->cell[i].what);
        cJSON_AddNumberToObject(c, "size", r->cell[i].size);
        cJSON_AddNumberToObject(c, "planned", r->cell[i].planned);
        cJSON_AddNumberToObject(c, "taken", r->cell[i].taken);
        cJSON_AddItemToArray(units, c);
    }
    char *text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    return text;
}
