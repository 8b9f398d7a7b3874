/* The engine against a script's process that is no script at all: whatever comes over the socket, it ends in an error, in bounded
 * time and memory, with the process reaped. The far end is a plain process of this test. */
#include <sys/resource.h>
#include <sys/socket.h>

#include "lua/host.h"
#include "tests/lua/lua_test.h"

typedef void far_end(int fd, uint64_t seed);

static void put(int fd, const void *p, size_t n)
{
    for (const char *at = p; n;) {
        ssize_t m = send(fd, at, n, MSG_NOSIGNAL);
        if (m <= 0)
            _exit(0);
        at += m;
        n -= (size_t)m;
    }
}

static void put_frame(int fd, uint32_t kind, const void *p, uint32_t n)
{
    kg_head head = {n, kind};
    put(fd, &head, sizeof head);
    put(fd, p, n);
}

/* A script whose process runs f. */
static kg_script *attach(kg_files *files, far_end *f, uint64_t seed)
{
    int ends[2];
    kg_script_limits l = {.cpu_seconds = 5, .wall_seconds = 0.3, .nodes = 8, .edits = 1 << 16};
    kg_script *s = kg_host_new("hostile.lua", &(kg_script_options){.files = files, .limits = l});
    if (!s || socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        exit(1);
    s->pid = fork();
    if (!s->pid) {
        close(ends[0]);
        f(ends[1], seed);
        _exit(0);
    }
    close(ends[1]);
    s->fd = ends[0];
    return s;
}

/* What becomes of a build over that process. */
static kg_error outcome(far_end *f, uint64_t seed)
{
    kg_error e;
    kg_error_clear();
    kg_files *files = kg_files_new();
    kg_graph *g = kg_graph_new(&(kg_graph_options){.files = files});
    kg_script *s = attach(files, f, seed);
    size_t bytes = 0;
    double start = test_now();
    kg_status status = kg_host_serve(s, g, KG_W_WANTED, &bytes);
    double seconds = test_now() - start;
    kg_error_take(&e);
    CHECK(status == e.status, "%d and %d", status, e.status);
    CHECK(status == KG_OK || s->fd < 0, "the socket is open after: %s", e.message);
    CHECK(seconds < 3, "%.2f s", seconds);
    kg_script_close(s);
    CHECK(waitpid(-1, NULL, WNOHANG) < 0, "the process was not reaped");
    kg_graph_free(g);
    kg_files_free(files);
    return e;
}

static void silent(int fd, uint64_t seed) { (void)fd, (void)seed, pause(); }
static void hang_up(int fd, uint64_t seed) { (void)seed, close(fd); }
static void crash(int fd, uint64_t seed)
{
    (void)fd, (void)seed;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal(SIGSEGV, SIG_DFL);                  /* a sanitizer has a handler of its own */
    signal(SIGSEGV, SIG_DFL);          /* a sanitizer's own handler would end it otherwise */
    kill(getpid(), SIGSEGV);
}
static void half_head(int fd, uint64_t seed) { (void)seed, put(fd, "\1\2\3", 3), pause(); }
static void half_payload(int fd, uint64_t seed) { (void)seed, put(fd, &(kg_head){100, KG_W_LOG}, sizeof(kg_head)), pause(); }
static void huge(int fd, uint64_t seed) { (void)seed, put(fd, &(kg_head){UINT32_MAX, KG_W_ADD}, sizeof(kg_head)), pause(); }
static void unknown(int fd, uint64_t seed) { put_frame(fd, (uint32_t)seed, "", 0), pause(); }
static void answers(int fd, uint64_t seed) { (void)seed, put_frame(fd, KG_W_MODULE, "", 0), pause(); }

/* Never reads what it asked for. */
static void deaf(int fd, uint64_t seed)
{
    (void)seed;
    for (;;)
        put_frame(fd, KG_W_REQUIRE, "\1\0\0\0x", 6);
}

static void log_flood(int fd, uint64_t seed)
{
    (void)seed;
    for (;;)
        put_frame(fd, KG_W_LOG, "\3\0\0\0\n\n\n", 8);
}

static void wanted_without_end(int fd, uint64_t seed)
{
    (void)seed;
    put_frame(fd, KG_W_WANTED, "\xff\xff\xff\xff", 4);
    pause();
}

/* Frames of good heads and random payloads. */
static void random_frames(int fd, uint64_t seed)
{
    static const uint32_t kinds[] = {KG_W_HELLO, KG_W_LOG, KG_W_REQUIRE, KG_W_ADD, KG_W_ADD, KG_W_ADD, KG_W_ERROR, KG_W_LIMIT};
    for (;;) {
        unsigned char bytes[512];
        uint32_t n = (uint32_t)(test_next(&seed) % sizeof bytes);
        for (uint32_t i = 0; i < n; ++i)
            bytes[i] = test_next(&seed) % 3 ? (unsigned char)(test_next(&seed) % 4) : (unsigned char)test_next(&seed);
        put_frame(fd, kinds[test_next(&seed) % 8], bytes, n);
    }
}

static void random_bytes(int fd, uint64_t seed)
{
    for (;;) {
        uint64_t v = test_next(&seed);
        put(fd, &v, sizeof v);
    }
}

/* A good edit with one byte changed; each is answered, by a number or a refusal, or ends it. */
static void changed_edits(int fd, uint64_t seed)
{
    for (;;) {
        kg_writer w = {.most = 4096};
        kg_write_begin(&w, KG_W_ADD);
        kg_write_text(&w, "a.one", 5);
        kg_write_text(&w, "l", 1);
        kg_write_u32(&w, 2);
        kg_write_text(&w, "count", 5);
        kg_write_u32(&w, KG_A_INT);
        kg_write_i64(&w, 3);
        kg_write_text(&w, "text", 4);
        kg_write_u32(&w, KG_A_TEXT);
        kg_write_text(&w, "hello", 5);
        kg_write_end(&w);
        size_t at = sizeof(kg_head) + test_next(&seed) % (w.n - sizeof(kg_head));
        w.at[at] = (unsigned char)test_next(&seed);
        put(fd, w.at, w.n);
        free(w.at);
        kg_head head;
        char answer[4096];
        if (recv(fd, &head, sizeof head, MSG_WAITALL) != sizeof head || head.bytes > sizeof answer ||
            recv(fd, answer, head.bytes, MSG_WAITALL) != (ssize_t)head.bytes)
            _exit(0);
    }
}

static void says(far_end *f, uint64_t seed, const char *what)
{
    kg_error e = outcome(f, seed);
    CHECK(e.status == KG_USAGE && strstr(e.message, what), "\"%s\" is not in: %s", what, e.message);
}

int main(void)
{
    test_begin();
    says(silent, 0, "took more than 0.3 s");
    says(hang_up, 0, "ended");
    says(crash, 0, "signal 11");
    says(half_head, 0, "took more than 0.3 s");
    says(half_payload, 0, "took more than 0.3 s");
    says(huge, 0, "KiB of edits");
    says(deaf, 0, "");
    says(log_flood, 0, "KiB of edits");
    says(answers, 0, "malformed");
    for (uint64_t kind = 0; kind < 64; kind += 9)
        if (kind != KG_W_WANTED)
            says(unknown, kind, "malformed");
    CHECK(outcome(wanted_without_end, 0).status == KG_OK);     /* its payload is judged by kg_script_build */
    for (uint64_t seed = 0; seed < 60; ++seed) {
        outcome(random_frames, seed);
        outcome(random_bytes, seed);
        outcome(changed_edits, seed);
    }
    test_end();
    return TEST_END();
}
