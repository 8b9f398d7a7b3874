/* Device profiles as JSON, so that plans for a card can be made and tested without it:
 *
 *   {"version": 1, "name": "rtx3060", "threads": 28, "discrete": true, "memory": 12884901888,
 *    "fixed": 524288000, "rate": {"matmul": 1e13, "matmul16": 5e13, "attention": 3e13, "conv": 1e13,
 *    "rows": 3e11, "host": 2e10}, "copy": 1.2e10, "disk": 2e9, "launch": 5e-6}
 *
 * Sizes are bytes, rates per second. Every field must be there, once, and no other: a plan made from a
 * misspelt profile would look right and be wrong. Only "host_fixed" (what the process and the device
 * take on the host beside the plan) may be left out: it came later, and is 0 then. */
#include "core/front.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum field_type { NAME, VERSION, COUNT, FLAG, BYTES, REAL, RATES } field_type;
typedef struct field {
    const char *name;
    field_type type;
    size_t offset;
    double min;            /* numbers: the least that makes sense                                 */
    int optional;          /* 0 when it is left out                                               */
} field;
static const field fields[] = {
    {"version", VERSION, offsetof(kg_profile, version), 1},
    {"name", NAME, offsetof(kg_profile, name), 0},
    {"threads", COUNT, offsetof(kg_profile, threads), 1},
    {"discrete", FLAG, offsetof(kg_profile, discrete), 0},
    {"memory", BYTES, offsetof(kg_profile, memory), 1},
    {"fixed", BYTES, offsetof(kg_profile, fixed), 0},
    {"host_fixed", BYTES, offsetof(kg_profile, host_fixed), 0, 1},
    {"rate", RATES, offsetof(kg_profile, rate), 0},
    {"copy", REAL, offsetof(kg_profile, copy), 0},
    {"disk", REAL, offsetof(kg_profile, disk), 1},
    {"launch", REAL, offsetof(kg_profile, launch), 0},
};
enum { FIELDS = sizeof fields / sizeof *fields };
static const char *const rates[KG_CLASSES] = {"matmul", "matmul16", "attention", "conv", "rows", "host"};

static void *at(kg_profile *p, const field *f) { return (char *)p + f->offset; }

static kg_status wrong(const char *name, const char *wanted)
{
    return kg_fail(KG_INPUT, "profile: '%s' must be %s", name, wanted);
}

/* Says that a name is not known or was there before, with the near match. */
static kg_status check_name(const char *name, int index, unsigned *seen, const char *const *names, int n)
{
    if (index >= 0 && !(*seen >> index & 1)) {
        *seen |= 1u << index;
        return KG_OK;
    }
    if (index >= 0)
        return kg_fail(KG_INPUT, "profile: '%.64s' is there twice", name);
    kg_status status = kg_fail(KG_INPUT, "profile: no field is called '%.64s'", name);
    int near = kg_near(name, names, n);
    if (near >= 0)
        kg_hint("did you mean '%s'?", names[near]);
    return status;
}

static kg_status check_complete(unsigned seen, const char *const *names, int n)
{
    for (int i = 0; i < n; ++i)
        if (!(seen >> i & 1))
            return kg_fail(KG_INPUT, "profile: '%s' is missing", names[i]);
    return KG_OK;
}

static int index_of(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; ++i)
        if (!strcmp(names[i], name))
            return i;
    return -1;
}

static kg_status load_rates(kg_profile *p, const cJSON *object)
{
    unsigned seen = 0;
    if (!cJSON_IsObject(object))
        return wrong("rate", "an object of rates");
    for (const cJSON *v = object->child; v; v = v->next) {
        int i = index_of(v->string, rates, KG_CLASSES);
        kg_status status = check_name(v->string, i, &seen, rates, KG_CLASSES);
        if (status)
            return status;
        if (!cJSON_IsNumber(v) || !(v->valuedouble >= 1) || !isfinite(v->valuedouble))
            return wrong(rates[i], "a rate of at least 1 a second");
        p->rate[i] = v->valuedouble;
    }
    return check_complete(seen, rates, KG_CLASSES);
}

static kg_status load_text(char *to, size_t n, const cJSON *v)
{
    if (!cJSON_IsString(v) || !*v->valuestring || strlen(v->valuestring) >= n)
        return wrong("name", "a text of 1 to 63 bytes");
    for (const char *c = v->valuestring; *c; ++c)
        if ((unsigned char)*c < 32 || *c == 127)
            return wrong("name", "a text without control characters");
    snprintf(to, n, "%s", v->valuestring);
    return KG_OK;
}

static kg_status load_number(kg_profile *p, const field *f, const cJSON *v)
{
    double x = cJSON_IsNumber(v) ? v->valuedouble : NAN;
    if (!(x >= f->min) || !isfinite(x))
        return kg_fail(KG_INPUT, "profile: '%s' must be a number of at least %g", f->name, f->min);
    if (f->type == REAL) {
        *(double *)at(p, f) = x;
        return KG_OK;
    }
    double most = f->type == BYTES ? 0x1p53 : 1 << 20;
    if (x != floor(x) || x > most)
        return kg_fail(KG_INPUT, "profile: '%s' must be a whole number of at most %.0f", f->name, most);
    if (f->type == BYTES)
        *(size_t *)at(p, f) = (size_t)x;
    else
        *(int *)at(p, f) = (int)x;
    return KG_OK;
}

static kg_status load_field(kg_profile *p, const field *f, const cJSON *v)
{
    switch (f->type) {
    case NAME:
        return load_text(at(p, f), sizeof p->name, v);
    case RATES:
        return load_rates(p, v);
    case FLAG:
        *(int *)at(p, f) = cJSON_IsTrue(v);
        return cJSON_IsBool(v) ? KG_OK : wrong(f->name, "true or false");
    case VERSION:
        if (cJSON_IsNumber(v) && v->valuedouble != 1)
            return kg_fail(KG_INPUT, "profile: version %g is not known; this program reads version 1", v->valuedouble);
        break;
    case COUNT:
    case BYTES:
    case REAL:
        break;
    }
    return load_number(p, f, v);
}

static kg_status load_object(kg_profile *p, const cJSON *object)
{
    const char *names[FIELDS];
    unsigned seen = 0, optional = 0;
    for (int i = 0; i < FIELDS; ++i) {
        names[i] = fields[i].name;
        optional |= (unsigned)fields[i].optional << i;
    }
    for (const cJSON *v = object->child; v; v = v->next) {
        int i = index_of(v->string, names, FIELDS);
        kg_status status = check_name(v->string, i, &seen, names, FIELDS);
        if (!status)
            status = load_field(p, &fields[i], v);
        if (status)
            return status;
    }
    kg_status status = check_complete(seen | optional, names, FIELDS);
    if (!status && p->fixed >= p->memory)
        status = kg_fail(KG_INPUT, "profile: 'fixed' takes all of 'memory'");
    if (!status && p->discrete && p->copy < 1)
        status = kg_fail(KG_INPUT, "profile: a discrete device needs a 'copy' rate");
    return status;
}

kg_status kg_profile_load(kg_profile *p, const char *json)
{
    memset(p, 0, sizeof *p);
    cJSON *object = cJSON_ParseWithOpts(json, NULL, 1);
    kg_status status = cJSON_IsObject(object) ? load_object(p, object)
                                              : kg_fail(KG_INPUT, "profile: this is no JSON object");
    cJSON_Delete(object);
    if (status)
        memset(p, 0, sizeof *p);
    return status;
}

/* As short as reads back exactly: cJSON's own printing loses the last bit. */
static cJSON *dump_real(double x)
{
    char text[32];
    snprintf(text, sizeof text, "%.15g", x);
    if (strtod(text, NULL) != x)
        snprintf(text, sizeof text, "%.17g", x);
    return cJSON_CreateRaw(text);
}

static cJSON *dump_field(const kg_profile *p, const field *f)
{
    const char *from = (const char *)p + f->offset;
    switch (f->type) {
    case NAME:
        return cJSON_CreateString(from);
    case FLAG:
        return cJSON_CreateBool(*(const int *)from);
    case VERSION:
    case COUNT:
        return cJSON_CreateNumber(*(const int *)from);
    case BYTES:
        return dump_real((double)*(const size_t *)from);
    case REAL:
        return dump_real(*(const double *)from);
    case RATES:
        break;
    }
    cJSON *object = cJSON_CreateObject();
    for (int i = 0; i < KG_CLASSES; ++i)
        cJSON_AddItemToObject(object, rates[i], dump_real(p->rate[i]));
    return object;
}

/* Length of the text, like snprintf: a result of n or more says that out was too small. -1: out of memory. */
int kg_profile_dump(const kg_profile *p, char *out, size_t n)
{
    cJSON *object = cJSON_CreateObject();
    for (int i = 0; i < FIELDS; ++i)
        cJSON_AddItemToObject(object, fields[i].name, dump_field(p, &fields[i]));
    char *text = cJSON_PrintUnformatted(object);
    int length = text ? snprintf(out, n, "%s", text) : -1;
    cJSON_free(text);
    cJSON_Delete(object);
    return length;
}
