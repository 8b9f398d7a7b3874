/* The thread's error record, the log, and near matches. */
#include "core/error.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/plain.h"

static _Thread_local kg_error current;
static _Thread_local int ignored;      /* the last kg_fail came too late: a hint after it is dropped too */

kg_status kg_fail_at(const char *file, int line, kg_status status, const char *format, ...)
{
    ignored = current.status != KG_OK;
    if (ignored)
        return current.status;
    current = (kg_error){.status = status, .file = file, .line = line};
    va_list args;
    va_start(args, format);
    vsnprintf(current.message, sizeof current.message, format, args);
    va_end(args);
    kg_plain(current.message);
    return status;
}

void kg_hint(const char *format, ...)
{
    char text[sizeof current.hint];
    if (ignored)
        return;
    size_t n = strlen(current.hint);
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    kg_plain(text);
    snprintf(current.hint + n, sizeof current.hint - n, "%s%s", n && text[0] != ',' && text[0] != ' ' ? "; " : "", text);
}

void kg_error_path(const char *path)
{
    if (current.status != KG_OK && !current.path[0]) {
        snprintf(current.path, sizeof current.path, "%s", path);
        kg_plain(current.path);
    }
}

const kg_error *kg_error_last(void) { return &current; }

void kg_error_take(kg_error *out)
{
    *out = current;
    kg_error_clear();
}

void kg_error_set(const kg_error *error) { current = *error; }

void kg_error_clear(void)
{
    memset(&current, 0, sizeof current);
    ignored = 0;
}

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static kg_log_fn *log_fn;
static kg_warn_fn *warn_fn;
static void *log_arg, *warn_arg;
static _Thread_local kg_warned *warned;

void kg_log_set(kg_log_fn *fn, void *arg)
{
    pthread_mutex_lock(&log_lock);
    log_fn = fn;
    log_arg = arg;
    pthread_mutex_unlock(&log_lock);
}

void kg_log(const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    kg_plain(line);
    pthread_mutex_lock(&log_lock);
    if (log_fn)
        log_fn(log_arg, line);
    pthread_mutex_unlock(&log_lock);
}

/* ---- warnings ---- */
void kg_warn_set(kg_warn_fn *fn, void *arg)
{
    pthread_mutex_lock(&log_lock);
    warn_fn = fn;
    warn_arg = arg;
    pthread_mutex_unlock(&log_lock);
}

kg_warned *kg_warn_for(kg_warned *w)
{
    kg_warned *was = warned;
    warned = w;
    return was;
}

static int kept(const char *lines, const char *text)
{
    size_t n = strlen(text);
    for (const char *p = lines; p && *p; p += strcspn(p, "\n"), p += *p == '\n')
        if (strcspn(p, "\n") == n && !memcmp(p, text, n))
            return 1;
    return 0;
}

/* 1: it is news. */
static int keep(kg_warned *w, const char *text)
{
    if (kept(w->lines, text))
        return 0;
    size_t had = w->lines ? strlen(w->lines) : 0, n = strlen(text);
    char *more = had + n + 2 <= KG_WARNINGS ? realloc(w->lines, had + n + 2) : NULL;
    if (more) {
        snprintf(more + had, n + 2, "%s\n", text);
        w->lines = more;
    }
    return 1;
}

void kg_warn(const char *format, ...)
{
    char text[1024], line[1200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    kg_plain(text);
    pthread_mutex_lock(&log_lock);
    const kg_warned *w = warned;
    if (w)
        snprintf(line, sizeof line, *w->label ? "warning: %s '%s': %s" : "warning: %s%s: %s", w->node, w->label, text);
    else
        snprintf(line, sizeof line, "warning: %s", text);
    int news = !w || keep(warned, text);
    if (news && warn_fn)
        warn_fn(warn_arg, w, text);
    else if (news && log_fn)
        log_fn(log_arg, line);
    pthread_mutex_unlock(&log_lock);
}

/* Edit distance with swaps of neighbours (a typing slip is one edit), words of at most 63 characters. */
static int distance(const char *a, const char *b)
{
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n > 63 || m > 63)
        return 64;
    int d[65][65];
    for (int i = 0; i <= n; ++i)
        d[i][0] = i;
    for (int j = 0; j <= m; ++j)
        d[0][j] = j;
    for (int i = 1; i <= n; ++i)
        for (int j = 1; j <= m; ++j) {
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

int kg_near(const char *name, const char *const *names, int n)
{
    int best = -1, least = (int)strlen(name) / 3 + 2;
    if (least > 23)
        return -1;
    for (int i = 0; i < n; ++i) {
        int d = distance(name, names[i]);
        if (d < least) {
            least = d;
            best = i;
        }
    }
    return best;
}
