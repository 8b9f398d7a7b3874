/* (being written) */
#include "core/internal.h"
int kg_run_use(struct kg_run *r, uint32_t use, void **base) { (void)r; (void)use; (void)base; return 1; }
void kg_run_tick(struct kg_run *r, uint32_t tick) { (void)r; (void)tick; }
void kg_run_step(struct kg_run *r, const kg_exec *x, const kg_scope *s, int outer) { (void)r; (void)x; (void)s; (void)outer; }
void kg_run_save(struct kg_run *r, kg_exec *x, int64_t next, int64_t steps, const kg_tensor *t, int n) { (void)r; (void)x; (void)next; (void)steps; (void)t; (void)n; }
int kg_run_restore(struct kg_run *r, kg_exec *x, const kg_tensor *t, int n) { (void)r; (void)x; (void)t; (void)n; return 1; }
void *kg_plan_keep(const kg_plan *p, uint32_t keep) { (void)p; (void)keep; return NULL; }
void kg_device_free(kg_device *d) { if (d) d->ops->destroy(d); }
