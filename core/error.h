/* Errors: set once, where they are found, in a thread-local record; they cross threads by value.
 *
 * A function that fails calls kg_fail and returns its status (or NULL, or -1); callers pass it on and add nothing. kg_fail keeps
 * the first error until it is taken or cleared. What errors and lines of the log quote may come from anywhere: they are made plain
 * (plain.h) when they are written, so that who shows them has nothing to do. */
#ifndef KG_CORE_ERROR_H
#define KG_CORE_ERROR_H

#include "core/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kg_error {
    kg_status status;
    char path[256];        /* "wan.sample 'main' > step 3 > block 17"; empty when no node is concerned */
    char message[768];
    char hint[512];        /* what would help, as a sentence or a flag; may be empty                   */
    int not_finite;        /* a watched value held NaN or Inf: a run with `finite` finds the op that made it */
    const char *file;      /* source line that found it                                                */
    int line;
} kg_error;

kg_status kg_fail_at(const char *file, int line, kg_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#define kg_fail(status, ...) kg_fail_at(__FILE__, __LINE__, (status), __VA_ARGS__)

/* Adds to the current error: after "; ", unless it goes on with a comma or a space. */
void kg_hint(const char *format, ...) __attribute__((format(printf, 1, 2)));
void kg_error_path(const char *path);            /* sets the path if it is empty yet                        */
const kg_error *kg_error_last(void);             /* status KG_OK when there is none                         */
void kg_error_take(kg_error *out);               /* copies and clears                                       */
void kg_error_set(const kg_error *error);        /* an error from another thread becomes this one's         */
void kg_error_clear(void);

/* Notes say what goes on, warnings that a result is not quite what was asked for. Each kind goes through one function that the
 * program sets (default: notes are dropped, warnings are notes that begin with the word). Thread-safe. */
typedef void kg_log_fn(void *arg, const char *line);
void kg_log_set(kg_log_fn *fn, void *arg);
void kg_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What a thread works for while it warns: a node (type and label), and the warnings given so far, a line each. A line that is
 * kept already is not given again. */
#define KG_WARNINGS 4096               /* bytes of lines that one node keeps at most */
typedef struct kg_warned { const char *node, *label; char *lines; } kg_warned;
typedef void kg_warn_fn(void *arg, const kg_warned *of, const char *text);     /* of: NULL when no node is concerned */
void kg_warn_set(kg_warn_fn *fn, void *arg);
void kg_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
kg_warned *kg_warn_for(kg_warned *w);            /* this thread's from now on; returns the one before; NULL: none */

/* Index of the entry of names[n] nearest to name by edit distance, or -1 when none is near. */
int kg_near(const char *name, const char *const *names, int n);

#ifdef __cplusplus
}
#endif

#endif
