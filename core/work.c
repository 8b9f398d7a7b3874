/* What a node has to do with the host: constants, host work and its state, flags, checkpoints. See exec.h. Where tensors are host
 * addresses, host work runs at once on the compute thread; else core/run_host.c stages them and has a lane for it. */
#include "core/internal.h"

#include <stdlib.h>
#include <string.h>

size_t kg_tensor_span(const kg_tensor *t)
{
    int64_t rows = kg_rows(t), cols = kg_cols(t);
    return rows && cols ? (size_t)((rows - 1) * t->row + cols) * kg_dtype_bytes(t->dtype) : 0;
}

int kg_put(kg_exec *x, kg_tensor t, const void *p, size_t bytes)
{
    if (kg_bytes(&t) != bytes)
        kg_front_fail(x, "put", "%zu bytes for a tensor of %zu", bytes, kg_bytes(&t));
    if (!kg_exec_record(x, KG_R_PUT, bytes, 0))
        return 1;
    if (x->ctx->mode == KG_DRY)
        return 0;
    kg_device *d = x->ctx->device;
    return d->ops->write(d, x->ctx->lane, t.at, p, bytes) != KG_OK;
}

/* Dry: what staging the tensors takes. Work without outputs is not waited for, so that its node has slots of its own. */
static void plan_stage(kg_exec *x, int n_in, const kg_tensor *ins, int n_out, const kg_tensor *outs)
{
    size_t bytes = 0, *most = n_out ? &x->ctx->stage_bytes : &x->stage_bytes;
    for (int i = 0; i < n_in; ++i)
        bytes += kg_align(kg_tensor_span(&ins[i]));
    for (int i = 0; i < n_out; ++i)
        bytes += kg_align(kg_tensor_span(&outs[i]));
    *most = bytes > *most ? bytes : *most;
}

static int work_here(kg_work_fn *fn, const void *arg, size_t arg_bytes, const kg_tensor *ins, const kg_tensor *outs)
{
    max_align_t copy[KG_WORK_ARG / sizeof(max_align_t)];
    if (arg_bytes)
        memcpy(copy, arg, arg_bytes);
    if (fn(copy, ins, outs) != KG_OK && kg_error_last()->status == KG_OK)
        kg_fail(KG_FAILED, "host work failed");
    return kg_error_last()->status != KG_OK;
}

int kg_work(kg_exec *x, kg_work_fn *fn, const void *arg, size_t arg_bytes, int n_in, const kg_tensor *ins, int n_out,
            const kg_tensor *outs, size_t host_bytes)
{
    kg_ctx *c = x->ctx;
    if (host_bytes > x->host_bytes)
        x->host_bytes = host_bytes;
    if (arg_bytes > KG_WORK_ARG || n_in > KG_WORK_TENSORS || n_out > KG_WORK_TENSORS)
        kg_front_fail(x, "work", "%zu bytes of arguments, %d and %d tensors; at most %d and %d", arg_bytes, n_in, n_out, KG_WORK_ARG,
                      KG_WORK_TENSORS);
    if (!kg_exec_record(x, KG_R_WORK, arg_bytes, 0))
        return 1;
    int stop = 0;
    if (c->mode == KG_DRY && !c->device->host_memory)
        plan_stage(x, n_in, ins, n_out, outs);
    else if (c->mode != KG_DRY && c->device->host_memory)
        stop = work_here(fn, arg, arg_bytes, ins, outs);
    else if (c->mode == KG_WET && c->run)
        stop = kg_run_work(c->run, x, fn, arg, arg_bytes, n_in, ins, n_out, outs);
    else if (c->mode != KG_DRY)
        kg_front_fail(x, "work", "neither fill nor an execution without a plan has staging for host work");
    kg_exec_blame(x);
    return stop || kg_error_last()->status != KG_OK;
}

int kg_peek(kg_exec *x, kg_tensor t, int32_t *value)
{
    kg_device *d = x->ctx->device;
    *value = 0;
    if (d->ops->fetch(d, x->ctx->lane, value, t.at, sizeof *value) != KG_OK)
        return 1;
    kg_event e = d->ops->record(d, x->ctx->lane);
    return kg_error_last()->status != KG_OK || d->ops->sync(d, e) != KG_OK;
}

int kg_ask(kg_exec *x, kg_tensor t, int32_t *flag)
{
    *flag = 0;
    if (!kg_exec_record(x, KG_R_ASK, 4, 0))
        return 1;
    return x->ctx->mode != KG_DRY && kg_peek(x, t, flag);
}

void kg_flag_fail(int bits, const char *what, const char *path)
{
    if (kg_error_last()->status != KG_OK)
        return;
    kg_fail(KG_FAILED, "%s in %s", kg_not_finite_name(bits), what);
    kg_error e = *kg_error_last();
    e.not_finite = 1;
    kg_error_set(&e);
    kg_error_path(path);
}

int kg_flag(kg_exec *x, kg_tensor flag, const char *what)
{
    kg_ctx *c = x->ctx;
    int32_t bits = 0;
    if (!kg_exec_record(x, KG_R_FLAG, 4, 0))
        return 1;
    if (c->mode == KG_DRY)
        return 0;
    if (c->mode == KG_WET && c->run && !c->device->host_memory)
        return kg_run_flag(c->run, x, flag, what);
    if (kg_peek(x, flag, &bits))
        return 1;
    if (bits) {
        char path[256] = "";
        kg_ctx_path(c, x, path, sizeof path);
        kg_flag_fail(bits, what, path);
    }
    return bits != 0;
}

void *kg_state(kg_exec *x, size_t bytes, void (*destroy)(void *))
{
    if (!x->state) {
        x->state = calloc(1, bytes ? bytes : 1);
        x->state_bytes = bytes;
        x->state_destroy = destroy;
        if (!x->state)
            kg_fail(KG_FAILED, "out of host memory for %zu bytes", bytes);
    }
    return x->state;
}

void kg_frame_drop_state(kg_exec *x)
{
    if (x->state && x->state_destroy)
        x->state_destroy(x->state);
    free(x->state);
    free(x->provenance);
    x->state = x->provenance = NULL;
}

/* ---- checkpoints ---- */
int kg_restore(kg_exec *x, const kg_tensor *tensors, int n)
{
    if (!kg_exec_record(x, KG_R_RESTORE, (uint64_t)n, 0))
        return 1;
    return x->ctx->mode == KG_WET && kg_run_restore(x->ctx->run, x, tensors, n);
}

int kg_save(kg_exec *x, int64_t next_step, int64_t steps, const kg_tensor *tensors, int n)
{
    size_t bytes = 0;
    for (int i = 0; i < n; ++i)
        bytes += kg_bytes(&tensors[i]);
    if (2 * bytes > x->host_bytes)     /* one waiting for the writer, one being written */
        x->host_bytes = 2 * bytes;
    if (!kg_exec_record(x, KG_R_SAVE, bytes, 0))
        return 1;
    if (x->ctx->mode == KG_DRY && !x->ctx->device->host_memory && bytes > x->stage_bytes)
        x->stage_bytes = bytes;
    if (x->ctx->mode == KG_WET)
        kg_run_save(x->ctx->run, x, next_step, steps, tensors, n);
    kg_exec_blame(x);
    return kg_error_last()->status != KG_OK;
}
