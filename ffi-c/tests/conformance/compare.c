/* What a step gave, held against what the vector expects. */
#include "runner.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool equal_bytes(minikv_bytes found, minikv_bytes expected)
{
    return found.len == expected.len && (found.len == 0 || memcmp(found.ptr, expected.ptr, found.len) == 0);
}

/* Whether the literal of a key or label stands for these bytes. */
static bool is_bytes(run *run, minikv_bytes found, const json *expected)
{
    minikv_bytes bytes;
    bool equal = read_bytes(run, expected, &bytes) == DONE && equal_bytes(found, bytes);
    free((void *)bytes.ptr);
    return equal;
}

/* Whether the value (NULL: nil) is this literal. */
static bool is_value(run *run, const minikv_value *found, const json *expected)
{
    minikv_value *value = minikv_value_new();
    bool equal = read_value(run, expected, value) == DONE;
    if (found == NULL) {
        equal = equal && minikv_value_type(value) == MINIKV_NIL;
    } else {
        equal = equal && minikv_value_equal(found, value);
    }
    minikv_value_free(value);
    return equal;
}

static bool is_exp(run *run, const minikv_entry *found, const json *expected)
{
    int64_t exp, left;
    if (!minikv_entry_exp(found, &exp)) {
        return json_type(expected) == 'n';
    }
    left = json_type(expected) == 'i' ? json_int(expected) * 1000000 : llround(json_float(expected) * 1e6);
    return json_type(expected) != 'n' && exp - run->clock == left;
}

static bool is_holder(run *run, const minikv_entry *found, const json *expected)
{
    minikv_bytes node = minikv_entry_holder_node(found), owner = minikv_entry_holder_owner(found);
    const json *label = json_get(expected, "owner");
    if (node.ptr == NULL) {
        return json_type(expected) == 'n';
    }
    if (json_type(expected) != 'o' || !is_bytes(run, node, json_get(expected, "node"))) {
        return false;
    }
    return json_type(label) == 'n' ? owner.ptr == NULL : owner.ptr != NULL && is_bytes(run, owner, label);
}

static status check_entry(run *run, const minikv_entry *found, const json *fields)
{
    size_t place, length;
    if (found == NULL || json_type(fields) != 'o') {
        return wrong(run, "there is no entry; expected %s", json_print(fields));
    }
    for (place = 0; place < json_count(fields); place++) {
        const char *name = (const char *)json_name(fields, place, &length);
        const json *expected = json_at(fields, place);
        bool good;
#define NAMED(field) (length == strlen(field) && memcmp(name, field, length) == 0)
        if (NAMED("key")) {
            good = is_bytes(run, minikv_entry_key(found), expected);
        } else if (NAMED("value")) {
            good = is_value(run, minikv_entry_value(found), expected);
        } else if (NAMED("type")) {
            good = same_text(expected, minikv_type_name(minikv_entry_type(found)));
        } else if (NAMED("node")) {
            good = is_bytes(run, minikv_entry_node(found), expected);
        } else if (NAMED("exp_in_ms")) {
            good = is_exp(run, found, expected);
        } else if (NAMED("lock")) {
            good = json_type(expected) == 'b' && minikv_entry_is_locked(found) == json_true(expected);
        } else if (NAMED("holder")) {
            good = is_holder(run, found, expected);
        } else if (NAMED("fence")) {
            good = json_type(expected) == 'n' && !minikv_entry_fence(found, NULL);
        } else {
            return wrong(run, "unknown entry field %.*s", (int)length, name);
        }
        if (!good) {
            char *shown = NULL;
            minikv_entry_json(found, &shown, NULL);
            wrong(run, "%.*s: expected %s, got %s", (int)length, name, json_print(expected),
                  shown == NULL ? "an entry without a JSON form" : shown);
            minikv_string_free(shown);
            return WRONG;
        }
    }
    return DONE;
}

static status check_event(run *run, const minikv_event *found, const json *fields)
{
    size_t place, length;
    for (place = 0; place < json_count(fields); place++) {
        const char *name = (const char *)json_name(fields, place, &length);
        const char *type = minikv_event_type_name(minikv_event_type_of(found));
        const json *expected = json_at(fields, place);
        bool good;
        if (NAMED("type")) {
            good = same_text(expected, type);
        } else if (NAMED("count")) {
            good = json_type(expected) == 'i' && minikv_event_count(found) == (uint64_t)json_int(expected);
        } else if (NAMED("key")) {
            good = is_bytes(run, minikv_event_key(found), expected);
        } else if (NAMED("entry")) {
            if (check_entry(run, minikv_event_entry(found), expected) != DONE) {
                return WRONG;
            }
            good = true;
        } else {
            return wrong(run, "unknown event field %.*s", (int)length, name);
        }
        if (!good) {
            return wrong(run, "%.*s of an event: expected %s, got a %s", (int)length, name, json_print(expected), type);
        }
    }
    return DONE;
}

/* Item `found` of the output against one expected item. */
static status check_item(run *run, const output *output, size_t found, const json *expected)
{
    if (output->form == EVENTS) {
        return check_event(run, output->events[found], expected);
    }
    if (output->form == KEYS) {
        return is_bytes(run, minikv_page_key(output->page, found), expected) ? DONE : wrong(run, "another key");
    }
    if (minikv_page_entry(output->page, found) == NULL && json_type(expected) == 'n') {
        return DONE;
    }
    return check_entry(run, minikv_page_entry(output->page, found), expected);
}

static status check_items(run *run, const output *output, const json *expected, bool ordered)
{
    size_t count = output->form == EVENTS ? output->count : minikv_page_count(output->page), place, found;
    bool *met;
    status result = DONE;
    if (json_type(expected) != 'a' || json_count(expected) != count) {
        return wrong(run, "expected %s, got %lu items", json_print(expected), (unsigned long)count);
    }
    met = calloc(count + 1, sizeof *met);
    if (met == NULL) {
        abort();
    }
    for (place = 0; place < count && result == DONE; place++) {
        result = WRONG;
        for (found = ordered ? place : 0; found < count && result != DONE; found++) {
            if (!met[found] && check_item(run, output, found, json_at(expected, place)) == DONE) {
                met[found] = true;
                result = DONE;
            } else if (ordered) {
                break;
            }
        }
    }
    free(met);
    return result;
}

static status check_count(run *run, const output *output, const json *expected)
{
    size_t place, count = 0;
    switch (output->form) {
    case COUNT:
        count = output->count;
        break;
    case MANY:
        for (place = 0; place < minikv_page_count(output->page); place++) {
            count += minikv_page_entry(output->page, place) != NULL;
        }
        break;
    case KEYS:
    case ENTRIES:
        count = minikv_page_count(output->page);
        break;
    default:
        return wrong(run, "this result has no count");
    }
    if (json_type(expected) != 'i' || (uint64_t)json_int(expected) != count) {
        return wrong(run, "expected the count %s, got %lu", json_print(expected), (unsigned long)count);
    }
    return DONE;
}

static status check_stats(run *run, const minikv_stats *stats, const json *fields)
{
    const struct { const char *name; uint64_t count; } known[] = {
        {"entries", stats->entries}, {"waiters", stats->waiters}, {"watchers", stats->watchers},
        {"locks", stats->locks}, {"expired", stats->expired}, {"members", stats->members},
        {"replicated_out", stats->replicated_out}, {"replicated_in", stats->replicated_in}, {"outbox", stats->outbox},
        {"outbox_overflows", stats->outbox_overflows}, {"repairs", stats->repairs},
        {"tombstones", stats->tombstones}, {"parked", stats->parked}, {"refused", stats->refused},
        {"sync_entries", stats->sync_entries}, {"sync_total", stats->sync_total},
        {"clock_offset_ms", (uint64_t)stats->clock_offset_ms},
    };
    size_t place, length, which;
    for (place = 0; place < json_count(fields); place++) {
        const char *name = (const char *)json_name(fields, place, &length);
        const json *expected = json_at(fields, place);
        bool good = false;
        if (NAMED("healthy")) {
            good = json_type(expected) == 'b' && json_true(expected) == (stats->healthy == 1);
        }
        for (which = 0; which < sizeof known / sizeof *known; which++) {
            if (NAMED(known[which].name)) {
                good = json_type(expected) == 'i' && (uint64_t)json_int(expected) == known[which].count;
            }
        }
        if (!good) {
            return wrong(run, "%.*s of stats is not %s", (int)length, name, json_print(expected));
        }
    }
    return DONE;
}

static status check_options(run *run, const char *text, const json *fields)
{
    json *found = json_read((const unsigned char *)text, strlen(text));
    size_t place, length;
    status result = DONE;
    for (place = 0; place < json_count(fields) && result == DONE; place++) {
        const char *name = (const char *)json_name(fields, place, &length);
        const json *expected = json_at(fields, place), *given;
        char terminated[64];
        bool good;
        snprintf(terminated, sizeof terminated, "%.*s", (int)length, name);
        given = json_get(found, terminated);
        if (json_type(expected) == 's') {
            good = same_name(given, expected);
        } else if (json_type(expected) == 'a' || json_type(expected) == 'o') {
            good = strcmp(json_print(given), json_print(expected)) == 0;
        } else {
            good = json_type(given) == json_type(expected) && json_int(given) == json_int(expected);
        }
        if (!good) {
            result = wrong(run, "%s of %s is not %s", terminated, text, json_print(expected));
        }
    }
    json_free(found);
    return result;
}

static status check_form(run *run, const output *output, const json *expect, size_t place)
{
    size_t length;
    const char *name = (const char *)json_name(expect, place, &length);
    const json *expected = json_at(expect, place);
    bool unordered = json_true(json_get(expect, "unordered"));
    form form = output->form;
    if (NAMED("entry") && form == ENTRY) {
        return check_entry(run, output->entry, expected);
    }
    if (NAMED("nil") && form == ENTRY) {
        return (output->entry == NULL) == json_true(expected) ? DONE : wrong(run, "there is an entry");
    }
    if (NAMED("bool") && form == FLAG) {
        return output->flag == json_true(expected) ? DONE : wrong(run, "the bool is not %s", json_print(expected));
    }
    if (NAMED("count")) {
        return check_count(run, output, expected);
    }
    if (NAMED("cursor") && (form == KEYS || form == ENTRIES)) {
        bool more = minikv_page_cursor(output->page) != NULL;
        return more == json_true(expected) ? DONE : wrong(run, "cursor is not %s", json_print(expected));
    }
    if (NAMED("keys") && form == KEYS) {
        return check_items(run, output, expected, false);
    }
    if (NAMED("entries") && (form == MANY || form == ENTRIES)) {
        return check_items(run, output, expected, form == MANY);
    }
    if (NAMED("events") && form == EVENTS) {
        return check_items(run, output, expected, !unordered);
    }
    if (NAMED("unordered") && form == EVENTS) {
        return DONE;
    }
    if (NAMED("value") && form == VALUE) {
        return is_value(run, output->value, expected) ? DONE : wrong(run, "the value is not %s", json_print(expected));
    }
    if (NAMED("stats") && form == STATS) {
        return check_stats(run, &output->stats, expected);
    }
    if (NAMED("members") && form == MEMBERS) {
        return check_members(run, output->members, expected);
    }
    if (NAMED("endpoints") && form == ENDPOINTS) {
        return check_endpoints(run, output->endpoints, expected);
    }
    if (NAMED("options") && form == OPTIONS) {
        return check_options(run, output->text, expected);
    }
    return wrong(run, "this result has no %.*s", (int)length, name);
}

static status check_error(run *run, const json *expected)
{
    const json *kind = json_type(expected) == 's' ? expected : json_get(expected, "kind");
    const json *entry = json_get(expected, "entry");
    const char *found = minikv_error_kind(run->err);
    const minikv_entry *present = minikv_error_present(run->err);
    bool known = same_text(kind, "throw");
    int code;
    for (code = 1; minikv_code_name(code) != NULL; code++) {
        known = known || same_text(kind, minikv_code_name(code));
    }
    if (!known) {
        return wrong(run, "unknown error kind %s", json_print(kind));
    }
    if (minikv_error_code(run->err) == MINIKV_CALLBACK && minikv_error_status(run->err) == THROWN) {
        found = "throw";
    }
    if (!same_text(kind, found)) {
        return wrong(run, "expected %s, got %s: %s", json_print(kind), found, minikv_error_message(run->err));
    }
    if (json_type(entry) == 'n') {
        return present == NULL ? DONE : wrong(run, "the conflict carries an entry");
    }
    return entry == NULL ? DONE : check_entry(run, present, entry);
}

/* A name as a terminated string; one that is too long is cut, and found nowhere. */
static void terminated(char *name, const unsigned char *text, size_t length)
{
    snprintf(name, MAX_NAME, "%.*s", (int)length, text == NULL ? "" : (const char *)text);
}

static void terminated_text(char *name, const json *text)
{
    size_t length;
    const unsigned char *bytes = json_text(text, &length);
    terminated(name, bytes, length);
}

/* The field as text that compares as the field does. */
static bool as_text(const output *output, const char *name, char *text)
{
    int64_t number = 0;
    uint64_t fence = 0;
    strcpy(text, "none");
    if (output->form == DIGEST && strcmp(name, "digest") == 0) {
        snprintf(text, MAX_NAME, "%s", output->text);
    } else if (output->form != ENTRY || output->entry == NULL) {
        return false;
    } else if (strcmp(name, "version") == 0) {
        snprintf(text, MAX_NAME, "%s", minikv_entry_version(output->entry));
    } else if (strcmp(name, "time") == 0) {
        snprintf(text, MAX_NAME, "%020lld", (long long)minikv_entry_time(output->entry));
    } else if (strcmp(name, "exp") == 0) {
        if (minikv_entry_exp(output->entry, &number)) {
            snprintf(text, MAX_NAME, "%020lld", (long long)number);
        }
    } else if (strcmp(name, "fence") == 0) {
        if (minikv_entry_fence(output->entry, &fence)) {
            snprintf(text, MAX_NAME, "%020llu", (unsigned long long)fence);
        }
    } else {
        return false;
    }
    return true;
}

/* Where the name is kept, or a free place. */
static char *saved_as(run *run, const char *name)
{
    size_t place;
    for (place = 0; place < MAX_SAVED; place++) {
        if (run->saved[place].name[0] == '\0' || strcmp(run->saved[place].name, name) == 0) {
            strcpy(run->saved[place].name, name);
            return run->saved[place].text;
        }
    }
    abort();
}

static status check_relation(run *run, const output *output, const char *relation)
{
    const json *pairs = field(run, relation);
    size_t place, length;
    for (place = 0; place < json_count(pairs); place++) {
        char name[MAX_NAME], saved_name[MAX_NAME], found[MAX_NAME];
        const unsigned char *bytes = json_name(pairs, place, &length);
        const char *saved;
        bool good;
        int order;
        terminated(name, bytes, length);
        terminated_text(saved_name, json_at(pairs, place));
        saved = saved_as(run, saved_name);
        if (!as_text(output, name, found) || saved[0] == '\0') {
            return wrong(run, "%s: there is no %s, or nothing saved as %s", relation, name, saved_name);
        }
        order = strcmp(found, saved);
        good = strcmp(relation, "same") == 0 ? order == 0 : strcmp(relation, "differs") == 0 ? order != 0 : order > 0;
        if (!good) {
            return wrong(run, "%s is %s, saved was %s: not %s", name, found, saved, relation);
        }
    }
    return DONE;
}

static status save(run *run, const output *output)
{
    const json *pairs = field(run, "save");
    size_t place, length;
    for (place = 0; place < json_count(pairs); place++) {
        char name[MAX_NAME], field_name[MAX_NAME];
        const unsigned char *bytes = json_name(pairs, place, &length);
        terminated(name, bytes, length);
        terminated_text(field_name, json_at(pairs, place));
        if (!as_text(output, field_name, saved_as(run, name))) {
            return wrong(run, "there is no %s to save", field_name);
        }
    }
    return DONE;
}

status check_step(run *run, status result, output *output)
{
    const json *expect = field(run, "expect"), *error = field(run, "error");
    size_t place;
    if (result == WRONG || result == EXCLUDED) {
        return result;
    }
    if (result == REFUSED) {
        if (error == NULL) {
            return wrong(run, "%s: %s", minikv_error_kind(run->err), minikv_error_message(run->err));
        }
        return check_error(run, error);
    }
    if (error != NULL) {
        return wrong(run, "no error; expected %s", json_print(error));
    }
    for (place = 0; place < json_count(expect); place++) {
        if (check_form(run, output, expect, place) != DONE) {
            return WRONG;
        }
    }
    if (check_relation(run, output, "same") != DONE || check_relation(run, output, "differs") != DONE ||
        check_relation(run, output, "greater") != DONE) {
        return WRONG;
    }
    return save(run, output);
}
