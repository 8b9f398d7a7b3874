/* The socket to a script's process, seen from the engine: frames within limits, and how the process came to its end.
 *
 * Invariants: the engine waits at most wall_seconds in all, whatever the other end does or leaves out; it takes no more memory
 * than limits.edits for what it is sent; when the process is at its end it is reaped. */
#include "lua/host.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Kills the process if it still runs; its wait status. A process that is already dying keeps its own cause. */
static int reap(kg_script *s)
{
    int status = 0;
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    s->pid = 0;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    return status;
}

void kg_host_end(kg_script *s) { reap(s); }

kg_status kg_host_limit(kg_script *s, int which)
{
    const kg_script_limits *l = &s->limits;
    reap(s);
    switch (which) {
    case KG_L_MEMORY:
        return kg_fail(KG_USAGE, "%s: stopped: it took more than %zu MiB of memory", s->path, l->memory >> 20);
    case KG_L_EDITS:
        return kg_fail(KG_USAGE, "%s: stopped: it sent more than %zu KiB of edits", s->path, l->edits >> 10);
    case KG_L_CPU: return kg_fail(KG_USAGE, "%s: stopped: it ran for more than %g s of CPU", s->path, l->cpu_seconds);
    case KG_L_WALL: return kg_fail(KG_USAGE, "%s: stopped: it took more than %g s", s->path, l->wall_seconds);
    case KG_L_NODES: return kg_fail(KG_USAGE, "%s: stopped: it made more than %d nodes", s->path, l->nodes);
    default: return kg_host_malformed(s);
    }
}

kg_status kg_host_malformed(kg_script *s)
{
    reap(s);
    return kg_fail(KG_USAGE, "%s: stopped: its process sent a malformed message", s->path);
}

/* The process hung up without a word. */
static kg_status died(kg_script *s)
{
    int status = reap(s), sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (sig == SIGPROF || sig == SIGXCPU)
        return kg_host_limit(s, KG_L_CPU);
    if (sig == SIGINT || sig == SIGTERM || sig == SIGHUP)
        return kg_fail(KG_CANCELLED, "cancelled");
    if (sig)
        return kg_fail(KG_USAGE, "%s: its process was ended by signal %d (%s)", s->path, sig, strsignal(sig));
    return kg_fail(KG_USAGE, "%s: its process ended with status %d", s->path, WEXITSTATUS(status));
}

/* Waits for the socket; the time is the script's. */
static kg_status wait_for(kg_script *s, short what)
{
    for (;;) {
        if (s->cancel && *s->cancel) {
            reap(s);
            return kg_fail(KG_CANCELLED, "cancelled");
        }
        double left = s->limits.wall_seconds - s->waited, start = now();
        if (left <= 0)
            return kg_host_limit(s, KG_L_WALL);
        struct pollfd p = {.fd = s->fd, .events = what};
        int n = poll(&p, 1, left < 0.2 ? (int)(left * 1e3) + 1 : 200);   /* often, for the sake of cancel */
        s->waited += now() - start;
        if (n > 0)
            return KG_OK;
        if (n < 0 && errno != EINTR)
            return kg_fail(KG_FAILED, "cannot wait for a script: %s", strerror(errno));
    }
}

static kg_status receive(kg_script *s, void *to, size_t bytes)
{
    for (char *p = to; bytes;) {
        ssize_t n = recv(s->fd, p, bytes, MSG_DONTWAIT);
        if (n > 0) {
            p += n;
            bytes -= (size_t)n;
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            kg_status status = wait_for(s, POLLIN);
            if (status)
                return status;
        } else if (n == 0 || errno != EINTR)
            return died(s);
    }
    return KG_OK;
}

kg_status kg_host_receive(kg_script *s, uint32_t *kind, size_t *bytes)
{
    kg_head head;
    if (s->fd < 0)
        return kg_fail(KG_USAGE, "%s has ended", s->path);
    kg_status status = receive(s, &head, sizeof head);
    if (status)
        return status;
    if (head.bytes > s->limits.edits || s->received > s->limits.edits - head.bytes)
        return kg_host_limit(s, KG_L_EDITS);
    s->received += head.bytes + sizeof head;
    if (head.bytes > s->room) {
        unsigned char *p = realloc(s->payload, head.bytes);
        if (!p) {
            reap(s);
            return kg_fail(KG_FAILED, "out of host memory");
        }
        s->payload = p;
        s->room = head.bytes;
    }
    *kind = head.kind;
    *bytes = head.bytes;
    return receive(s, s->payload, head.bytes);
}

kg_status kg_host_send(kg_script *s)
{
    if (s->fd < 0)
        return kg_fail(KG_USAGE, "%s has ended", s->path);
    if (!kg_write_end(&s->out))
        return kg_fail(KG_USAGE, "%s: more text than a script is sent", s->path);
    for (size_t at = 0; at < s->out.n;) {
        ssize_t n = send(s->fd, s->out.at + at, s->out.n - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0)
            at += (size_t)n;
        else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            kg_status status = wait_for(s, POLLOUT);
            if (status)
                return status;
        } else if (errno != EINTR)
            return died(s);
    }
    return KG_OK;
}
