/* The refusal of a front, in words that name every operand, and its scratch. */
#include "kernels/check.h"

#include <stdio.h>
#include <string.h>

static size_t put_tensor(char *out, size_t room, const char *name, int name_length, const kg_tensor *t)
{
    int n = snprintf(out, room, "%.*s ", name_length, name);
    if (!t->rank)
        n += snprintf(out + n, room - (size_t)n, "none");
    else
        n += snprintf(out + n, room - (size_t)n, "%s ", kg_dtype_name(t->dtype));
    for (int i = 0; i < t->rank && (size_t)n < room; ++i)
        n += snprintf(out + n, room - (size_t)n, "%s%lld%s", i ? ", " : "[", (long long)t->shape[i], i + 1 == t->rank ? "]" : "");
    return (size_t)n < room ? (size_t)n : room - 1;
}

void kg_refuse(kg_exec *x, const char *op, const char *why, const char *names, int n, const kg_tensor *const *tensors)
{
    char text[448] = "";
    size_t used = 0;
    for (int i = 0; i < n && used + 96 < sizeof text; ++i) {
        int length = (int)strcspn(names, ",");
        if (i)
            used += (size_t)snprintf(text + used, sizeof text - used, "; ");
        used += put_tensor(text + used, sizeof text - used, names, length, tensors[i]);
        names += length;
        names += strspn(names, ", ");
    }
    kg_front_fail(x, op, "%s: %s", why, text);
}

kg_tensor kg_scratch(kg_exec *x, size_t bytes) { return kg_temp(x, KG_U8, KG_SHAPE((int64_t)(bytes ? bytes : 1))); }

int kg_front_workers(kg_exec *x)
{
    return kg_exec_lane(x) == KG_LANE_COMPUTE ? kg_exec_device(x)->profile.threads : 1;
}
