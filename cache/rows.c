/* Rows and their bytes: results and checkpoints alike.
 *
 * Invariants: a row and all its parts appear in one transaction; the checksum (XXH3) covers what a reader relies on, the row's
 * description and then its bytes, so that a flipped bit of either is a miss. */
#include "cache/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* [16,5,32,32] */
static void shape_text(const kg_cache_row *row, char out[160])
{
    int n = snprintf(out, 160, "[");
    for (int i = 0; i < row->rank; ++i)
        n += snprintf(out + n, (size_t)(160 - n), "%s%lld", i ? "," : "", (long long)row->shape[i]);
    snprintf(out + n, (size_t)(160 - n), "]");
}

static int shape_parse(const char *text, kg_cache_row *row)
{
    row->rank = 0;
    if (!text || *text++ != '[')
        return 0;
    while (*text && *text != ']') {
        char *end;
        long long v = strtoll(text, &end, 10);
        if (end == text || v < 0 || row->rank == KG_RANK || (*end != ',' && *end != ']'))
            return 0;
        row->shape[row->rank++] = v;
        text = end + (*end == ',');
    }
    return !strcmp(text, "]");
}

static int copy_text(char *to, size_t n, const unsigned char *from)
{
    if (!from || strlen((const char *)from) >= n)
        return 0;
    memcpy(to, from, strlen((const char *)from) + 1);
    return 1;
}

int kg_row_parse(sqlite3_stmt *q, int first, int table, kg_cache_row *row)
{
    *row = (kg_cache_row){0};
    int64_t bytes = sqlite3_column_int64(q, first + 5);
    const void *key = sqlite3_column_blob(q, first);
    if (!key || sqlite3_column_bytes(q, first) != sizeof row->key || bytes < 0)
        return 0;
    memcpy(&row->key, key, sizeof row->key);
    row->bytes = (size_t)bytes;
    row->seconds = sqlite3_column_double(q, first + 6);
    row->step = sqlite3_column_int64(q, first + 7);
    const unsigned char *dtype = sqlite3_column_text(q, first + 3);
    return copy_text(row->tag, sizeof row->tag, sqlite3_column_text(q, first + 1)) &&
           copy_text(row->kind, sizeof row->kind, sqlite3_column_text(q, first + 2)) && dtype &&
           kg_dtype_find((const char *)dtype, &row->dtype) &&
           shape_parse((const char *)sqlite3_column_text(q, first + 4), row) &&
           (table == KG_CHECKPOINT) == !strcmp(row->kind, "checkpoint");
}

/* ---- checksums ---- */

static void sum_text(XXH3_state_t *sum, const char *text) { XXH3_64bits_update(sum, text, strlen(text) + 1); }

static void sum_row(XXH3_state_t *sum, const kg_cache_row *row)
{
    char shape[160];
    int64_t numbers[2] = {(int64_t)row->bytes, row->step};
    shape_text(row, shape);
    XXH3_64bits_reset(sum);
    XXH3_64bits_update(sum, &row->key, sizeof row->key);
    sum_text(sum, row->tag);
    sum_text(sum, row->kind);
    sum_text(sum, kg_dtype_name(row->dtype));
    sum_text(sum, shape);
    XXH3_64bits_update(sum, numbers, sizeof numbers);
}

/* ---- reading ---- */

/* One part into dst (at most room bytes) and into the sum. Its size, or -1. The handle goes from part to part. */
static int64_t read_part(kg_store *s, int table, int64_t id, sqlite3_blob **blob, unsigned char *dst, size_t room,
                         XXH3_state_t *sum)
{
    int code = *blob ? sqlite3_blob_reopen(*blob, id)
                     : sqlite3_blob_open(s->db, "main", table == KG_RESULT ? "result_part" : "checkpoint_part", "data", id, 0,
                                         blob);
    size_t n = code ? 0 : (size_t)sqlite3_blob_bytes(*blob);
    if (!code && n > room)
        return -1;
    if (!code)
        code = sqlite3_blob_read(*blob, dst, (int)n, 0);
    if (code) {
        kg_db_error(s, code, "reading a part");
        return -1;
    }
    XXH3_64bits_update(sum, dst, n);
    return (int64_t)n;
}

/* All parts, in order, into dst; without dst they are only summed. bits: NaN and Inf among them. Returns the bytes, or -1. */
static int64_t read_parts(kg_store *s, int table, int64_t id, const kg_cache_row *row, unsigned char *dst, XXH3_state_t *sum,
                          int *bits)
{
    sqlite3_stmt *q = kg_db_use(s, SQL_PARTS_OF + table);
    if (!q)
        return -1;
    sqlite3_bind_int64(q, 1, id);
    sqlite3_blob *blob = NULL;
    int64_t at = 0, n = 0;
    int more = 0;
    while (n >= 0 && (more = kg_db_step(s, q)) > 0) {
        size_t left = row->bytes - (size_t)at, room = left < KG_PART ? left : KG_PART;
        unsigned char *to = dst ? dst + at : s->scratch;
        n = read_part(s, table, sqlite3_column_int64(q, 0), &blob, to, room, sum);
        if (n > 0)
            *bits |= kg_not_finite(to, row->dtype, (size_t)n / kg_dtype_bytes(row->dtype));
        at += n > 0 ? n : 0;
    }
    sqlite3_blob_close(blob);
    sqlite3_reset(q);
    return n < 0 || more < 0 ? -1 : at;
}

/* Reads row `id` in one snapshot: 1 good, 0 bad, -1 no such row, -2 as it was written, but not finite.
 * `wanted` (may be NULL) is what the caller knows of it. */
static int read_row(kg_store *s, int table, int64_t id, const kg_cache_row *wanted, void *dst, uint64_t *bytes)
{
    sqlite3_stmt *q = kg_db_use(s, SQL_GET_OF + table);
    kg_cache_row row;
    if (!q)
        return -1;
    sqlite3_bind_int64(q, 1, id);
    int there = kg_db_step(s, q);
    if (there <= 0)
        return there < 0 ? 0 : -1;
    int good = kg_row_parse(q, 0, table, &row);
    uint64_t checksum = (uint64_t)sqlite3_column_int64(q, KG_ROW_WIDTH);
    sqlite3_reset(q);
    if (!good || (wanted && (wanted->bytes != row.bytes || wanted->step != row.step || !kg_key_equal(&wanted->key, &row.key))))
        return 0;
    XXH3_state_t *sum = XXH3_createState();
    if (!sum)
        return -1;
    sum_row(sum, &row);
    int bits = 0;
    int64_t n = read_parts(s, table, id, &row, dst, sum, &bits);
    *bytes += n > 0 ? (uint64_t)n : 0;
    good = n == (int64_t)row.bytes && XXH3_64bits_digest(sum) == checksum;
    XXH3_freeState(sum);
    return good && bits ? -2 : good;
}

int64_t kg_row_find(kg_store *s, int table, const kg_key *key, const char *tag, kg_cache_row *row)
{
    sqlite3_stmt *q = kg_db_use(s, SQL_FIND_OF + table);
    int64_t id = 0;
    if (!q)
        return 0;
    sqlite3_bind_blob(q, 1, key, sizeof *key, SQLITE_STATIC);
    if (tag)
        sqlite3_bind_text(q, 2, tag, -1, SQLITE_STATIC);
    if (kg_db_step(s, q) > 0 && kg_row_parse(q, 1, table, row))
        id = sqlite3_column_int64(q, 0);
    sqlite3_reset(q);
    return id;
}

/* Runs watch what they make; older versions kept NaN and Inf like anything else. */
static void warn_bad(kg_store *s, int table, const kg_key *key, int finite)
{
    char hex[65];
    kg_key_hex(key, hex);
    kg_warn("the cache '%s': %s %s %.12s %s; it is %s made anew", s->path, finite ? "the bytes of" : "NaN or Inf is in",
            table == KG_RESULT ? "result" : "checkpoint", hex, finite ? "have changed on disk" : "of an older version",
            s->read_only ? "left there and" : "removed and will be");
}

int kg_row_read(kg_store *s, int table, const kg_cache_row *row, void *dst)
{
    kg_cache_row found = {0};
    uint64_t bytes = 0;
    if (kg_db_run(s, SQL_BEGIN))
        return 0;
    int64_t id = kg_row_find(s, table, &row->key, row->tag, &found);
    int good = id ? read_row(s, table, id, row, dst, &bytes) : -1;
    kg_db_end(s, 1);
    if ((!good || good == -2) && found.bytes == row->bytes && found.step == row->step) {   /* not what another process has put there */
        warn_bad(s, table, &row->key, good != -2);
        kg_row_remove(s, table, id);
    }
    return good > 0;
}

int kg_row_check(kg_store *s, int table, int64_t id, uint64_t *bytes)
{
    if (kg_db_run(s, SQL_BEGIN))
        return -1;
    int good = read_row(s, table, id, NULL, NULL, bytes);
    kg_db_end(s, 1);
    return good == -2 ? 1 : good;      /* its bytes are those that were written */
}

/* ---- writing ---- */

int kg_row_remove(kg_store *s, int table, int64_t id)
{
    sqlite3_stmt *q = s->read_only ? NULL : kg_db_use(s, SQL_DELETE_OF + table);
    if (!q)
        return 0;
    sqlite3_bind_int64(q, 1, id);
    return !kg_db_finish(s, q);
}

static int insert_row(kg_store *s, int table, const kg_cache_row *row, uint64_t checksum)
{
    sqlite3_stmt *q = kg_db_use(s, SQL_INSERT_OF + table);
    char shape[160];
    if (!q)
        return -1;
    shape_text(row, shape);
    sqlite3_bind_blob(q, 1, &row->key, sizeof row->key, SQLITE_STATIC);
    sqlite3_bind_text(q, 2, row->tag, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 3, row->kind, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 4, kg_dtype_name(row->dtype), -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 5, shape, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 6, (int64_t)row->bytes);
    sqlite3_bind_double(q, 7, row->seconds > 0 ? row->seconds : 0);
    sqlite3_bind_int64(q, 8, row->step);
    sqlite3_bind_int64(q, 9, (int64_t)checksum);
    sqlite3_bind_double(q, 10, kg_now());
    int failed = kg_db_finish(s, q);
    sqlite3_clear_bindings(q);
    return failed;
}

static int insert_parts(kg_store *s, int table, int64_t id, const unsigned char *src, size_t bytes)
{
    for (size_t at = 0, n = 0; at < bytes; ++n) {
        size_t part = bytes - at < KG_PART ? bytes - at : KG_PART;
        sqlite3_stmt *q = kg_db_use(s, SQL_PART_INSERT_OF + table);
        if (!q)
            return -1;
        sqlite3_bind_int64(q, 1, id);
        sqlite3_bind_int64(q, 2, (int64_t)n);
        sqlite3_bind_blob(q, 3, src + at, (int)part, SQLITE_STATIC);
        int failed = kg_db_finish(s, q);
        sqlite3_clear_bindings(q);
        if (failed)
            return -1;
        at += part;
    }
    return 0;
}

/* Replaces the row of this key: a result only one of equal tag, a checkpoint any. Within a transaction. */
static int replace_row(kg_store *s, int table, const kg_cache_row *row, const void *src, uint64_t checksum)
{
    sqlite3_stmt *q = kg_db_use(s, SQL_DELETE_KEY_OF + table);
    if (!q)
        return 0;
    sqlite3_bind_blob(q, 1, &row->key, sizeof row->key, SQLITE_STATIC);
    if (table == KG_RESULT)
        sqlite3_bind_text(q, 2, row->tag, -1, SQLITE_STATIC);
    if (kg_db_finish(s, q) || insert_row(s, table, row, checksum))
        return 0;
    int64_t id = sqlite3_last_insert_rowid(s->db);
    return !insert_parts(s, table, id, src, row->bytes) && (table == KG_CHECKPOINT || kg_lease_take(s, id));
}

int kg_row_put(kg_store *s, int table, const kg_cache_row *row, const void *src)
{
    XXH3_state_t *sum = XXH3_createState();
    if (!sum)
        return 0;
    sum_row(sum, row);
    XXH3_64bits_update(sum, src, row->bytes);
    uint64_t checksum = XXH3_64bits_digest(sum);
    XXH3_freeState(sum);
    if (kg_db_run(s, SQL_BEGIN_WRITE))
        return 0;
    kg_cache_gc_result dropped = {0};
    int ok = replace_row(s, table, row, src, checksum) && kg_evict(s, &dropped);
    return kg_db_end(s, ok);
}
