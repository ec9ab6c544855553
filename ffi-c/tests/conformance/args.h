/* The arguments of a step, and what belongs to steps of more than one file. */
#ifndef ARGS_H
#define ARGS_H

#include "runner.h"

/* The arguments of a step; what is missing in the vector is not given at all. */
typedef struct {
    minikv_bytes key;
    minikv_write_options *write;
    minikv_put_options *put;
    minikv_lock_options *lock;
    minikv_list_options *list;
    minikv_watch_options *watch;
    minikv_value *value;
    minikv_bytes *keys;
    minikv_value **values;
    size_t count;
} args;

void free_args(args *args);

/* Each adds to the arguments what the step says. */
status key_of(run *run, args *args);
status prefix_of(run *run, args *args);
status many_of(run *run, args *args, bool items);
status write_options(run *run, args *args);
status put_options(run *run, args *args);
status lock_options(run *run, args *args);
status list_options(run *run, args *args);

bool flag(run *run, const char *name);
bool duration(run *run, const char *name, bool *whole, int64_t *time);

/* cluster.c */
status cluster_step(run *run, const char *op, output *out, bool *known);

/* locks.c */
status lock_step(run *run, args *args, bool scoped, output *out);
status join_step(run *run, output *out);
minikv_guard *guard_of(run *run, const json *of);

#endif
