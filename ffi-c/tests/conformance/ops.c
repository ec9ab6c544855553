/* One step of a vector, as a call. */
#include "args.h"

#include <stdlib.h>

void free_output(output *output)
{
    size_t place;
    minikv_entry_free(output->entry);
    minikv_page_free(output->page);
    minikv_value_free(output->value);
    minikv_string_free(output->text);
    for (place = 0; output->events != NULL && place < output->count; place++) {
        minikv_event_free(output->events[place]);
    }
    free(output->events);
    minikv_member_list_free(output->members);
    minikv_string_list_free(output->endpoints);
}

/* Puts by the function of the value's type, so that all of them are used. */
#define PUT_AS(call, ...)                                                                                             \
    do {                                                                                                             \
        const json *inner;                                                                                           \
        const char *special = marker(value, &inner);                                                                 \
        minikv_bytes bytes;                                                                                          \
        double number;                                                                                               \
        if (special != NULL && strcmp(special, "$float") == 0 && read_float(run, inner, &number) == DONE) {          \
            return call##float(__VA_ARGS__, number, args->put, &out->entry, &run->err) == MINIKV_OK ? DONE : REFUSED; \
        }                                                                                                            \
        if (special != NULL && strcmp(special, "$bytes") == 0 && read_bytes(run, value, &bytes) == DONE) {           \
            minikv_code code = call##bytes(__VA_ARGS__, bytes, args->put, &out->entry, &run->err);                   \
            free((void *)bytes.ptr);                                                                                 \
            return code == MINIKV_OK ? DONE : REFUSED;                                                               \
        }                                                                                                            \
        switch (json_type(value)) {                                                                                  \
        case 'n':                                                                                                    \
            return call##nil(__VA_ARGS__, args->put, &out->entry, &run->err) == MINIKV_OK ? DONE : REFUSED;          \
        case 'b':                                                                                                    \
            return call##bool(__VA_ARGS__, json_true(value), args->put, &out->entry, &run->err) == MINIKV_OK         \
                       ? DONE : REFUSED;                                                                             \
        case 'i':                                                                                                    \
            return call##int(__VA_ARGS__, json_int(value), args->put, &out->entry, &run->err) == MINIKV_OK           \
                       ? DONE : REFUSED;                                                                             \
        case 's':                                                                                                    \
            bytes.ptr = json_text(value, &bytes.len);                                                                \
            return call##text(__VA_ARGS__, bytes, args->put, &out->entry, &run->err) == MINIKV_OK ? DONE : REFUSED;  \
        default:                                                                                                     \
            return call##value(__VA_ARGS__, args->value, args->put, &out->entry, &run->err) == MINIKV_OK             \
                       ? DONE : REFUSED;                                                                             \
        }                                                                                                            \
    } while (0)

static status put_value(run *run, args *args, const json *value, minikv_guard *guard, output *out)
{
    status result;
    if (value == NULL) {
        return wrong(run, "value is missing");
    }
    out->form = ENTRY;
    args->value = minikv_value_new();
    result = read_value(run, value, args->value);
    if (result != DONE) {
        return result;
    }
    if (guard != NULL) {
        PUT_AS(minikv_guard_put_, guard);
    }
    PUT_AS(minikv_put_, run->kv, args->key);
}

/* A vector's function, and what it needs to run. */
typedef struct {
    run *run;
    const json *function;
} function;

static int32_t call_function(void *user, const minikv_entry *present, minikv_value *value)
{
    function *called = user;
    const json *returned = json_get(called->function, "return");
    int64_t number = 0;
    if (returned != NULL) {
        return read_value(called->run, returned, value) == DONE ? MINIKV_UPDATE_PUT : -100;
    }
    if (same_text(called->function, "keep")) {
        return MINIKV_UPDATE_KEEP;
    }
    if (same_text(called->function, "delete")) {
        return MINIKV_UPDATE_DELETE;
    }
    if (same_text(called->function, "incr")) {
        if (present != NULL && !minikv_entry_as_int(present, &number)) {
            return THROWN;
        }
        minikv_value_add_int(value, number + 1);
        return MINIKV_UPDATE_PUT;
    }
    return same_text(called->function, "throw") ? THROWN : -101;
}

static int32_t compute(void *user, minikv_value *value)
{
    int32_t result = call_function(user, NULL, value);
    return result == MINIKV_UPDATE_PUT ? 0 : result;
}

static status watch_step(run *run, args *args)
{
    const json *as = field(run, "as"), *prefix = field(run, "prefix"), *key = field(run, "key");
    const json *capacity = field(run, "capacity");
    minikv_watch *watch = NULL;
    status result = DONE;
    size_t place = 0;
    args->watch = minikv_watch_options_new();
    minikv_watch_options_set_initial(args->watch, flag(run, "initial"));
    if (prefix != NULL) {
        result = read_bytes(run, prefix, &args->key);
        minikv_watch_options_set_prefix(args->watch, args->key);
    } else if (key != NULL) {
        result = read_bytes(run, key, &args->key);
        minikv_watch_options_set_key(args->watch, args->key);
    }
    if (capacity != NULL) {
        minikv_watch_options_set_capacity(args->watch, (size_t)json_int(capacity));
    }
    if (result != DONE) {
        return result;
    }
    if (minikv_watch_open(run->kv, args->watch, &watch, &run->err) != MINIKV_OK) {
        return REFUSED;
    }
    while (place < MAX_NAMED && run->watches[place].watch != NULL) {
        place++;
    }
    if (place == MAX_NAMED || as == NULL) {
        minikv_watch_free(watch);
        return wrong(run, "too many watches, or one without a name");
    }
    run->watches[place].name = as;
    run->watches[place].watch = watch;
    return DONE;
}

static status events_step(run *run, output *out)
{
    const json *of = field(run, "of");
    size_t place, room = 16;
    for (place = 0; place < MAX_NAMED && run->watches[place].watch != NULL; place++) {
        minikv_event *event = NULL;
        if (!same_name(run->watches[place].name, of)) {
            continue;
        }
        out->form = EVENTS;
        out->events = malloc(room * sizeof *out->events);
        while (minikv_watch_try_next(run->watches[place].watch, &event, &run->err) == MINIKV_OK && event != NULL) {
            if (out->count == room) {
                room *= 2;
                out->events = realloc(out->events, room * sizeof *out->events);
            }
            if (out->events == NULL) {
                abort();
            }
            out->events[out->count++] = event;
            event = NULL;
        }
        return run->err == NULL ? DONE : REFUSED;
    }
    return wrong(run, "there is no such watch");
}

/* Touches through a registry or a guard, in the unit that keeps the duration exact. */
static minikv_code touch(run *run, args *args, minikv_guard *guard, output *out)
{
    bool whole;
    int64_t ttl;
    duration(run, "ttl_ms", &whole, &ttl);
    if (guard != NULL) {
        return (whole ? minikv_guard_touch_ms : minikv_guard_touch_ns)(guard, ttl, &out->entry, &run->err);
    }
    return (whole ? minikv_touch_ms : minikv_touch_ns)(run->kv, args->key, ttl, args->write, &out->entry, &run->err);
}

/* By how much; false where that is no int. */
static status by_of(run *run, int64_t *by)
{
    const json *given = field(run, "by");
    minikv_value *value;
    status result;
    *by = 1;
    if (given == NULL) {
        return DONE;
    }
    value = minikv_value_new();
    result = read_value(run, given, value);
    if (result == DONE && !minikv_value_as_int(value, by)) {
        result = wrong(run, "by is no int");
    }
    minikv_value_free(value);
    return result;
}

#define IS(name) (strcmp(op, name) == 0)

static status guard_step(run *run, args *args, const char *op, minikv_guard *guard, output *out)
{
    minikv_code code;
    function called = {run, NULL};
    int64_t by;
    status result = by_of(run, &by);
    if (result != DONE) {
        return result;
    }
    out->form = ENTRY;
    if (IS("put")) {
        return put_value(run, args, field(run, "value"), guard, out);
    }
    if (IS("get")) {
        code = minikv_guard_get(guard, &out->entry, &run->err);
    } else if (IS("delete")) {
        code = minikv_guard_delete(guard, &out->entry, &run->err);
    } else if (IS("incr")) {
        code = minikv_guard_incr(guard, by, &out->entry, &run->err);
    } else if (IS("touch")) {
        code = touch(run, args, guard, out);
    } else if (IS("persist")) {
        code = minikv_guard_persist(guard, &out->entry, &run->err);
    } else if (IS("update")) {
        called.function = field(run, "fn");
        code = minikv_guard_update(guard, call_function, &called, &out->entry, &run->err);
    } else if (IS("check")) {
        out->form = NOTHING;
        code = minikv_guard_check(guard, &run->err);
    } else {
        out->form = NOTHING;
        code = minikv_guard_release(guard, &run->err);
    }
    return code == MINIKV_OK ? DONE : REFUSED;
}

/* Operations on the whole registry. */
static status plain_step(run *run, args *args, const char *op, output *out, bool *known)
{
    minikv_code code = MINIKV_OK;
    status result = DONE;
    bool whole;
    int64_t time;
    *known = true;
    if (IS("digest")) {
        out->form = DIGEST;
        code = minikv_digest(run->kv, &out->text, &run->err);
    } else if (IS("stats")) {
        out->form = STATS;
        code = minikv_registry_stats(run->kv, &out->stats, sizeof out->stats, &run->err);
    } else if (IS("options")) {
        minikv_options *options = NULL;
        out->form = OPTIONS;
        code = minikv_registry_options(run->kv, &options, &run->err);
        if (code == MINIKV_OK) {
            code = minikv_options_json(options, &out->text, &run->err);
        }
        minikv_options_free(options);
    } else if (IS("advance")) {
        duration(run, "ms", &whole, &time);
        code = (whole ? minikv_registry_advance_ms : minikv_registry_advance_ns)(run->kv, time, &run->err);
        run->clock += code == MINIKV_OK ? time * (whole ? 1000000 : 1) : 0;
    } else if (IS("stop")) {
        code = minikv_registry_stop(run->kv);
    } else if (IS("count") || IS("clear")) {
        out->form = COUNT;
        result = prefix_of(run, args);
        if (result == DONE && IS("count")) {
            code = minikv_count(run->kv, args->key, &out->count, &run->err);
        } else if (result == DONE && (result = write_options(run, args)) == DONE) {
            code = minikv_clear(run->kv, args->key, args->write, &out->count, &run->err);
        }
    } else if (IS("keys") || IS("entries")) {
        out->form = IS("keys") ? KEYS : ENTRIES;
        result = list_options(run, args);
        if (result == DONE) {
            code = (IS("keys") ? minikv_keys : minikv_entries)(run->kv, args->list, &out->page, &run->err);
        }
    } else if (IS("get_many")) {
        out->form = MANY;
        result = many_of(run, args, false);
        if (result == DONE) {
            code = minikv_get_many(run->kv, args->keys, args->count, &out->page, &run->err);
        }
    } else if (IS("delete_many")) {
        out->form = MANY;
        result = many_of(run, args, false);
        if (result == DONE && (result = write_options(run, args)) == DONE) {
            code = minikv_delete_many(run->kv, args->keys, args->count, args->write, &out->page, &run->err);
        }
    } else if (IS("put_many")) {
        out->form = MANY;
        result = many_of(run, args, true);
        if (result == DONE && (result = put_options(run, args)) == DONE) {
            code = minikv_put_many(run->kv, args->keys, (const minikv_value *const *)args->values, args->count,
                                   args->put, &out->page, &run->err);
        }
    } else {
        *known = false;
    }
    return result != DONE ? result : code == MINIKV_OK ? DONE : REFUSED;
}

/* Operations on one key. */
static status key_step(run *run, args *args, const char *op, output *out)
{
    minikv_code code;
    function called = {run, NULL};
    int64_t by;
    status result = key_of(run, args);
    out->form = ENTRY;
    if (result != DONE) {
        return result;
    }
    if (IS("get")) {
        code = minikv_get(run->kv, args->key, &out->entry, &run->err);
    } else if (IS("contains")) {
        out->form = FLAG;
        code = minikv_contains(run->kv, args->key, &out->flag, &run->err);
    } else if (IS("value")) {
        const json *otherwise = field(run, "default");
        out->form = VALUE;
        if (otherwise != NULL) {
            args->value = minikv_value_new();
            result = read_value(run, otherwise, args->value);
        }
        if (result != DONE) {
            return result;
        }
        code = minikv_get_value(run->kv, args->key, args->value, &out->value, &run->err);
    } else if (IS("put") || IS("set") || IS("get_or_put")) {
        result = put_options(run, args);
        if (result != DONE) {
            return result;
        }
        if (!IS("get_or_put")) {
            return put_value(run, args, field(run, "value"), NULL, out);
        }
        called.function = field(run, "fn");
        code = minikv_get_or_put(run->kv, args->key, compute, &called, args->put, &out->entry, &run->err);
    } else {
        result = write_options(run, args);
        if (result != DONE) {
            return result;
        }
        if (IS("delete")) {
            code = minikv_delete(run->kv, args->key, args->write, &out->entry, &run->err);
        } else if (IS("unlock")) {
            code = minikv_unlock(run->kv, args->key, args->write, &out->entry, &run->err);
        } else if (IS("persist")) {
            code = minikv_persist(run->kv, args->key, args->write, &out->entry, &run->err);
        } else if (IS("touch")) {
            code = touch(run, args, NULL, out);
        } else if (IS("incr")) {
            result = by_of(run, &by);
            if (result != DONE) {
                return result;
            }
            code = minikv_incr(run->kv, args->key, by, args->write, &out->entry, &run->err);
        } else if (IS("update")) {
            called.function = field(run, "fn");
            code = minikv_update(run->kv, args->key, call_function, &called, args->write, &out->entry, &run->err);
        } else {
            return wrong(run, "unknown op %s", op);
        }
    }
    return code == MINIKV_OK ? DONE : REFUSED;
}

static status dispatch(run *run, args *args, output *out)
{
    static const char *const through_guard[] = {"get", "put", "delete", "incr", "update", "touch", "persist", "check",
                                                "release"};
    minikv_bytes name;
    char op[32] = "";
    const json *of = json_get(run->step, "of");
    size_t place;
    bool known;
    status result;
    name.ptr = json_text(field(run, "op"), &name.len);
    if (name.len == 0 || name.len >= sizeof op) {
        return wrong(run, "op is missing");
    }
    memcpy(op, name.ptr, name.len);
    if (IS("lock") || IS("locked")) {
        return lock_step(run, args, IS("locked"), out);
    }
    if (IS("join")) {
        return join_step(run, out);
    }
    if (IS("watch")) {
        return watch_step(run, args);
    }
    if (IS("events")) {
        return events_step(run, out);
    }
    for (place = 0; of != NULL && place < sizeof through_guard / sizeof *through_guard; place++) {
        if (IS(through_guard[place]) || IS("lost")) {
            minikv_guard *guard = guard_of(run, field(run, "of"));
            if (guard == NULL) {
                return wrong(run, "there is no such guard");
            }
            if (IS("lost")) {
                out->form = FLAG;
                out->flag = minikv_guard_is_lost(guard);
                return DONE;
            }
            return guard_step(run, args, op, guard, out);
        }
    }
    result = cluster_step(run, op, out, &known);
    if (!known) {
        result = plain_step(run, args, op, out, &known);
    }
    return known ? result : key_step(run, args, op, out);
}

status run_step(run *run, output *out)
{
    args args;
    status result;
    memset(&args, 0, sizeof args);
    result = dispatch(run, &args, out);
    free_args(&args);
    return result;
}
