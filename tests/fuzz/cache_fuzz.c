/* A cache whose file has been changed anywhere: it opens or it does not, and whatever it answers is what was stored, or "not there".
 * The input is a list of changes: an offset of three bytes, a length of one (32 at most), the new bytes. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/cache.h"
#include "tests/fuzz/fuzz.h"

enum { ROWS = 3, BYTES = 40000 };
static char folder[64], path[96];
static uint8_t *whole;                 /* the good file */
static size_t size;

static void made(int good)
{
    if (!good)
        abort();
}

static kg_cache_row row_of(int i)
{
    kg_cache_row row = {.dtype = KG_U8, .rank = 2, .shape = {8, BYTES / 8}, .bytes = BYTES, .seconds = 2, .step = i, .kind = "latent/wan21",
                        .tag = "fuzz 1"};
    memset(row.key.b, i + 1, sizeof row.key.b);
    if (i == ROWS - 1)
        strcpy(row.kind, "checkpoint");
    return row;
}

static void fill(uint8_t *p, int i)
{
    for (int k = 0; k < BYTES; ++k)
        p[k] = (uint8_t)(k * (i + 3) >> 3);
}

static void remove_folder(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    free(whole);
    made(!system(command));
}

static void store_all(void)
{
    kg_cache *c = kg_cache_open(&(kg_cache_options){.path = path});
    made(c != NULL);
    for (int i = 0; i < ROWS; ++i) {
        kg_cache_row row = row_of(i);
        uint8_t *p = malloc(BYTES);
        fill(p, i);
        if (i == ROWS - 1)
            c->ops->checkpoint_later(c, &row, p);
        else {
            made(c->ops->write(c, &row, p));
            free(p);
        }
        c->ops->sink_store(c, &row.key, folder);
    }
    kg_cache_close(c);
}

static void set_up(void)
{
    kg_log_set(NULL, NULL);
    snprintf(folder, sizeof folder, "/dev/shm/kg_cache_fuzz.XXXXXX");
    made(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/cache.sqlite", folder);
    store_all();
    FILE *f = fopen(path, "rb");
    made(f && !fseek(f, 0, SEEK_END));
    size = (size_t)ftell(f);
    rewind(f);
    whole = malloc(size);
    made(fread(whole, 1, size, f) == size);
    fclose(f);
    atexit(remove_folder);
}

static void change_file(const uint8_t *data, size_t n)
{
    char other[128];
    static const char *const ends[] = {"-wal", "-shm", "-journal"};
    for (int i = 0; i < 3; ++i) {
        snprintf(other, sizeof other, "%s%s", path, ends[i]);
        unlink(other);
    }
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
    made(fd >= 0 && write(fd, whole, size) == (ssize_t)size);
    while (n > 4) {
        size_t at = ((size_t)data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) % size, length = data[3] % 33;
        length = length < n - 4 ? length : n - 4;
        length = length < size - at ? length : size - at;
        made(pwrite(fd, data + 4, length, (off_t)at) == (ssize_t)length);
        data += 4 + length;
        n -= 4 + length;
    }
    close(fd);
}

static int count(void *arg, const kg_cache_item *item)
{
    ++*(int *)arg;
    made(item->row.rank >= 0 && item->row.rank <= KG_RANK);
    return 0;
}

/* A row that is found and read as good holds what was stored. What is stored now is there, or it is not; both are right. */
static void ask(kg_cache *c)
{
    static uint8_t got[BYTES], want[BYTES];
    for (int i = 0; i < ROWS; ++i) {
        kg_cache_row row = row_of(i), found;
        int there = i == ROWS - 1 ? c->ops->checkpoint_find(c, &row.key, row.tag, &found) : c->ops->find(c, &row.key, NULL, &found);
        fill(want, i);
        if (there && found.bytes == BYTES && c->ops->read(c, &found, got))
            made(!memcmp(got, want, BYTES));
        c->ops->sink_find(c, &row.key, folder);
        if (i < ROWS - 1)
            c->ops->write(c, &row, want);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!whole)
        set_up();
    change_file(data, n);
    kg_cache *c = kg_cache_open(&(kg_cache_options){.path = path, .busy_ms = 1});
    if (c) {
        kg_cache_totals totals;
        kg_cache_verify_result verified;
        kg_cache_gc_result dropped;
        int rows = 0;
        ask(c);
        kg_cache_ls(c, count, &rows);
        kg_cache_stat(c, &totals);
        kg_cache_verify(c, NULL, NULL, &verified);
        kg_cache_gc(c, 0, &dropped);
        ask(c);
        kg_cache_close(c);
    }
    kg_error_clear();
    return 0;
}

size_t kg_fuzz_seed(int index, uint8_t *out, size_t max)
{
    static const uint8_t seeds[][6] = {{0}, {16, 0, 0, 1, 0x20}, {100, 0, 0, 1, 13}, {0, 64, 0, 1, 13}, {28, 0, 0, 1, 9}};
    if (index >= (int)(sizeof seeds / sizeof *seeds) || max < sizeof *seeds)
        return 0;
    memcpy(out, seeds[index], sizeof *seeds);
    return sizeof *seeds;
}
