/* The thread that writes checkpoints, so that sampling never waits for a disk.
 *
 * Invariants: at most one checkpoint of a key waits, the newest; a key that was dropped is not written afterwards. */
#include "cache/store.h"

#include <stdlib.h>
#include <string.h>

/* The entry of a key, taken out of the queue; locked by the writer's lock. */
static pending *take(kg_writer *w, const kg_key *key)
{
    for (pending **at = &w->first; *at; at = &(*at)->next)
        if (!key || kg_key_equal(&(*at)->row.key, key)) {
            pending *p = *at;
            *at = p->next;
            return p;
        }
    return NULL;
}

static void release(pending *p)
{
    if (p)
        free(p->bytes);
    free(p);
}

static void write_one(kg_store *s, const pending *p)
{
    pthread_mutex_lock(&s->lock);
    if (kg_db_may_write(s))
        kg_row_put(s, KG_CHECKPOINT, &p->row, p->bytes);
    pthread_mutex_unlock(&s->lock);
}

static void *work(void *arg)
{
    kg_store *s = arg;
    kg_writer *w = &s->writer;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        pending *p = take(w, NULL);
        if (!p && w->quit)
            break;
        if (!p) {
            pthread_cond_wait(&w->change, &w->lock);
            continue;
        }
        w->busy = 1;
        w->writing = p->row.key;
        pthread_mutex_unlock(&w->lock);
        write_one(s, p);
        release(p);
        pthread_mutex_lock(&w->lock);
        w->busy = 0;
        pthread_cond_broadcast(&w->change);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int kg_writer_start(kg_store *s)
{
    kg_writer *w = &s->writer;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->change, NULL);
    w->running = !pthread_create(&w->thread, NULL, work, s);
    return w->running;
}

void kg_writer_stop(kg_store *s)
{
    kg_writer *w = &s->writer;
    pthread_mutex_lock(&w->lock);
    w->quit = 1;
    pthread_cond_broadcast(&w->change);
    pthread_mutex_unlock(&w->lock);
    if (w->running)
        pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->change);
    pthread_mutex_destroy(&w->lock);
}

void kg_checkpoint_later(kg_cache *c, const kg_cache_row *row, void *bytes_taken)
{
    kg_writer *w = &((kg_store *)c)->writer;
    pending *p = calloc(1, sizeof *p);
    if (!p) {
        free(bytes_taken);
        return;
    }
    p->row = *row;
    p->bytes = bytes_taken;
    pthread_mutex_lock(&w->lock);
    release(take(w, &row->key));
    pending **end = &w->first;
    while (*end)
        end = &(*end)->next;
    *end = p;
    pthread_cond_broadcast(&w->change);
    pthread_mutex_unlock(&w->lock);
}

void kg_cache_flush(kg_cache *c)
{
    kg_writer *w = &((kg_store *)c)->writer;
    pthread_mutex_lock(&w->lock);
    while (w->first || w->busy)
        pthread_cond_wait(&w->change, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

void kg_checkpoint_drop(kg_cache *c, const kg_key *key)
{
    kg_store *s = (kg_store *)c;
    kg_writer *w = &s->writer;
    pthread_mutex_lock(&w->lock);
    release(take(w, key));
    while (w->busy && kg_key_equal(&w->writing, key))
        pthread_cond_wait(&w->change, &w->lock);
    pthread_mutex_unlock(&w->lock);
    kg_store_enter(s);
    sqlite3_stmt *q = kg_db_may_write(s) ? kg_db_use(s, SQL_DELETE_KEY_OF + KG_CHECKPOINT) : NULL;
    if (q) {
        sqlite3_bind_blob(q, 1, key, sizeof *key, SQLITE_STATIC);
        kg_db_finish(s, q);
        sqlite3_clear_bindings(q);
    }
    kg_store_leave(s);
}
