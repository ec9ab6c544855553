/* Steps about the cluster, and options written in vectors. */
#include "args.h"

#include <stdio.h>
#include <stdlib.h>

#define NAMED(field) (length == strlen(field) && memcmp(name, field, length) == 0)

/* Sets an option that is a text. */
#define SET_TEXT(set)                                      \
    do {                                                   \
        minikv_bytes text;                                 \
        if (read_bytes(run, value, &text) != DONE) {       \
            return WRONG;                                  \
        }                                                  \
        set(options, (const char *)text.ptr);              \
        free((void *)text.ptr);                            \
    } while (0)

status set_option(run *run, minikv_options *options, const json *fields, size_t place)
{
    size_t length;
    const char *name = (const char *)json_name(fields, place, &length);
    const json *value = json_at(fields, place);
    int64_t number = json_int(value);
    if (json_type(value) == 'n') {
        return DONE;
    }
    if (NAMED("node")) {
        SET_TEXT(minikv_options_set_node);
    } else if (NAMED("default_ttl_ms")) {
        minikv_options_set_default_ttl_ms(options, number);
    } else if (NAMED("lock_lease_ms")) {
        minikv_options_set_lock_lease_ms(options, number);
    } else if (NAMED("max_value_bytes")) {
        minikv_options_set_max_value_bytes(options, (uint64_t)number);
    } else if (NAMED("max_entries")) {
        minikv_options_set_max_entries(options, (uint64_t)number);
    } else if (NAMED("max_bytes")) {
        minikv_options_set_max_bytes(options, (uint64_t)number);
    } else if (NAMED("max_watchers")) {
        minikv_options_set_max_watchers(options, (uint64_t)number);
    } else {
        return wrong(run, "unknown registry field %.*s", (int)length, name);
    }
    return DONE;
}

static bool is_text(const json *value)
{
    return json_type(value) == 's' || (json_type(value) == 'o' && json_get(value, "$repeat") != NULL);
}

/* One endpoint, or several. False: it is neither, and there is no call that could say it. */
static bool add_endpoints(run *run, minikv_options *options, const json *value,
                          minikv_code (*add)(minikv_options *, const char *))
{
    bool list = json_type(value) == 'a';
    size_t place, count = list ? json_count(value) : 1;
    for (place = 0; place < count; place++) {
        const json *one = list ? json_at(value, place) : value;
        minikv_bytes text;
        if (!is_text(one) || read_bytes(run, one, &text) != DONE) {
            return false;
        }
        add(options, (const char *)text.ptr);
        free((void *)text.ptr);
    }
    return true;
}

static bool set_tls(run *run, minikv_options *options, const json *value)
{
    static const char *const names[] = {"ca", "cert", "key"};
    minikv_bytes paths[3];
    size_t place;
    if (json_type(value) != 'o' || json_count(value) != 3) {
        return false;
    }
    for (place = 0; place < 3; place++) {
        if (!is_text(json_get(value, names[place]))) {
            return false;
        }
    }
    for (place = 0; place < 3; place++) {
        read_bytes(run, json_get(value, names[place]), &paths[place]);
    }
    minikv_options_set_tls(options, (const char *)paths[0].ptr, (const char *)paths[1].ptr, (const char *)paths[2].ptr);
    for (place = 0; place < 3; place++) {
        free((void *)paths[place].ptr);
    }
    return true;
}

/* The same for an option of a member. False: there is no call that could say this. */
static bool set_member_option(run *run, minikv_options *options, const json *fields, size_t place)
{
    size_t length;
    const char *name = (const char *)json_name(fields, place, &length);
    const json *value = json_at(fields, place);
    if (json_type(value) == 'n') {
        return true;
    }
    if (NAMED("cluster")) {
        minikv_bytes text;
        if (!is_text(value) || read_bytes(run, value, &text) != DONE) {
            return false;
        }
        minikv_options_set_cluster(options, (const char *)text.ptr);
        free((void *)text.ptr);
        return true;
    }
    if (NAMED("listen")) {
        return add_endpoints(run, options, value, minikv_options_add_listen);
    }
    if (NAMED("peers")) {
        return add_endpoints(run, options, value, minikv_options_add_peer);
    }
    if (NAMED("discovery")) {
        return same_text(value, "multicast") && minikv_options_set_discovery_multicast(options) == MINIKV_OK;
    }
    if (NAMED("failure_timeout_ms")) {
        minikv_options_set_failure_timeout_ms(options, json_int(value));
        return json_type(value) == 'i';
    }
    if (NAMED("tls")) {
        return set_tls(run, options, value);
    }
    if (NAMED("clock")) {
        minikv_options_set_manual_clock(options, same_text(value, "manual"));
        return same_text(value, "manual") || same_text(value, "system");
    }
    return set_option(run, options, fields, place) == DONE;
}

/* The options by calls; NULL: there are none that could say this. */
static minikv_options *by_calls(run *run, const json *fields)
{
    minikv_options *options = minikv_options_new(NULL);
    size_t place;
    for (place = 0; place < json_count(fields); place++) {
        if (!set_member_option(run, options, fields, place)) {
            minikv_options_free(options);
            return NULL;
        }
    }
    return options;
}

/* The options as the JSON object that the library reads: durations are texts there. */
static char *as_json(run *run, const json *fields)
{
    size_t place, length, room = 65536, used = 1;
    char *text = malloc(room);
    if (text == NULL) {
        abort();
    }
    text[0] = '{';
    for (place = 0; place < json_count(fields); place++) {
        const char *name = (const char *)json_name(fields, place, &length), *comma = place > 0 ? "," : "";
        const json *value = json_at(fields, place);
        bool is_duration = length > 3 && memcmp(name + length - 3, "_ms", 3) == 0;
        int number_of_bytes;
        minikv_bytes repeated = {NULL, 0};
        if (is_duration) {
            length -= 3;
        }
        if (is_duration && json_type(value) == 'i') {
            number_of_bytes = snprintf(text + used, room - used, "%s\"%.*s\":\"%lldms\"", comma, (int)length, name,
                                       (long long)json_int(value));
        } else if (json_get(value, "$repeat") != NULL && read_bytes(run, value, &repeated) == DONE) {
            number_of_bytes = snprintf(text + used, room - used, "%s\"%.*s\":\"%s\"", comma, (int)length, name,
                                       (const char *)repeated.ptr);
        } else {
            number_of_bytes = snprintf(text + used, room - used, "%s\"%.*s\":%s", comma, (int)length, name,
                                       json_print(value));
        }
        free((void *)repeated.ptr);
        if (number_of_bytes < 0 || (size_t)number_of_bytes + 2 > room - used) {
            abort();
        }
        used += (size_t)number_of_bytes;
    }
    strcpy(text + used, "}");
    return text;
}

typedef minikv_code start_call(const minikv_options *, minikv_registry **, minikv_error **);

/* Starts a registry and stops it. The options are used up. */
static minikv_code start_and_stop(run *run, minikv_options *options, start_call *start)
{
    minikv_registry *kv = NULL;
    minikv_code code = start(options, &kv, &run->err);
    minikv_options_free(options);
    if (code == MINIKV_OK) {
        code = minikv_registry_stop(kv);
    }
    minikv_registry_free(kv);
    return code;
}

/* From JSON, and by calls if they can say it: both must come to the same. */
static status start_step(run *run)
{
    const json *fields = field(run, "options");
    minikv_options *options = NULL;
    char *text;
    minikv_code code;
    if (json_type(fields) != 'o') {
        return wrong(run, "options are missing");
    }
    text = as_json(run, fields);
    code = minikv_options_from_json(minikv_str(text), &options, &run->err);
    free(text);
    if (code == MINIKV_OK) {
        code = start_and_stop(run, options, minikv_registry_start_now);
    }
    options = by_calls(run, fields);
    if (options != NULL) {
        minikv_code other;
        minikv_error_free(run->err);
        run->err = NULL;
        other = start_and_stop(run, options, minikv_registry_start);
        if (other != code) {
            return wrong(run, "%s from JSON, but by calls %s: %s", minikv_code_name(code), minikv_code_name(other),
                         minikv_error_message(run->err));
        }
    }
    return code == MINIKV_OK ? DONE : REFUSED;
}

status cluster_step(run *run, const char *op, output *out, bool *known)
{
    minikv_code code;
    *known = true;
    if (strcmp(op, "start") == 0) {
        return start_step(run);
    }
    if (strcmp(op, "ready") == 0) {
        out->form = FLAG;
        code = minikv_ready(run->kv, &out->flag, &run->err);
    } else if (strcmp(op, "wait_synced") == 0) {
        code = minikv_wait_synced(run->kv, json_int(field(run, "timeout_ms")), &run->err);
    } else if (strcmp(op, "members") == 0) {
        out->form = MEMBERS;
        code = minikv_members(run->kv, &out->members, &run->err);
    } else if (strcmp(op, "endpoints") == 0) {
        out->form = ENDPOINTS;
        code = minikv_endpoints(run->kv, &out->endpoints, &run->err);
    } else {
        *known = false;
        return DONE;
    }
    return code == MINIKV_OK ? DONE : REFUSED;
}

static status check_member(run *run, const minikv_member *found, const json *fields)
{
    size_t place, length;
    for (place = 0; place < json_count(fields); place++) {
        const char *name = (const char *)json_name(fields, place, &length);
        const json *expected = json_at(fields, place);
        minikv_bytes node = minikv_member_node(found);
        bool good;
        if (NAMED("node")) {
            size_t bytes;
            const unsigned char *text = json_text(expected, &bytes);
            good = text != NULL && bytes == node.len && memcmp(text, node.ptr, bytes) == 0;
        } else if (NAMED("state")) {
            good = same_text(expected, minikv_member_state_name(minikv_member_state_of(found)));
        } else if (NAMED("lag")) {
            good = json_type(expected) == 'i' && (uint64_t)json_int(expected) == minikv_member_lag(found);
        } else if (NAMED("digest")) {
            const char *digest = minikv_member_digest(found);
            good = digest == NULL ? json_type(expected) == 'n' : same_text(expected, digest);
        } else if (NAMED("is_self")) {
            good = json_type(expected) == 'b' && json_true(expected) == minikv_member_is_self(found);
        } else if (NAMED("namesake")) {
            good = json_type(expected) == 'b' && json_true(expected) == minikv_member_is_namesake(found);
        } else {
            return wrong(run, "unknown member field %.*s", (int)length, name);
        }
        if (!good) {
            return wrong(run, "%.*s of a member is not %s", (int)length, name, json_print(expected));
        }
    }
    return DONE;
}

status check_members(run *run, const minikv_member_list *found, const json *expected)
{
    size_t place, count = minikv_member_list_count(found);
    if (json_type(expected) != 'a' || json_count(expected) != count) {
        return wrong(run, "expected %s, got %lu members", json_print(expected), (unsigned long)count);
    }
    for (place = 0; place < count; place++) {
        const minikv_member *member = minikv_member_list_at(found, place);
        if (strlen(minikv_member_incarnation(member)) != 32) {
            return wrong(run, "an incarnation is %s", minikv_member_incarnation(member));
        }
        if (check_member(run, member, json_at(expected, place)) != DONE) {
            return WRONG;
        }
    }
    return DONE;
}

status check_endpoints(run *run, const minikv_string_list *found, const json *expected)
{
    size_t place, count = minikv_string_list_count(found);
    if (json_type(expected) != 'a' || json_count(expected) != count) {
        return wrong(run, "expected %s, got %lu endpoints", json_print(expected), (unsigned long)count);
    }
    for (place = 0; place < count; place++) {
        if (!same_text(json_at(expected, place), minikv_string_list_at(found, place))) {
            return wrong(run, "an endpoint is %s", minikv_string_list_at(found, place));
        }
    }
    return DONE;
}
