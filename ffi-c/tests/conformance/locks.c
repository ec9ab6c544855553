/* Locks and guards, also those that wait aside. */
#define _POSIX_C_SOURCE 200809L
#include "args.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* A lock that is waited for aside. */
struct job {
    pthread_t thread;
    pthread_mutex_t mutex;
    bool finished;
    minikv_registry *kv;
    minikv_bytes key;
    minikv_lock_options *options;
    bool scoped;
    minikv_code code;
    minikv_entry *entry;
    minikv_guard *guard;
    minikv_error *err;
    const json *guard_name;
};

static void *wait_aside(void *argument)
{
    job *job = argument;
    if (job->scoped) {
        job->code = minikv_locked(job->kv, job->key, job->options, &job->guard, &job->err);
        if (job->code == MINIKV_OK) {
            job->code = minikv_guard_get(job->guard, &job->entry, &job->err);
        }
    } else {
        job->code = minikv_lock(job->kv, job->key, job->options, &job->entry, &job->err);
    }
    pthread_mutex_lock(&job->mutex);
    job->finished = true;
    pthread_mutex_unlock(&job->mutex);
    return NULL;
}

static void free_job(job *job)
{
    pthread_mutex_destroy(&job->mutex);
    free((void *)job->key.ptr);
    minikv_lock_options_free(job->options);
    free(job);
}

static bool is_finished(job *job)
{
    bool finished;
    pthread_mutex_lock(&job->mutex);
    finished = job->finished;
    pthread_mutex_unlock(&job->mutex);
    return finished;
}

static status keep_guard(run *run, const json *name, minikv_guard *guard)
{
    size_t place;
    for (place = 0; place < MAX_NAMED; place++) {
        if (run->guards[place].guard == NULL || same_name(run->guards[place].name, name)) {
            minikv_guard_free(run->guards[place].guard);
            run->guards[place].name = name;
            run->guards[place].guard = guard;
            return DONE;
        }
    }
    minikv_guard_free(guard);
    return wrong(run, "too many guards");
}

status lock_step(run *run, args *args, bool scoped, output *out)
{
    const json *as = scoped ? field(run, "as") : NULL, *spawn = field(run, "spawn");
    status result = key_of(run, args);
    job *job;
    minikv_stats stats;
    uint64_t before;
    size_t place = 0;
    if (result == DONE) {
        result = lock_options(run, args);
    }
    if (result != DONE) {
        return result;
    }
    if (scoped && as == NULL) {
        return wrong(run, "as is missing");
    }
    out->form = ENTRY;
    if (spawn == NULL && scoped) {
        minikv_guard *guard = NULL;
        if (minikv_locked(run->kv, args->key, args->lock, &guard, &run->err) != MINIKV_OK) {
            return REFUSED;
        }
        result = minikv_guard_get(guard, &out->entry, &run->err) == MINIKV_OK ? DONE : REFUSED;
        return keep_guard(run, as, guard) == DONE ? result : WRONG;
    }
    if (spawn == NULL) {
        return minikv_lock(run->kv, args->key, args->lock, &out->entry, &run->err) == MINIKV_OK ? DONE : REFUSED;
    }
    job = calloc(1, sizeof *job);
    if (job == NULL || minikv_registry_stats(run->kv, &stats, sizeof stats, &run->err) != MINIKV_OK) {
        free(job);
        return wrong(run, "no stats");
    }
    before = stats.waiters;
    pthread_mutex_init(&job->mutex, NULL);
    job->kv = run->kv;
    job->scoped = scoped;
    job->guard_name = as;
    job->key = args->key;
    job->options = args->lock;
    args->key = minikv_span(NULL, 0);
    args->lock = NULL;
    pthread_create(&job->thread, NULL, wait_aside, job);
    while (place < MAX_NAMED && run->jobs[place].job != NULL) {
        place++;
    }
    if (place == MAX_NAMED) {
        abort();
    }
    run->jobs[place].name = spawn;
    run->jobs[place].job = job;
    do {
        const struct timespec pause = {0, 200000};
        bool finished = is_finished(job);
        nanosleep(&pause, NULL);
        if (finished || minikv_registry_stats(run->kv, &stats, sizeof stats, &run->err) != MINIKV_OK) {
            return wrong(run, "the spawned step did not wait");
        }
    } while (stats.waiters != before + 1);
    out->form = NOTHING;
    return DONE;
}

status join_step(run *run, output *out)
{
    const json *of = field(run, "of");
    size_t place;
    for (place = 0; place < MAX_NAMED; place++) {
        job *job = run->jobs[place].job;
        status result;
        if (job == NULL || !same_name(run->jobs[place].name, of)) {
            continue;
        }
        pthread_join(job->thread, NULL);
        run->jobs[place].job = NULL;
        out->form = ENTRY;
        out->entry = job->entry;
        run->err = job->err;
        result = job->code == MINIKV_OK ? DONE : REFUSED;
        if (job->guard != NULL) {
            keep_guard(run, job->guard_name, job->guard);
        }
        free_job(job);
        return result;
    }
    return wrong(run, "there is no such job");
}

/* What still waits when a case ends early: stopped with the registry. */
void end_jobs(run *run)
{
    size_t place;
    for (place = 0; place < MAX_NAMED; place++) {
        job *job = run->jobs[place].job;
        if (job != NULL) {
            pthread_join(job->thread, NULL);
            minikv_entry_free(job->entry);
            minikv_guard_free(job->guard);
            minikv_error_free(job->err);
            free_job(job);
        }
    }
}

minikv_guard *guard_of(run *run, const json *of)
{
    size_t place;
    for (place = 0; place < MAX_NAMED; place++) {
        if (run->guards[place].guard != NULL && same_name(run->guards[place].name, of)) {
            return run->guards[place].guard;
        }
    }
    return NULL;
}
