/* The arguments of a step, as the vector gives them: what is missing there is not given at all. */
#include "args.h"

#include <math.h>
#include <stdlib.h>

void free_args(args *args)
{
    size_t place;
    free((void *)args->key.ptr);
    minikv_write_options_free(args->write);
    minikv_put_options_free(args->put);
    minikv_lock_options_free(args->lock);
    minikv_list_options_free(args->list);
    minikv_watch_options_free(args->watch);
    minikv_value_free(args->value);
    for (place = 0; place < args->count; place++) {
        free((void *)args->keys[place].ptr);
        minikv_value_free(args->values[place]);
    }
    free(args->keys);
    free(args->values);
}

bool flag(run *run, const char *name)
{
    return json_true(field(run, name));
}

/* A duration; says whether one is given. Whole milliseconds go the usual way, others in nanoseconds. */
bool duration(run *run, const char *name, bool *whole, int64_t *time)
{
    const json *given = field(run, name);
    *whole = json_type(given) == 'i';
    *time = *whole ? json_int(given) : llround(json_float(given) * 1e6);
    return given != NULL;
}

static const minikv_entry *entry_of_step(run *run, const json *number)
{
    size_t step = (size_t)json_int(number);
    return step < run->steps && run->outputs[step].form == ENTRY ? run->outputs[step].entry : NULL;
}

/* owner, fence, if_version: the same for all options that take them. */
#define ASKED_BY(run, options, kind)                                                                                 \
    do {                                                                                                             \
        const json *given;                                                                                           \
        minikv_bytes bytes;                                                                                          \
        uint64_t fence = 0;                                                                                          \
        if ((given = field(run, "owner")) != NULL) {                                                                 \
            status result = read_bytes(run, given, &bytes);                                                          \
            if (result != DONE) {                                                                                    \
                return result;                                                                                       \
            }                                                                                                        \
            minikv_##kind##_options_set_owner(options, bytes);                                                       \
            free((void *)bytes.ptr);                                                                                 \
        }                                                                                                            \
        if ((given = field(run, "fence")) != NULL) {                                                                 \
            minikv_##kind##_options_set_fence(options, (uint64_t)json_int(given));                                   \
        }                                                                                                            \
        if ((given = field(run, "fence_of_step")) != NULL) {                                                         \
            if (!minikv_entry_fence(entry_of_step(run, given), &fence)) {                                            \
                return wrong(run, "that step gave no fence");                                                        \
            }                                                                                                        \
            minikv_##kind##_options_set_fence(options, fence);                                                       \
        }                                                                                                            \
        if ((given = field(run, "if_version_of_step")) != NULL) {                                                    \
            if (entry_of_step(run, given) == NULL) {                                                                 \
                return wrong(run, "that step gave no entry");                                                        \
            }                                                                                                        \
            minikv_##kind##_options_set_if_version(options, minikv_entry_version(entry_of_step(run, given)));        \
        }                                                                                                            \
        if ((given = field(run, "if_version")) != NULL) {                                                            \
            read_bytes(run, given, &bytes);                                                                          \
            minikv_##kind##_options_set_if_version(options, (const char *)bytes.ptr);                                \
            free((void *)bytes.ptr);                                                                                 \
        }                                                                                                            \
    } while (0)

status write_options(run *run, args *args)
{
    args->write = minikv_write_options_new();
    ASKED_BY(run, args->write, write);
    return DONE;
}

/* What a put says of its entry, leaving out who asks. */
static void content(run *run, minikv_put_options *put)
{
    bool whole;
    int64_t time;
    if (duration(run, "ttl_ms", &whole, &time)) {
        (whole ? minikv_put_options_set_ttl_ms : minikv_put_options_set_ttl_ns)(put, time);
    }
    minikv_put_options_set_persist(put, flag(run, "persist"));
    minikv_put_options_set_keep_ttl(put, flag(run, "keep_ttl"));
    minikv_put_options_set_if_absent(put, flag(run, "if_absent"));
}

status put_options(run *run, args *args)
{
    bool whole;
    int64_t time;
    args->put = minikv_put_options_new();
    content(run, args->put);
    if (flag(run, "lock")) {
        minikv_put_options_set_lock(args->put, true);
    }
    if (duration(run, "lease_ms", &whole, &time)) {
        (whole ? minikv_put_options_set_lease_ms : minikv_put_options_set_lease_ns)(args->put, time);
    }
    ASKED_BY(run, args->put, put);
    return DONE;
}

status lock_options(run *run, args *args)
{
    bool whole;
    int64_t time;
    const json *put;
    args->lock = minikv_lock_options_new();
    if (duration(run, "wait_ms", &whole, &time)) {
        (whole ? minikv_lock_options_set_wait_ms : minikv_lock_options_set_wait_ns)(args->lock, time);
    }
    if (duration(run, "lease_ms", &whole, &time)) {
        (whole ? minikv_lock_options_set_lease_ms : minikv_lock_options_set_lease_ns)(args->lock, time);
    }
    if (flag(run, "create")) {
        minikv_lock_options_set_create(args->lock, true);
    }
    if ((put = field(run, "put")) != NULL) {
        status result;
        args->value = minikv_value_new();
        result = read_value(run, put, args->value);
        if (result != DONE) {
            return result;
        }
        args->put = minikv_put_options_new();
        content(run, args->put);
        minikv_lock_options_set_put(args->lock, args->value, args->put);
    }
    ASKED_BY(run, args->lock, lock);
    return DONE;
}

status list_options(run *run, args *args)
{
    const json *given;
    args->list = minikv_list_options_new();
    if ((given = field(run, "prefix")) != NULL) {
        minikv_bytes prefix;
        status result = read_bytes(run, given, &prefix);
        if (result != DONE) {
            return result;
        }
        minikv_list_options_set_prefix(args->list, prefix);
        free((void *)prefix.ptr);
    }
    if ((given = field(run, "limit")) != NULL) {
        minikv_list_options_set_limit(args->list, (size_t)json_int(given));
    }
    if ((given = field(run, "cursor_of_step")) != NULL) {
        size_t step = (size_t)json_int(given);
        const char *cursor = step < run->steps ? minikv_page_cursor(run->outputs[step].page) : NULL;
        if (cursor == NULL) {
            return wrong(run, "that step gave no cursor");
        }
        minikv_list_options_set_cursor(args->list, cursor);
    }
    return DONE;
}

status key_of(run *run, args *args)
{
    const json *key = field(run, "key");
    return key == NULL ? wrong(run, "key is missing") : read_bytes(run, key, &args->key);
}

status prefix_of(run *run, args *args)
{
    const json *prefix = field(run, "prefix");
    return prefix == NULL ? DONE : read_bytes(run, prefix, &args->key);
}

/* `keys`, or the keys and values of `items`. */
status many_of(run *run, args *args, bool items)
{
    const json *list = field(run, items ? "items" : "keys");
    size_t place;
    status result = DONE;
    if (json_type(list) != 'a') {
        return wrong(run, "a list is missing");
    }
    args->count = json_count(list);
    args->keys = calloc(args->count + 1, sizeof *args->keys);
    args->values = calloc(args->count + 1, sizeof *args->values);
    if (args->keys == NULL || args->values == NULL) {
        abort();
    }
    for (place = 0; place < args->count && result == DONE; place++) {
        const json *item = json_at(list, place);
        result = read_bytes(run, items ? json_at(item, 0) : item, &args->keys[place]);
        if (items && result == DONE) {
            args->values[place] = minikv_value_new();
            result = read_value(run, json_at(item, 1), args->values[place]);
        }
    }
    return result;
}
