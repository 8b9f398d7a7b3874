/* Statuses of the runtime, cuBLASLt and cuDNN become errors of the engine.
 *
 * A kernel's failure comes out at some later call, in any thread, and the context is lost with it. So the first one is kept: every
 * later call on the device fails with the same message, nothing hangs, and core ends the runs. What is known of the place is the op
 * that was queued last on the lane. */
#include "kernels/cuda/device.h"

#include <stdio.h>
#include <string.h>

static __global__ void trap() { asm volatile("trap;"); }
KG_CUDA_KERNELS(errors, (const void *)trap);

kg_status kg_cuda_failed(const kg_cuda *c)
{
    if (!c->broken.load(std::memory_order_acquire))
        return KG_OK;
    kg_cuda *m = (kg_cuda *)(uintptr_t)c;
    std::lock_guard<std::mutex> hold(m->failing);
    if (kg_error_last()->status == KG_OK)
        kg_error_set(&m->error);
    return KG_FAILED;
}

/* Keeps the error that the caller has just set. */
static kg_status keep(kg_cuda *c)
{
    std::lock_guard<std::mutex> hold(c->failing);
    if (!c->broken.load()) {
        c->error = *kg_error_last();
        c->error.path[0] = 0;                      /* another thread's path would be wrong         */
        c->broken.store(1, std::memory_order_release);
    }
    return KG_FAILED;
}

static kg_status fail(kg_cuda *c, int lane, const char *what, const char *why, int number)
{
    static const char *const names[KG_LANES] = {"compute", "copy", "readback"};
    const char *last = lane >= 0 ? c->lane[lane].last.load() : NULL;
    char after[96] = "";
    if (kg_cuda_failed(c) != KG_OK)
        return KG_FAILED;
    if (last && strcmp(last, what))
        snprintf(after, sizeof after, " (last on the %s lane: %s)", names[lane], last);
    kg_fail(KG_FAILED, "cuda:%d: %s: %s (%d)%s", c->index, what, why, number, after);
    return keep(c);
}

kg_status kg_cuda_check(kg_cuda *c, int lane, cudaError_t e, const char *what)
{
    if (e == cudaSuccess)
        return kg_cuda_failed(c);
    cudaGetLastError();                            /* what is not fatal is cleared: it is reported here */
    return fail(c, lane, what, cudaGetErrorString(e), (int)e);
}

int kg_cuda_ok(kg_exec *x, cudaError_t e, const char *what)
{
    return kg_cuda_check(kg_cuda_of(x), kg_exec_lane(x), e, what) == KG_OK;
}

int kg_cuda_lt_ok(kg_exec *x, cublasStatus_t e, const char *what)
{
    kg_cuda *c = kg_cuda_of(x);
    if (e == CUBLAS_STATUS_SUCCESS)
        return kg_cuda_failed(c) == KG_OK;
    return fail(c, kg_exec_lane(x), what, kg_lib.cublasLtGetStatusString(e), (int)e) == KG_OK;
}

int kg_cuda_dnn_ok(kg_exec *x, cudnnStatus_t e, const char *what)
{
    kg_cuda *c = kg_cuda_of(x);
    char words[256] = "", why[384];
    if (e == CUDNN_STATUS_SUCCESS)
        return kg_cuda_failed(c) == KG_OK;
    kg_lib.cudnnGetLastErrorString(words, sizeof words);
    snprintf(why, sizeof why, "%s%s%s", kg_lib.cudnnGetErrorString(e), words[0] ? ": " : "", words);
    return fail(c, kg_exec_lane(x), what, why, (int)e) == KG_OK;
}

int kg_cuda_launched(kg_exec *x, const char *op)
{
    kg_cuda *c = kg_cuda_of(x);
    int lane = kg_exec_lane(x);
    cudaError_t e = cudaGetLastError();
    c->lane[lane].last.store(op);
    if (e == cudaSuccess && kg_cuda_faulty(c, KG_FAULT_KERNEL)) {
        trap<<<1, 1, 0, c->lane[lane].stream>>>();
        e = cudaGetLastError();
    }
    return kg_cuda_check(c, lane, e, op) == KG_OK;
}

void kg_cuda_fault(kg_device *d, int what, long n)
{
    kg_cuda *c = kg_cuda_of_device(d);
    c->fault_in.store(n);
    c->fault.store(what);
}

int kg_cuda_faulty(kg_cuda *c, int what)
{
    return c->fault.load(std::memory_order_relaxed) == what && c->fault_in.fetch_sub(1) == 1;
}
