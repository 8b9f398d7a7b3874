/* Telling files of weights apart: see known.h. LoRAs and quantised files are told here, since every family has them. */
#include "nodes/lib/known.h"

#include <stdio.h>
#include <string.h>

/* The linker's names for the ends of the section; weak, since tests may have no families. */
extern const kg_known *const __start_kg_known[] __attribute__((weak));
extern const kg_known *const __stop_kg_known[] __attribute__((weak));

static int rows(void) { return __start_kg_known ? (int)(__stop_kg_known - __start_kg_known) : 0; }

static int tell(kg_checkpoint *ck, const kg_known *row, kg_told *told)
{
    *told = (kg_told){.reader = row->reader};
    int is = row->tell(ck, told);
    kg_checkpoint_forget(ck);
    return is;
}

int kg_known_tell(kg_checkpoint *ck, kg_told *told, int n)
{
    int found = 0;
    for (int i = 0; i < rows() && found < n; ++i)
        found += tell(ck, __start_kg_known[i], &told[found]);
    return found;
}

static kg_status not_run(const kg_checkpoint *ck, const kg_told *t)
{
    return kg_fail(KG_INPUT, "'%s' is %s, which this version does not run", kg_checkpoint_path(ck), t->what);
}

static kg_status other(const kg_checkpoint *ck, const kg_told *t, const kg_known *wanted)
{
    kg_fail(KG_INPUT, "'%s' is %s, and %s wants %s", kg_checkpoint_path(ck), t->what, wanted->reader, wanted->wants);
    if (t->reader && t->runs)
        kg_hint("%s reads it", t->reader);
    return KG_INPUT;
}

kg_status kg_known_want(kg_checkpoint *ck, const char *reader)
{
    const kg_known *wanted = NULL;
    kg_told t, first = {.what = ""};
    char how[128];
    for (int i = 0; i < rows(); ++i) {
        const kg_known *row = __start_kg_known[i];
        int ours = row->reader && !strcmp(row->reader, reader), is = tell(ck, row, &t);
        wanted = ours ? row : wanted;
        if (is && ours && !t.runs)
            return not_run(ck, &t);
        if (is && ours && !kg_known_quantised(ck, how, sizeof how))
            return KG_OK;
        if (is && ours) {
            kg_fail(KG_INPUT, "'%s' is %s, but quantised %s, which this version does not read", kg_checkpoint_path(ck), t.what, how);
            kg_hint("take its file in f32, f16 or bf16");
            return KG_INPUT;
        }
        if (is && !first.what[0])
            first = t;
    }
    return first.what[0] && wanted ? other(ck, &first, wanted) : KG_OK;
}

kg_status kg_known_rest(const kg_checkpoint *ck, const char *what)
{
    int n = 0;
    const kg_weight *first = kg_checkpoint_unasked(ck, 16, &n);
    if (!first)
        return KG_OK;
    return kg_fail(KG_INPUT, "'%s' is no plain %s: it has %d tensors more ('%s' is the first), which this version does not run",
                   kg_checkpoint_path(ck), what, n, first->name);
}

/* ---- LoRA ---- */

/* ref: the conventions of diffusers and PEFT, kohya, LightX2V, LyCORIS */
static int lora_tell(kg_checkpoint *ck, kg_told *t)
{
    static const char *const parts[] = {".lora_A.", ".lora_B.", ".lora_down.", ".lora_up.", ".lora.down.", ".lora.up.", "_lora.down.",
        "_lora.up.", ".hada_w", ".lokr_w", ".diff_b", ".diff_m"};
    int of = 0, n = kg_checkpoint_count(ck);
    for (int i = 0; i < n; ++i) {
        const char *name = kg_checkpoint_at(ck, i)->name;
        int is = !strncmp(name, "lora_unet_", 10);
        for (size_t k = 0; k < sizeof parts / sizeof *parts && !is; ++k)
            is = strstr(name, parts[k]) != NULL;
        of += is;
    }
    snprintf(t->what, sizeof t->what, "a LoRA (changes to another model's weights)");
    return of > 0 && 3 * of >= n;
}
KG_KNOWN(lora) = {.tell = lora_tell};

/* ---- quantised files ---- */

typedef struct sign { const char *ending, *how; } sign;

/* In the order in which they decide. ref: file-forms 2 */
static const sign signs[] = { /* table */
    {".comfy_quant", "in a form of ComfyUI's (comfy_quant)"},
    {".weight.quant_state.bitsandbytes__nf4", "by bitsandbytes, in 4 bits (nf4)"},
    {".weight.quant_state.bitsandbytes__fp4", "by bitsandbytes, in 4 bits (fp4)"},
    {".encoded_exponent", "by DFloat11"},
    {".weight._data", "by quanto"},
    {".int8_weight", "in int8 by blocks (as TurboDiffusion does)"},
    {".weight_scale_2", "in nvfp4"},
    {".weight_global_scale", "in nvfp4"},
    {".scale_weight", "in fp8 with scales (scaled_fp8)"},
    {".weight_scale", "in 8 bits or less, with scales (weight_scale)"}};

int kg_known_quantised(const kg_checkpoint *ck, char *how, size_t n)
{
    const char *by_type = NULL;
    size_t least = sizeof signs / sizeof *signs;
    for (int i = 0; i < kg_checkpoint_count(ck); ++i) {
        const kg_weight *w = kg_checkpoint_at(ck, i);
        size_t length = strlen(w->name);
        for (size_t k = 0; k < least; ++k) {
            size_t m = strlen(signs[k].ending);
            if (length > m && !strcmp(w->name + length - m, signs[k].ending))
                least = k;
        }
        if (w->rank < 2 || by_type)
            continue;
        by_type = w->dtype == KG_F8_E4M3 ? "in fp8 (e4m3)" : w->dtype == KG_F8_E5M2 ? "in fp8 (e5m2)" : w->dtype == KG_I8 ? "in int8"
                : w->dtype == KG_U8 ? "in packed bytes" : NULL;
    }
    const char *said = least < sizeof signs / sizeof *signs ? signs[least].how : by_type;
    snprintf(how, n, "%s", said ? said : "");
    return said != NULL;
}
