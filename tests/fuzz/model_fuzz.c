/* Any set of tensor names and shapes as a checkpoint: refused, or a transformer, a VAE or a text encoder that can be planned. The
 * input is one letter for the kind of model, then a line a tensor: type, name, sizes ("f blocks.0.norm3.weight 128"). The file made
 * of it is well-formed and its data one hole, so that lies about shapes get past the reader of files (safetensors_fuzz has that). */
#include "kernels/kernel.h"
#include "tests/fuzz/fuzz.h"
#include "tests/graph.h"
#include "tests/sparse.h"

#include <cjson/cJSON.h>
#include <string.h>

static char folder[64];
static kg_files *files;
static kg_device *device;

/* ---- a text embedding of the width that the transformer wants ---- */
typedef struct params { int64_t dim; } params;

static kg_status text_infer(kg_infer *x)
{
    x->out[0] = kg_desc_tensor("embedding/umt5", KG_F32, KG_SHAPE(512, ((const params *)x->params)->dim));
    return KG_OK;
}

static kg_status text_execute(kg_exec *x)
{
    kg_noise(x, (kg_noise_args){.out = kg_out(x, 0)});
    return KG_OK;
}

KG_NODE(fuzz_text) = {.name = "fuzz.text", .doc = "", .version = 1, .params_size = sizeof(params),
    .outputs = KG_PORTS({"text", "embedding/umt5", 0, ""}), .params = KG_PARAMS(KG_INT(params, dim, 1, 1, 1 << 20, 0, "")),
    .infer = text_infer, .execute = text_execute};

/* ---- from bytes to a file ---- */
static void path_of(char *out, size_t n, const char *name) { snprintf(out, n, "%s/%s", folder, name); }

/* A tensor from its line. Returns the width of the text that a transformer takes, where the line says it, else 0. */
static int64_t add_line(sparse *s, char *line)
{
    int shape[8] = {0}, n = 0;
    double bytes = 4;
    char *rest = line, *type = strsep(&rest, " "), *name = strsep(&rest, " ");
    for (char *number; name && rest && n < 7 && (number = strsep(&rest, " "));)
        if ((shape[n] = atoi(number)) > 0)
            bytes *= shape[n++];
    if (!name || !*name || bytes > 0x1p40 || (double)s->at + bytes > 0x1p44)
        return 0;
    for (char *c = name; *c; ++c)
        if (*c < 33 || *c == '"' || *c == '\\' || *c == 127)
            *c = '_';
    shape[n] = 0;
    s->dtype = *type == 'f' ? "F32" : *type == 'h' ? "F16" : *type == 'u' ? "U8" : "BF16";
    s->item = *type == 'f' ? 4 : *type == 'u' ? 1 : 2;
    sparse_tensor(s, shape, "%s", name);
    return strcmp(name, "text_embedding.0.weight") ? 0 : shape[1];
}

static int64_t write_file(const char *path, const uint8_t *data, size_t n)
{
    sparse s;
    char *text = malloc(n + 1), *rest = text;
    int64_t dim = 0;
    memcpy(text, data, n);
    text[n] = 0;
    sparse_open(&s, "F32", 4);
    for (char *line; (line = strsep(&rest, "\n"));) {
        int64_t d = add_line(&s, line);
        dim = d > 0 ? d : dim;
    }
    if (!sparse_close(&s, path))
        abort();
    free(text);
    return dim;
}

/* ---- graphs ---- */
#define ADD(g, type, ...) kg_graph_add(g, type, NULL, ARGS(__VA_ARGS__))

static int sample(kg_graph *g, const char *path, int64_t dim)
{
    int model = ADD(g, "wan.model", arg_text("path", path)), text = model < 0 ? -1 : ADD(g, "fuzz.text", arg_int("dim", dim));
    if (text < 0)
        return -1;
    return ADD(g, "wan.sample", arg_node("model", model, 0), arg_node("text", text, 0), arg_real("guidance", 1),
               arg_int("width", 64), arg_int("height", 32), arg_int("frames", 5), arg_int("steps", 2));
}

/* A picture's way through the VAE and back. */
static int decode(kg_graph *g, const char *path)
{
    int vae = ADD(g, "wan.vae", arg_text("path", path));
    int noise = vae < 0 ? -1 : ADD(g, "latent.noise", arg_int("width", 8), arg_int("height", 4), arg_int("frames", 3));
    int frames = noise < 0 ? -1 : ADD(g, "wan.decode", arg_node("vae", vae, 0), arg_node("latent", noise, 0));
    return frames < 0 ? -1 : ADD(g, "wan.encode", arg_node("vae", vae, 0), arg_node("frames", frames, 0));
}

static int encode(kg_graph *g, const char *path)
{
    int model = ADD(g, "text.load", arg_text("path", path));
    return model < 0 ? -1 : ADD(g, "text.umt5", arg_node("model", model, 0), arg_text("prompt", "a red circle"));
}

static void remove_folder(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    kg_files_free(files);
    kg_device_free(device);
    if (system(command))
        abort();
}

static void set_up(void)
{
    char command[256];
    snprintf(folder, sizeof folder, "/dev/shm/kg_model_fuzz.XXXXXX");
    if (!mkdtemp(folder) || !(files = kg_files_new()) || kg_files_root(files, folder, KG_ROOT_PLAIN) || !(device = kg_cpu_new(1)))
        abort();
    snprintf(command, sizeof command, "cp '%s' '%s'", KG_SOURCE_DIR "/graphs/demo/spiece.model", folder);
    if (system(command))
        abort();
    atexit(remove_folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[128];
    if (!n)
        return 0;
    if (!files)
        set_up();
    path_of(path, sizeof path, "m.safetensors");
    int64_t dim = write_file(path, data + 1, n - 1);
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files, .precision = KG_PRECISION_F32});
    int node = data[0] == 'v' ? decode(g, path) : data[0] == 't' ? encode(g, path) : sample(g, path, dim);
    if (node >= 0)
        kg_graph_want(g, node);
    kg_plan *p = node < 0 ? NULL : kg_plan_new(g, &(kg_plan_options){.device = device, .budget = (size_t)1 << 50, .dry = 1});
    if (!p && !kg_error_last()->message[0])
        abort();
    kg_plan_free(p);
    kg_error_clear();
    kg_graph_free(g);
    return 0;
}

/* ---- seeds: small models of each kind ---- */
static size_t to_lines(const char *header, uint8_t *out, size_t max)
{
    size_t n = 0;
    cJSON *json = cJSON_Parse(header);
    for (const cJSON *t = json ? json->child : NULL; t && n + 256 < max; t = t->next) {
        const char *type = cJSON_GetStringValue(cJSON_GetObjectItem(t, "dtype"));
        if (!type)
            continue;
        n += (size_t)sprintf((char *)out + n, "%c %s", !strcmp(type, "F32") ? 'f' : !strcmp(type, "F16") ? 'h' : 'b', t->string);
        for (const cJSON *d = cJSON_GetObjectItem(t, "shape")->child; d; d = d->next)
            n += (size_t)sprintf((char *)out + n, " %d", d->valueint);
        out[n++] = '\n';
    }
    cJSON_Delete(json);
    return n;
}

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    static char header[1 << 18];
    char path[] = "/tmp/kg_model_seed.XXXXXX";
    int fd = mkstemp(path), made = 0;
    uint64_t length = 0;
    if (fd >= 0 && index < 3)
        made = index == 0 ? sparse_wan(path, 128, 256, 2) : index == 1 ? sparse_vae(path) : sparse_umt5(path, 2);
    made = made && pread(fd, &length, 8, 0) == 8 && length < sizeof header && pread(fd, header, length, 8) == (ssize_t)length;
    if (fd >= 0)
        close(fd);
    unlink(path);
    if (!made)
        return 0;
    header[length] = 0;
    out[0] = (uint8_t)"dvt"[index];
    return 1 + to_lines(header, out + 1, max - 1);
}
