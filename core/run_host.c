/* The host lane of a device whose memory is not the host's: host work and checkpoints on a thread of the run.
 *
 * What work reads is fetched into page-locked staging on the compute lane, behind all that was queued before it. Work without outputs
 * is a job: it waits for its event on the host lane, in order, and the compute thread goes on, so that an encoder encodes a frame
 * while the card computes the next one; a node has some slots of staging (kg_exec_slots), so many jobs of it are out at most. Work with
 * outputs is waited for and written back; it runs on the compute thread, behind the jobs of its own node alone, so that a crop does
 * not wait for an encoder. Staging is one block of the size that the dry run found. A job's error ends the run, with the path of where
 * it was queued; after that, and after a cancel, jobs that are left do nothing. */
#include "core/run_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void run_job(kg_run *r, kg_job *j)
{
    if (atomic_load(&r->stop))
        return;
    kg_status s = r->device->ops->sync(r->device, j->ready);
    if (s == KG_OK && j->leaves)
        s = kg_run_files_same(r, j->fenced);
    kg_warned *was = kg_warn_for(j->warned);
    if (s == KG_OK)
        s = kg_run_look(r, j->flags);
    if (s == KG_OK)
        s = j->fn(j->arg, j->in, NULL);
    kg_warn_for(was);
    if (s != KG_OK && kg_error_last()->status == KG_OK)
        kg_fail(KG_FAILED, "host work failed");
    if (kg_error_last()->status != KG_OK) {
        kg_error_path(j->path);
        kg_run_keep_error(r);
    }
}

static void *host_thread(void *run)
{
    kg_run *r = run;
    kg_run_host *h = &r->host;
    pthread_mutex_lock(&r->lock);
    while (1) {
        while (h->done == h->queued && !h->quit)
            pthread_cond_wait(&h->more, &r->lock);
        if (h->done == h->queued)
            break;
        kg_job *j = &h->jobs[h->done % KG_JOBS];
        pthread_mutex_unlock(&r->lock);
        run_job(r, j);
        pthread_mutex_lock(&r->lock);
        ++h->done;
        pthread_cond_broadcast(&h->fewer);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

kg_status kg_run_host_start(kg_run *r)
{
    kg_run_host *h = &r->host;
    if (r->device->host_memory)
        return KG_OK;
    h->jobs = calloc(KG_JOBS, sizeof *h->jobs);
    if (!h->jobs)
        return kg_fail(KG_FAILED, "out of host memory");
    h->stage = r->device->ops->host_alloc(r->device, r->plan->stage + KG_FLAGS * sizeof *r->flags.slot);
    if (!h->stage)
        return kg_error_last()->status;
    r->flags.slot = (int32_t *)(void *)(h->stage + r->plan->stage);
    r->flags.place = calloc(KG_FLAGS, sizeof *r->flags.place);
    if (!r->flags.place)
        return kg_fail(KG_FAILED, "out of host memory");
    if (pthread_create(&h->thread, NULL, host_thread, r))
        return kg_fail(KG_FAILED, "cannot start a thread: %s", strerror(errno));
    h->running = 1;
    return KG_OK;
}

/* Until so many jobs are done. */
static void wait_done(kg_run *r, uint64_t count)
{
    pthread_mutex_lock(&r->lock);
    while (r->host.done < count)
        pthread_cond_wait(&r->host.fewer, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

void kg_run_host_settle(kg_run *r)
{
    if (r->host.running)
        wait_done(r, r->host.queued);
}

void kg_run_host_end(kg_run *r)
{
    kg_run_host *h = &r->host;
    if (h->running) {
        pthread_mutex_lock(&r->lock);
        h->quit = 1;
        pthread_cond_broadcast(&h->more);
        pthread_mutex_unlock(&r->lock);
        pthread_join(h->thread, NULL);
        h->running = 0;
    }
    if (h->stage)
        r->device->ops->host_free(r->device, h->stage);
    h->stage = NULL;
    free(h->jobs);
    h->jobs = NULL;
    free(r->flags.place);
    r->flags = (kg_run_flags){0};
}

char *kg_run_host_slot(kg_run *r, kg_exec *x)
{
    unsigned slot = x->jobs % kg_exec_slots(x);
    wait_done(r, x->job[slot]);
    return r->host.stage + x->stage_at + slot * kg_align(x->stage_bytes);
}

kg_job *kg_run_host_job(kg_run *r, const kg_exec *x)
{
    kg_run_host *h = &r->host;
    if (h->queued >= KG_JOBS)
        wait_done(r, h->queued - KG_JOBS + 1);
    kg_job *j = &h->jobs[h->queued % KG_JOBS];
    memset(j, 0, sizeof *j);
    j->warned = x->warned;
    j->flags = r->flags.queued;
    kg_ctx_path(x->ctx, x, j->path, sizeof j->path);
    j->leaves = x->type->flags & KG_SINK;
    j->fenced = r->fenced;
    return j;
}

void kg_run_host_queue(kg_run *r, kg_exec *x)
{
    pthread_mutex_lock(&r->lock);
    ++r->host.queued;
    pthread_cond_signal(&r->host.more);
    pthread_mutex_unlock(&r->lock);
    x->job[x->jobs++ % kg_exec_slots(x)] = r->host.queued;
}

/* Queues the copy of tensors into staging; they keep their shapes and the distance of their rows. */
static kg_status stage(kg_run *r, kg_tensor *to, const kg_tensor *from, int n, char **at)
{
    for (int i = 0; i < n; ++i) {
        size_t bytes = kg_tensor_span(&from[i]);
        to[i] = from[i];
        to[i].at = *at;
        if (bytes && r->device->ops->fetch(r->device, KG_LANE_COMPUTE, *at, from[i].at, bytes) != KG_OK)
            return kg_error_last()->status;
        *at += kg_align(bytes);
    }
    return KG_OK;
}

static kg_status write_back(kg_run *r, const kg_tensor *to, const kg_tensor *from, int n)
{
    for (int i = 0; i < n; ++i) {
        size_t bytes = kg_tensor_span(&from[i]);
        if (bytes && r->device->ops->write(r->device, KG_LANE_COMPUTE, to[i].at, from[i].at, bytes) != KG_OK)
            return kg_error_last()->status;
    }
    return KG_OK;
}

/* Work with outputs: now, on this thread. */
static int work_now(kg_run *r, kg_exec *x, kg_job *j, int n_in, const kg_tensor *ins, int n_out, const kg_tensor *outs)
{
    char *at = r->host.stage + r->plan->unit[r->plan->node[x->node].unit].stage_at;
    if (x->jobs)
        wait_done(r, x->job[(x->jobs - 1) % kg_exec_slots(x)]);
    if (kg_ctx_failed(x->ctx))
        return 1;
    if (stage(r, j->in, ins, n_in, &at) != KG_OK || stage(r, j->out, outs, n_out, &at) != KG_OK)
        return 1;
    if (kg_run_sync(r, KG_LANE_COMPUTE) != KG_OK || kg_run_look(r, r->flags.queued) != KG_OK)
        return 1;
    if (j->fn(j->arg, j->in, j->out) != KG_OK && kg_error_last()->status == KG_OK)
        kg_fail(KG_FAILED, "host work failed");
    return kg_error_last()->status != KG_OK || write_back(r, outs, j->out, n_out) != KG_OK;
}

int kg_run_work(kg_run *r, kg_exec *x, kg_work_fn *fn, const void *arg, size_t arg_bytes, int n_in, const kg_tensor *ins, int n_out,
                const kg_tensor *outs)
{
    kg_job now = {0}, *j = n_out ? &now : kg_run_host_job(r, x);
    j->fn = fn;
    if (arg_bytes)
        memcpy(j->arg, arg, arg_bytes);
    if (n_out)
        return work_now(r, x, j, n_in, ins, n_out, outs);
    char *at = kg_run_host_slot(r, x);
    if (stage(r, j->in, ins, n_in, &at) != KG_OK)
        return 1;
    j->ready = r->device->ops->record(r->device, KG_LANE_COMPUTE);
    if (kg_error_last()->status != KG_OK)
        return 1;
    kg_run_host_queue(r, x);
    return 0;
}
