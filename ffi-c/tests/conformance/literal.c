/* How vectors write values, keys and labels. */
#include "runner.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* The name of `{"$name": content}`, else NULL. */
const char *marker(const json *literal, const json **content)
{
    static const char *const names[] = {"$int", "$float", "$bytes", "$map", "$repeat", "$nest", "$utf16"};
    size_t length, place;
    const unsigned char *name;
    if (json_type(literal) != 'o' || json_count(literal) != 1) {
        return NULL;
    }
    name = json_name(literal, 0, &length);
    if (length == 0 || name[0] != '$') {
        return NULL;
    }
    *content = json_at(literal, 0);
    for (place = 0; place < sizeof names / sizeof *names; place++) {
        if (strlen(names[place]) == length && memcmp(names[place], name, length) == 0) {
            return names[place];
        }
    }
    return "unknown";
}

/* A terminated copy. */
static char *copy(const json *text)
{
    size_t length;
    const unsigned char *bytes = json_text(text, &length);
    char *copied = malloc(length + 1);
    if (copied == NULL) {
        abort();
    }
    if (length > 0) {
        memcpy(copied, bytes, length);
    }
    copied[length] = '\0';
    return copied;
}

static status base64(run *run, const json *text, minikv_bytes *bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length, place, count = 0;
    unsigned bits = 0, held = 0;
    const unsigned char *input = json_text(text, &length);
    unsigned char *out = malloc(length + 1);
    if (out == NULL) {
        abort();
    }
    for (place = 0; place < length && input[place] != '='; place++) {
        const char *digit = input[place] == 0 ? NULL : strchr(digits, input[place]);
        if (digit == NULL) {
            free(out);
            return wrong(run, "not base64: %s", json_print(text));
        }
        bits = (bits << 6 | (unsigned)(digit - digits)) & 0xffffff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[count++] = (unsigned char)(bits >> held);
        }
    }
    *bytes = minikv_span(out, count);
    return DONE;
}

static status repeat(run *run, const json *content, minikv_bytes *bytes)
{
    size_t length, place, times = (size_t)json_int(json_at(content, 1));
    const unsigned char *text = json_text(json_at(content, 0), &length);
    unsigned char *out;
    if (json_type(json_at(content, 0)) != 's' || json_type(json_at(content, 1)) != 'i') {
        return wrong(run, "not a repetition: %s", json_print(content));
    }
    out = malloc(length * times + 1);
    if (out == NULL) {
        abort();
    }
    for (place = 0; place < times; place++) {
        memcpy(out + place * length, text, length);
    }
    out[length * times] = '\0';
    *bytes = minikv_span(out, length * times);
    return DONE;
}

/* The bytes of a key, a prefix or a label. A null key is the NULL span. */
status read_bytes(run *run, const json *literal, minikv_bytes *bytes)
{
    const json *content;
    const char *form = marker(literal, &content);
    size_t length;
    *bytes = minikv_span(NULL, 0);
    if (form == NULL && json_type(literal) == 's') {
        json_text(literal, &length);
        *bytes = minikv_span(copy(literal), length);
        return DONE;
    }
    if (form == NULL && json_type(literal) == 'n') {
        return DONE;
    }
    if (form != NULL && strcmp(form, "$bytes") == 0) {
        return base64(run, content, bytes);
    }
    if (form != NULL && strcmp(form, "$repeat") == 0) {
        return repeat(run, content, bytes);
    }
    if (form != NULL && strcmp(form, "$utf16") == 0) {
        return EXCLUDED;
    }
    return wrong(run, "neither a key nor a label: %s", json_print(literal));
}

status read_float(run *run, const json *text, double *number)
{
    char *digits = copy(text), *end = digits;
    *number = strtod(digits, &end);
    if (end == digits || *end != '\0') {
        free(digits);
        return wrong(run, "not a float: %s", json_print(text));
    }
    free(digits);
    return DONE;
}

static status read_int(run *run, const json *text, minikv_value *value)
{
    char *digits = copy(text), *end = digits;
    long long number;
    status result = DONE;
    errno = 0;
    number = strtoll(digits, &end, 10);
    if (end == digits || *end != '\0') {
        result = wrong(run, "not an int: %s", json_print(text));
    } else if (errno == ERANGE) {
        result = EXCLUDED;
    } else {
        minikv_value_add_int(value, number);
    }
    free(digits);
    return result;
}

static status read_map(run *run, const json *pairs, minikv_value *value)
{
    size_t place;
    status result = DONE;
    minikv_value_begin_map(value);
    for (place = 0; place < json_count(pairs) && result == DONE; place++) {
        const json *pair = json_at(pairs, place);
        minikv_bytes key;
        result = read_bytes(run, json_at(pair, 0), &key);
        if (result == DONE) {
            minikv_value_add_key(value, key);
            free((void *)key.ptr);
            result = read_value(run, json_at(pair, 1), value);
        }
    }
    minikv_value_end(value);
    return result;
}

static status read_special(run *run, const char *form, const json *content, minikv_value *value)
{
    status result;
    minikv_bytes bytes;
    if (strcmp(form, "$int") == 0) {
        return read_int(run, content, value);
    }
    if (strcmp(form, "$float") == 0) {
        double number;
        result = read_float(run, content, &number);
        if (result == DONE) {
            minikv_value_add_float(value, number);
        }
        return result;
    }
    if (strcmp(form, "$bytes") == 0) {
        result = base64(run, content, &bytes);
        if (result == DONE) {
            minikv_value_add_bytes(value, bytes);
            free((void *)bytes.ptr);
        }
        return result;
    }
    if (strcmp(form, "$repeat") == 0) {
        result = repeat(run, content, &bytes);
        if (result == DONE) {
            minikv_value_add_text(value, bytes);
            free((void *)bytes.ptr);
        }
        return result;
    }
    if (strcmp(form, "$map") == 0) {
        return read_map(run, content, value);
    }
    if (strcmp(form, "$nest") == 0) {
        int64_t depth;
        for (depth = json_int(content); depth > 0; depth--) {
            minikv_value_begin_list(value);
        }
        for (depth = json_int(content); depth > 0; depth--) {
            minikv_value_end(value);
        }
        return DONE;
    }
    return strcmp(form, "$utf16") == 0 ? EXCLUDED : wrong(run, "unknown form of value");
}

/* Adds the value to one under construction. What cannot be stored is noticed by whoever stores it. */
status read_value(run *run, const json *literal, minikv_value *value)
{
    const json *content;
    const char *form = marker(literal, &content);
    size_t place, length;
    status result = DONE;
    if (form != NULL) {
        return read_special(run, form, content, value);
    }
    switch (json_type(literal)) {
    case 'n':
        minikv_value_add_nil(value);
        return DONE;
    case 'b':
        minikv_value_add_bool(value, json_true(literal));
        return DONE;
    case 'i':
        if (llabs(json_int(literal)) > 9007199254740991LL) {
            return wrong(run, "a bare number must be a safe int: %s", json_print(literal));
        }
        minikv_value_add_int(value, json_int(literal));
        return DONE;
    case 's': {
        const unsigned char *text = json_text(literal, &length);
        minikv_value_add_text(value, minikv_span(text, length));
        return DONE;
    }
    case 'a':
        minikv_value_begin_list(value);
        for (place = 0; place < json_count(literal) && result == DONE; place++) {
            result = read_value(run, json_at(literal, place), value);
        }
        minikv_value_end(value);
        return result;
    case 'o':
        minikv_value_begin_map(value);
        for (place = 0; place < json_count(literal) && result == DONE; place++) {
            const unsigned char *name = json_name(literal, place, &length);
            minikv_value_add_key(value, minikv_span(name, length));
            result = read_value(run, json_at(literal, place), value);
        }
        minikv_value_end(value);
        return result;
    default:
        return wrong(run, "not a value: %s", json_print(literal));
    }
}
