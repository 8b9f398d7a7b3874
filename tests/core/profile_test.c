/* Profiles: there and back, and every wrong one refused with the field's name. */
#include "core/device.h"
#include "core/front.h"
#include "tests/test.h"

static const char good[] =
    "{\"version\": 1, \"name\": \"rtx3060\", \"threads\": 28, \"discrete\": true, \"memory\": 12884901888,"
    " \"fixed\": 524288000, \"rate\": {\"matmul\": 1e13, \"matmul16\": 5e13, \"attention\": 3e13, \"conv\": 1.1e13,"
    " \"rows\": 3e11, \"host\": 2e10}, \"copy\": 1.2e10, \"disk\": 2e9, \"launch\": 5e-6}";

/* The good text with one part replaced. */
static const char *with(const char *part, const char *other)
{
    static char text[1024];
    const char *at = strstr(good, part);
    CHECK(at != NULL, "%s", part);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, other, at + strlen(part));
    return text;
}

static void refused(const char *json, const char *message)
{
    kg_profile p;
    kg_error_clear();
    CHECK(kg_profile_load(&p, json) == KG_INPUT, "%s", json);
    CHECK(strstr(kg_error_last()->message, message), "'%s' is not in '%s'", message, kg_error_last()->message);
    kg_error_clear();
}

static void round_trip(void)
{
    kg_profile p, q;
    char text[1024];
    CHECK(!kg_profile_load(&p, good));
    CHECK(!strcmp(p.name, "rtx3060") && p.threads == 28 && p.discrete == 1 && p.memory == 12884901888u);
    CHECK(p.rate[KG_C_CONV] == 1.1e13 && p.rate[KG_C_HOST] == 2e10 && p.launch == 5e-6);
    int n = kg_profile_dump(&p, text, sizeof text);
    CHECK(n > 0 && n < (int)sizeof text && (size_t)n == strlen(text));
    CHECK(!kg_profile_load(&q, text) && !memcmp(&p, &q, sizeof p));
    CHECK(!p.host_fixed && strstr(text, "\"host_fixed\":0"), "%s", text);
    CHECK(!kg_profile_load(&q, with("524288000", "524288000, \"host_fixed\": 134217728")) && q.host_fixed == 134217728);
    CHECK(kg_profile_dump(&p, text, 10) == n && strlen(text) == 9);
    p.rate[KG_C_ROWS] = 0x1.123456789abcdp+70;     /* seventeen digits */
    p.memory = (1ull << 53) - 1;
    CHECK(kg_profile_dump(&p, text, sizeof text) > 0 && !kg_profile_load(&q, text) && !memcmp(&p, &q, sizeof p), "%s", text);
}

int main(void)
{
    round_trip();
    refused("", "no JSON object");
    refused("[]", "no JSON object");
    refused("{} trailing", "no JSON object");
    refused("{}", "'version' is missing");
    refused(with("\"version\": 1", "\"version\": 2"), "version 2");
    refused(with("\"threads\": 28, ", ""), "'threads' is missing");
    refused(with("\"threads\": 28", "\"thread\": 28"), "no field is called 'thread'");
    refused(with("\"threads\": 28", "\"threads\": 28, \"threads\": 28"), "'threads' is there twice");
    refused(with("\"threads\": 28", "\"threads\": 0"), "'threads' must be");
    refused(with("\"threads\": 28", "\"threads\": 2.5"), "'threads' must be a whole number");
    refused(with("\"threads\": 28", "\"threads\": \"28\""), "'threads' must be");
    refused(with("12884901888", "1e30"), "'memory' must be");
    refused(with("12884901888", "-1"), "'memory' must be");
    refused(with("524288000", "12884901888"), "'fixed' takes all");
    refused(with("1e13", "0"), "'matmul' must be");
    refused(with("1e13", "1e999"), "'matmul' must be");
    refused(with("\"matmul\": 1e13, ", ""), "'matmul' is missing");
    refused(with("true", "1"), "'discrete' must be");
    refused(with("1.2e10", "0"), "'copy' rate");
    refused(with("rtx3060", ""), "'name' must be");
    refused(with("rtx3060", "a\\u001bb"), "control characters");
    refused(with("rtx3060", "0123456789012345678901234567890123456789012345678901234567890123"), "'name' must be");
    kg_profile p;
    kg_error_clear();
    CHECK(kg_profile_load(&p, with("launch", "lunch")) == KG_INPUT && strstr(kg_error_last()->hint, "'launch'"));
    return TEST_END();
}
