/* Lists of values: what takes one takes it item by item, what does not is refused when the graph is made; and params that an input
 * makes meaningless. With the small transformer of the sampling goldens. */
#include "tests/nodes/golden_run.h"

static golden g;
static int64_t shape[4];           /* of its latent */

static const int64_t seven[] = {7, 8}, one_two[] = {1, 2}, three[] = {1, 2, 3};
static kg_arg seeds(const int64_t *list, int n) { return (kg_arg){.name = "seed", .kind = KG_A_INTS, .list = list, .n = n}; }

static int load(session *s, const char *name, const char *kind)
{
    return ADD(s, "latent.load", arg_text("path", golden_path(&g, "inputs.safetensors")), arg_text("name", name), arg_text("kind", kind));
}

static int noise(session *s, const int64_t *list, int n)
{
    return ADD(s, "latent.noise", arg_int("channels", shape[0]), arg_int("frames", shape[1]), arg_int("height", shape[2]),
               arg_int("width", shape[3]), seeds(list, n));
}

/* wan.sample with two more arguments; -1 without a word when it is refused. */
static int sample(session *s, int noises, kg_arg a, kg_arg b)
{
    int model = ADD(s, "wan.model", arg_text("path", golden_path(&g, "model.safetensors"))), text = load(s, "text", "embedding/umt5");
    return kg_graph_add(s->graph, "wan.sample", NULL,
                        ARGS(arg_node("model", model, 0), arg_node("text", text, 0), arg_real("guidance", 1), arg_int("steps", 2),
                             arg_real("shift", 3), arg_node("noise", noises, 0), a, b));
}

static int refused(int node, const char *part, const char *hint)
{
    const kg_error *e = kg_error_last();
    int good = node < 0 && e->status == KG_USAGE && strstr(e->message, part) && strstr(e->hint, hint);
    if (!good)
        fprintf(stderr, "node %d, \"%s\" (%s)\n", node, e->message, e->hint);
    kg_error_clear();
    return good;
}

/* Runs, and gives the item of the output. */
static float *item(session *s, int node, int index)
{
    int64_t n = 0;
    return session_run(s, ADD(s, "latent.pick", arg_node("latent", node, 0), arg_int("index", index)), 0, &n);
}

static void list_of_noises_goes_item_by_item(void)
{
    float *got[5];
    int64_t n = shape[0] * shape[1] * shape[2] * shape[3];
    for (int i = 0; i < 5; ++i) {
        session s;
        session_open(&s, g.folder);
        const kg_arg none = arg_text("rng", "torch_cpu"), f32 = arg_text("precision", "f32");
        int both = noise(&s, seven, 2);
        int node = i < 2 ? sample(&s, both, seeds(one_two, 2), f32) : i < 4 ? sample(&s, noise(&s, seven + i - 2, 1), none, f32)
                                                                              : sample(&s, both, arg_int("seed", 5), f32);
        CHECK(node >= 0 && kg_graph_desc(s.graph, node, 0)->items == (i < 2 || i == 4 ? 2 : 1), "%s", kg_error_last()->message);
        got[i] = item(&s, node, i < 2 ? i : i == 4);
        session_close(&s);
    }
    CHECK(got[0] && got[1] && memcmp(got[0], got[1], (size_t)n * sizeof(float)), "two noises, one latent");
    CHECK(got[2] && !memcmp(got[0], got[2], (size_t)n * sizeof(float)), "the first is not of the first noise");
    CHECK(got[3] && !memcmp(got[1], got[3], (size_t)n * sizeof(float)), "the second is not of the second noise");
    CHECK(got[4] && !memcmp(got[1], got[4], (size_t)n * sizeof(float)), "a list of noises with one seed is a list");
    for (int i = 0; i < 5; ++i)
        free(got[i]);
}

static void keys_of_a_list_are_by_item(void)
{
    session s;
    session_open(&s, g.folder);
    const kg_arg f32 = arg_text("precision", "f32");
    int list = sample(&s, noise(&s, seven, 2), seeds(one_two, 2), f32);
    int crossed = sample(&s, noise(&s, seven + 1, 1), seeds(one_two, 2), f32);
    for (int i = 0; i < 2; ++i) {
        int alone = sample(&s, noise(&s, seven + i, 1), seeds(one_two + i, 1), f32);
        kg_key k = kg_graph_key(s.graph, list, 0, i), l = kg_graph_key(s.graph, alone, 0, 0), c = kg_graph_key(s.graph, crossed, 0, i);
        CHECK(kg_key_equal(&k, &l), "item %d has another key than alone", i);
        CHECK(i ? kg_key_equal(&k, &c) : !kg_key_equal(&k, &c), "the key does not hold the noise it started from");
    }
    session_close(&s);
}

static void other_lengths_and_other_ports_are_refused(void)
{
    session s;
    session_open(&s, g.folder);
    const kg_arg f32 = arg_text("precision", "f32");
    int two = noise(&s, seven, 2);
    CHECK(refused(sample(&s, two, seeds(three, 3), f32), "input noise is a list of 2, and seed of 3", "equal length"));
    int latents = sample(&s, two, f32, arg_int("frames", (shape[1] - 1) * 4 + 1));
    CHECK(refused(kg_graph_add(s.graph, "latent.save", NULL, ARGS(arg_node("latent", latents, 0), arg_text("path", "x.safetensors"))),
                  "input latent takes one latent/wan21, and this is a list of 2", "latent.pick takes one of them, from 0 to 1"));
    CHECK(kg_files_root(s.files, KG_SOURCE_DIR "/graphs/demo", KG_ROOT_PLAIN) == KG_OK);
    int vae = ADD(&s, "wan.vae", arg_text("path", "wan_demo_vae.safetensors"));
    CHECK(refused(kg_graph_add(s.graph, "wan.decode", NULL, ARGS(arg_node("vae", vae, 0), arg_node("latent", latents, 0))),
                  "input latent takes one latent/wan21, and this is a list of 2", "latent.pick takes one of them, from 0 to 1"));
    CHECK(refused(sample(&s, two, arg_node("negative", noise(&s, seven, 1), 0), f32), "takes embedding", ""));
    session_close(&s);
}

/* Every port of every node either takes lists, or refuses one of its kind by itself. */
static void only_these_ports_take_lists(void)
{
    const kg_node_type *const *all;
    int n = kg_node_types(&all), lists = 0;
    for (int i = 0; i < n; ++i)
        for (const kg_port *p = all[i]->inputs; p && p->name; ++p)
            if (p->flags & (KG_LIST | KG_WHOLE)) {
                ++lists;
                CHECK((!strcmp(all[i]->name, "wan.sample") && !strcmp(p->name, "noise")) || !strcmp(all[i]->name, "latent.pick"), "%s.%s",
                      all[i]->name, p->name);
            }
    CHECK(lists == 2);
}

static void noise_and_size_must_agree(void)
{
    session s;
    session_open(&s, g.folder);
    const kg_arg f32 = arg_text("precision", "f32");
    int one = noise(&s, seven, 1);
    int64_t width = 8 * shape[3], height = 8 * shape[2];
    char want[128];
    snprintf(want, sizeof want, "width = %lld, but input noise is for width = %lld", (long long)width + 16, (long long)width);
    CHECK(refused(sample(&s, one, arg_int("width", width + 16), f32), want, "may be left out"));
    CHECK(refused(sample(&s, one, arg_int("height", 480), f32), "height = 480, but input noise", ""));
    CHECK(refused(sample(&s, one, arg_int("frames", 81), f32), "frames = 81, but input noise", ""), "the default, but said");
    int said = sample(&s, one, arg_int("width", width), arg_int("height", height));
    int left = sample(&s, one, f32, arg_text("solver", "unipc"));
    CHECK(said >= 0 && left >= 0, "%s", kg_error_last()->message);
    kg_key a = kg_graph_key(s.graph, said, 0, 0), b = kg_graph_key(s.graph, left, 0, 0);
    CHECK(kg_key_equal(&a, &b), "a size that is said and one that is taken are one");
    CHECK(refused(sample(&s, one, arg_real("boundary", 0.9), f32), "boundary is of input model_low, which is not joined", ""));
    CHECK(refused(sample(&s, one, arg_real("guidance_low", 3), f32), "guidance_low is of input model_low", ""));
    session_close(&s);
}

int main(void)
{
    golden_open(&g, "sample");
    session s;
    session_open(&s, g.folder);
    int latent = load(&s, "latent", "latent/wan21");
    memcpy(shape, kg_graph_desc(s.graph, latent, 0)->shape, sizeof shape);
    session_close(&s);
    list_of_noises_goes_item_by_item();
    keys_of_a_list_are_by_item();
    other_lengths_and_other_ports_are_refused();
    only_these_ports_take_lists();
    noise_and_size_must_agree();
    golden_close(&g);
    return TEST_END();
}
