/* Executes the conformance vectors through the C library. Usage: conformance FOLDER */
#define _POSIX_C_SOURCE 200809L
#include "runner.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

status wrong(run *run, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(run->problem, sizeof run->problem, format, arguments);
    va_end(arguments);
    return WRONG;
}

bool same_text(const json *text, const char *other)
{
    size_t length;
    const unsigned char *bytes = json_text(text, &length);
    return bytes != NULL && other != NULL && strlen(other) == length && memcmp(bytes, other, length) == 0;
}

bool same_name(const json *name, const json *other)
{
    size_t length, other_length;
    const unsigned char *bytes = json_text(name, &length), *other_bytes = json_text(other, &other_length);
    return bytes != NULL && other_bytes != NULL && length == other_length && memcmp(bytes, other_bytes, length) == 0;
}

const json *field(run *run, const char *name)
{
    if (run->asked_count < MAX_FIELDS) {
        run->asked[run->asked_count++] = name;
    }
    return json_get(run->step, name);
}

/* Fields that nobody asked for are unknown. */
static status check_fields(run *run)
{
    size_t place, which, length;
    if (run->asked_count == MAX_FIELDS) {
        return wrong(run, "MAX_FIELDS is too small");
    }
    for (place = 0; place < json_count(run->step); place++) {
        const char *name = (const char *)json_name(run->step, place, &length);
        for (which = 0; which < run->asked_count; which++) {
            if (strlen(run->asked[which]) == length && memcmp(run->asked[which], name, length) == 0) {
                break;
            }
        }
        if (which == run->asked_count) {
            return wrong(run, "unknown field %.*s", (int)length, name);
        }
    }
    return DONE;
}

static status start(run *run, const json *fields)
{
    minikv_options *options = minikv_options_new(NULL);
    size_t place;
    status result = DONE;
    minikv_options_set_manual_clock(options, true);
    for (place = 0; place < json_count(fields) && result == DONE; place++) {
        result = set_option(run, options, fields, place);
    }
    if (result == DONE && minikv_registry_start(options, &run->kv, &run->err) != MINIKV_OK) {
        result = wrong(run, "start: %s", minikv_error_message(run->err));
    }
    minikv_options_free(options);
    return result;
}

static status run_case(run *run, const json *test)
{
    const json *steps = json_get(test, "steps");
    size_t step;
    if (start(run, json_get(test, "registry")) != DONE) {
        return WRONG;
    }
    if (json_type(steps) != 'a' || json_count(steps) > MAX_STEPS) {
        return wrong(run, "no steps, or more than %d", (int)MAX_STEPS);
    }
    for (step = 0; step < json_count(steps); step++) {
        output *output = &run->outputs[step];
        status result;
        run->step = json_at(steps, step);
        run->asked_count = 0;
        result = check_step(run, run_step(run, output), output);
        run->steps = step + 1;
        if (result != WRONG && result != EXCLUDED) {
            result = check_fields(run);
        }
        minikv_error_free(run->err);
        run->err = NULL;
        if (result == EXCLUDED) {
            printf("excluded: %s step %lu\n", json_print(json_get(test, "name")), (unsigned long)step);
        } else if (result != DONE) {
            char problem[sizeof run->problem];
            memcpy(problem, run->problem, sizeof problem);
            return wrong(run, "step %lu %.900s: %.900s", (unsigned long)step, json_print(run->step), problem);
        }
    }
    return DONE;
}

static void end_case(run *run)
{
    size_t place;
    minikv_registry_stop(run->kv);
    end_jobs(run);
    for (place = 0; place < MAX_NAMED; place++) {
        minikv_guard_free(run->guards[place].guard);
        minikv_watch_free(run->watches[place].watch);
    }
    for (place = 0; place < MAX_STEPS; place++) {
        free_output(&run->outputs[place]);
    }
    minikv_error_free(run->err);
    minikv_registry_free(run->kv);
}

static json *read_file(const char *folder, const char *name)
{
    char path[4096];
    FILE *file;
    unsigned char *text = NULL;
    size_t length = 0, room = 0, read;
    json *document;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return NULL;
    }
    do {
        room = room * 2 + 65536;
        text = realloc(text, room);
        if (text == NULL) {
            abort();
        }
        read = fread(text + length, 1, room - length, file);
        length += read;
    } while (length == room);
    fclose(file);
    document = json_read(text, length);
    free(text);
    return document;
}

static int is_vector(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0;
}

int main(int argc, char **argv)
{
    struct dirent **files = NULL;
    unsigned long passed = 0, failed = 0;
    int count, file;
    if (argc != 2) {
        fputs("usage: conformance FOLDER\n", stderr);
        return 2;
    }
    count = scandir(argv[1], &files, is_vector, alphasort);
    if (count < 0) {
        perror(argv[1]);
        return 2;
    }
    for (file = 0; file < count; file++) {
        json *cases = read_file(argv[1], files[file]->d_name);
        size_t place;
        failed += json_type(cases) != 'a';
        for (place = 0; place < json_count(cases); place++) {
            const json *test = json_at(cases, place);
            run *run = calloc(1, sizeof *run);
            if (run == NULL) {
                abort();
            }
            run->clock = INT64_C(1700000000000) * 1000000;
            if (run_case(run, test) == DONE) {
                passed++;
            } else {
                failed++;
                printf("FAILED %s: %s\n    %s\n", files[file]->d_name, json_print(json_get(test, "name")), run->problem);
            }
            end_case(run);
            free(run);
        }
        json_free(cases);
        free(files[file]);
    }
    free(files);
    printf("C: %lu passed, %lu failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
