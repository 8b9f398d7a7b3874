/* Watched values: a flag of each, NaN or Inf or neither, comes to the host behind the kernel that wrote it and is looked at when
 * somebody has waited for the device anyway: the compute thread, which is two blocks ahead of it, a job of the host thread before it
 * is carried out, the end of a unit. So a flag costs no wait, and nothing that leaves the run (checkpoint, result, file) is written
 * before all flags queued ahead of it were found clear. A device of host memory has no lane to wait for: core/work.c reads the
 * flag where it is. */
#include "core/run_internal.h"

/* Flags are looked at in order, by two threads: none is passed before it was clear. */
kg_status kg_run_look(kg_run *r, uint64_t flags)
{
    kg_run_flags *f = &r->flags;
    kg_flag_place place = {0};
    int bits = 0;
    pthread_mutex_lock(&r->lock);
    while (f->looked < flags && !bits) {
        bits = f->slot[f->looked % KG_FLAGS];
        if (bits)
            place = f->place[f->looked % KG_FLAGS];
        else
            ++f->looked;
    }
    pthread_mutex_unlock(&r->lock);
    if (bits)
        kg_flag_fail(bits, place.what, place.path);
    return bits ? KG_FAILED : KG_OK;
}

int kg_run_flag(kg_run *r, const kg_exec *x, kg_tensor flag, const char *what)
{
    kg_run_flags *f = &r->flags;
    pthread_mutex_lock(&r->lock);
    int full = f->queued - f->looked == KG_FLAGS;
    pthread_mutex_unlock(&r->lock);
    if (full && (kg_run_sync(r, KG_LANE_COMPUTE) != KG_OK || kg_run_look(r, f->queued) != KG_OK))
        return 1;
    kg_flag_place *p = &f->place[f->queued % KG_FLAGS];
    *p = (kg_flag_place){.what = what};
    kg_ctx_path(x->ctx, x, p->path, sizeof p->path);
    int32_t *slot = &f->slot[f->queued % KG_FLAGS];
    if (r->device->ops->fetch(r->device, KG_LANE_COMPUTE, slot, flag.at, sizeof *slot) != KG_OK)
        return 1;
    ++f->queued;
    return 0;
}
