/* The conformance runner in C: what its parts share. */
#ifndef RUNNER_H
#define RUNNER_H

#include <minikv.h>

#include "../json/json.h"

enum { MAX_STEPS = 400, MAX_NAMED = 32, MAX_SAVED = 64, MAX_FIELDS = 32, MAX_NAME = 128, THROWN = -7 };

/* How a step went. */
typedef enum {
    DONE,     /* it gave an output */
    REFUSED,  /* the registry, or the vector's own function, failed it: see run.err */
    EXCLUDED, /* C's types exclude an argument */
    WRONG     /* the vector or the runner is at fault: see run.problem */
} status;

typedef enum { NOTHING, ENTRY, MANY, KEYS, ENTRIES, COUNT, FLAG, VALUE, DIGEST, STATS, OPTIONS, MEMBERS, ENDPOINTS, EVENTS } form;

/* What a step gave; everything in it is its own. */
typedef struct {
    form form;
    minikv_entry *entry;
    minikv_page *page;
    minikv_value *value;
    char *text;
    size_t count;
    bool flag;
    minikv_stats stats;
    minikv_member_list *members;
    minikv_string_list *endpoints;
    minikv_event **events;
} output;

typedef struct job job;

typedef struct {
    minikv_registry *kv;
    output outputs[MAX_STEPS];
    size_t steps;
    struct { const json *name; minikv_watch *watch; } watches[MAX_NAMED];
    struct { const json *name; minikv_guard *guard; } guards[MAX_NAMED];
    struct { const json *name; job *job; } jobs[MAX_NAMED];
    struct { char name[MAX_NAME]; char text[MAX_NAME]; } saved[MAX_SAVED];
    int64_t clock; /* what the manual clock shows, in ns */
    /* of the present step */
    const json *step;
    const char *asked[MAX_FIELDS];
    size_t asked_count;
    minikv_error *err;
    char problem[2000];
} run;

/* A problem with the vector or the result; gives WRONG. */
status wrong(run *run, const char *format, ...);

/* A field of the step, which is now known. */
const json *field(run *run, const char *name);

bool same_text(const json *text, const char *other);
bool same_name(const json *name, const json *other);

/* literal.c: memory that they give is freed with free(). */
status read_bytes(run *run, const json *literal, minikv_bytes *bytes);
status read_value(run *run, const json *literal, minikv_value *value);
const char *marker(const json *literal, const json **content);
status read_float(run *run, const json *text, double *number);

/* ops.c */
status run_step(run *run, output *output);
void end_jobs(run *run);
void free_output(output *output);

/* cluster.c */
status set_option(run *run, minikv_options *options, const json *fields, size_t place);
status check_members(run *run, const minikv_member_list *found, const json *expected);
status check_endpoints(run *run, const minikv_string_list *found, const json *expected);

/* compare.c */
status check_step(run *run, status status, output *output);

#endif
