/* Device profiles and tables of rates from any bytes: refused with an error, or what the planner can divide by and what survives a
 * round trip. */
#include "core/device.h"
#include "core/front.h"
#include "core/rates.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    static const char *const texts[] = {
        "{\"version\": 1, \"name\": \"rtx3060\", \"threads\": 28, \"discrete\": true, \"memory\": 12884901888, \"fixed\": 524288000,"
        " \"rate\": {\"matmul\": 1e13, \"matmul16\": 5e13, \"attention\": 3e13, \"conv\": 1.1e13, \"rows\": 3e11, \"host\": 2e10},"
        " \"copy\": 1.2e10, \"disk\": 2e9, \"launch\": 5e-6}",
        "{\"launch\": 0, \"disk\": 1, \"copy\": 0, \"rate\": {\"host\": 1, \"rows\": 1, \"conv\": 1, \"attention\": 1,"
        " \"matmul16\": 1, \"matmul\": 1}, \"fixed\": 0, \"memory\": 1, \"discrete\": false, \"threads\": 1, \"name\": \"\\u00e9\","
        " \"version\": 1}",
        "{\"version\":1,\"units\":[{\"what\":\"cpu wan.sample\",\"size\":-4,\"planned\":7,\"taken\":18}],\"cold\":[0,0],"
        "\"warm\":[4.6e7,0.036]}"};
    if (index >= (int)(sizeof texts / sizeof *texts) || strlen(texts[index]) > max)
        return 0;
    memcpy(out, texts[index], strlen(texts[index]));
    return strlen(texts[index]);
}

static void check(const kg_profile *p)
{
    char text[2048];
    kg_profile again;
    int n = kg_profile_dump(p, text, sizeof text);
    int good = p->threads > 0 && p->fixed < p->memory && p->disk > 0 && (!p->discrete || p->copy > 0) && n > 0 &&
               n < (int)sizeof text && !kg_profile_load(&again, text) && !memcmp(p, &again, sizeof again);
    for (int i = 0; i < KG_CLASSES; ++i)
        good &= p->rate[i] > 0;
    if (!good)
        abort();
}

static void check_rates(const kg_rates *r)
{
    kg_rates again;
    char *text = kg_rates_text(r);
    int good = text && kg_rates_read(&again, text) == KG_OK && again.n == r->n;
    for (int i = 0; i < r->n && good; ++i) {
        double f = kg_rates_factor(r, r->cell[i].what, 1, 1000);
        good = isfinite(f) && f > 0;
    }
    double f = kg_rates_factor(r, "another", 1, 1), warm = kg_rates_load_rate(&r->warm, 1);
    if (!good || !isfinite(f) || !(f > 0) || !(warm > 0))
        abort();
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    kg_profile p;
    memcpy(text, data, size);
    text[size] = 0;
    kg_error_clear();
    kg_status status = kg_profile_load(&p, text);
    if (!status)
        check(&p);
    else if (kg_error_last()->status != status || !kg_error_last()->message[0])
        abort();
    kg_error_clear();
    kg_rates r;
    status = kg_rates_read(&r, text);
    if (!status)
        check_rates(&r);
    else if (kg_error_last()->status != status || r.n)
        abort();
    kg_error_clear();
    free(text);
    return 0;
}
