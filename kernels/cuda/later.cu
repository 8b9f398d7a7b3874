/* What a plan asks for and its run needs later, such as engines of cuDNN that take tens of milliseconds each: made one after the other
 * on a thread of the device's own, so that the run goes on meanwhile. Whoever comes to need one that is not begun makes it himself.
 * The thread begins with the run: a plan alone needs none of it, and while it is made its own questions to the libraries come first. */
#include "kernels/cuda/device.h"

#include <new>
#include <system_error>

static void work(kg_cuda *c)
{
    kg_cuda_current(c);
    std::unique_lock<std::mutex> hold(c->later.lock);
    for (;;) {
        c->later.more.wait(hold, [c] { return c->later.ends || !c->later.queue.empty(); });
        if (c->later.ends)
            return;
        std::function<void()> job = std::move(c->later.queue.front());
        c->later.queue.pop_front();
        hold.unlock();
        job();
        hold.lock();
    }
}

void kg_cuda_later(kg_exec *x, std::function<void()> job)
{
    kg_cuda *c = kg_cuda_of(x);
    std::lock_guard<std::mutex> hold(c->later.lock);
    try {
        c->later.queue.push_back(std::move(job));
        c->later.more.notify_one();
    } catch (const std::bad_alloc &) {
    }
}

void kg_cuda_later_begin(kg_cuda *c)
{
    std::lock_guard<std::mutex> hold(c->later.lock);
    try {
        if (!c->later.thread.joinable())
            c->later.thread = std::thread(work, c);
    } catch (const std::system_error &) {      /* no thread to be had: the run makes all of it */
    }
}

cudnnHandle_t kg_cuda_dnn_later(kg_exec *x) { return kg_cuda_of(x)->later.dnn; }

/* What is not begun is left. */
void kg_cuda_later_end(kg_cuda *c)
{
    {
        std::lock_guard<std::mutex> hold(c->later.lock);
        c->later.ends = true;
    }
    c->later.more.notify_one();
    if (c->later.thread.joinable())
        c->later.thread.join();
}
