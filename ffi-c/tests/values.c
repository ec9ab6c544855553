/* Keys and values at their borders. */
#include "test.h"

#include <math.h>

static bool keys_of_any_bytes_come_back(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_entry *entry = NULL;
    char *long_key = malloc(65536);
    CHECK(long_key != NULL);
    memset(long_key, 'x', 65536);
    FAILS(MINIKV_INVALID_KEY, minikv_put_int(kv, minikv_str(""), 1, NULL, NULL, &err));
    FAILS(MINIKV_INVALID_KEY, minikv_put_int(kv, minikv_span(long_key, 65536), 1, NULL, NULL, &err));
    FAILS(MINIKV_INVALID_KEY, minikv_get(kv, minikv_span(long_key, SIZE_MAX), &entry, &err));
    OK(minikv_put_int(kv, minikv_span(long_key, 65535), 1, NULL, NULL, &err));
    OK(minikv_get(kv, minikv_span(long_key, 65535), &entry, &err));
    CHECK(entry != NULL && minikv_entry_key(entry).len == 65535);
    minikv_entry_free(entry);
    OK(minikv_put_int(kv, minikv_span("\xff\0\xfe", 3), 2, NULL, &entry, &err));
    CHECK(minikv_entry_key(entry).len == 3 && memcmp(minikv_entry_key(entry).ptr, "\xff\0\xfe", 3) == 0);
    minikv_entry_free(entry);
    entry = NULL;
    OK(minikv_get(kv, minikv_span("\xff\0", 2), &entry, &err));
    CHECK(entry == NULL);
    free(long_key);
    end_registry(kv);
    return true;
}

static bool every_type_comes_back_and_no_other(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_entry *entry = NULL;
    bool flag = false;
    int64_t number = 0;
    double real = 0;
    minikv_bytes span;
    OK(minikv_put_nil(kv, minikv_str("k"), NULL, &entry, &err));
    CHECK(minikv_entry_type(entry) == MINIKV_NIL && !minikv_entry_as_int(entry, &number));
    minikv_entry_free(entry);
    OK(minikv_put_bool(kv, minikv_str("k"), true, NULL, &entry, &err));
    CHECK(minikv_entry_type(entry) == MINIKV_BOOL && minikv_entry_as_bool(entry, &flag) && flag);
    CHECK(!minikv_entry_as_int(entry, &number));
    minikv_entry_free(entry);
    OK(minikv_put_int(kv, minikv_str("k"), INT64_MIN, NULL, &entry, &err));
    CHECK(minikv_entry_as_int(entry, &number) && number == INT64_MIN && !minikv_entry_as_float(entry, &real));
    minikv_entry_free(entry);
    OK(minikv_put_float(kv, minikv_str("k"), -0.0, NULL, &entry, &err));
    CHECK(minikv_entry_as_float(entry, &real) && real == 0 && signbit(real) && !minikv_entry_as_int(entry, NULL));
    minikv_entry_free(entry);
    OK(minikv_put_text(kv, minikv_str("k"), minikv_span("a\0b", 3), NULL, &entry, &err));
    CHECK(minikv_entry_as_text(entry, &span) && span.len == 3 && memcmp(span.ptr, "a\0b", 3) == 0);
    CHECK(!minikv_entry_as_bytes(entry, &span));
    minikv_entry_free(entry);
    OK(minikv_put_bytes(kv, minikv_str("k"), minikv_span("\xff", 1), NULL, &entry, &err));
    CHECK(minikv_entry_as_bytes(entry, &span) && span.len == 1 && span.ptr[0] == 0xff);
    minikv_entry_free(entry);
    OK(minikv_put_bytes(kv, minikv_str("k"), minikv_span(NULL, 0), NULL, &entry, &err));
    CHECK(minikv_entry_as_bytes(entry, &span) && span.len == 0);
    minikv_entry_free(entry);
    FAILS(MINIKV_INVALID_VALUE, minikv_put_text(kv, minikv_str("k"), minikv_span("\xff", 1), NULL, NULL, &err));
    FAILS(MINIKV_INVALID_KEY, minikv_put_text(kv, minikv_str(""), minikv_span("\xff", 1), NULL, NULL, &err));
    end_registry(kv);
    return true;
}

static void nest(minikv_value *value, int depth)
{
    int level;
    for (level = 0; level < depth; level++) {
        minikv_value_begin_list(value);
    }
    for (level = 0; level < depth; level++) {
        minikv_value_end(value);
    }
}

static bool values_nest_128_deep_and_no_deeper(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_value *deep = minikv_value_new(), *deeper = minikv_value_new();
    minikv_entry *entry = NULL;
    const minikv_value *inner;
    char json[400];
    int depth = 0;
    nest(deep, 128);
    nest(deeper, 129);
    OK(minikv_put_value(kv, minikv_str("k"), deep, NULL, &entry, &err));
    for (inner = minikv_entry_value(entry); inner != NULL; inner = minikv_value_at(inner, 0)) {
        depth++;
    }
    CHECK(depth == 128 && minikv_value_equal(deep, minikv_entry_value(entry)));
    FAILS(MINIKV_INVALID_VALUE, minikv_put_value(kv, minikv_str("k"), deeper, NULL, NULL, &err));
    memset(json, '[', 128);
    memset(json + 128, ']', 128);
    OK(minikv_put_json(kv, minikv_str("k"), minikv_span(json, 256), NULL, NULL, &err));
    memset(json, '[', 129);
    memset(json + 129, ']', 129);
    FAILS(MINIKV_INVALID_VALUE, minikv_put_json(kv, minikv_str("k"), minikv_span(json, 258), NULL, NULL, &err));
    minikv_value_free(deep);
    minikv_value_free(deeper);
    deeper = minikv_value_new();
    minikv_value_begin_list(deeper);
    minikv_value_add_value(deeper, minikv_entry_value(entry));
    FAILS(MINIKV_INVALID_VALUE, minikv_put_value(kv, minikv_str("k"), deeper, NULL, NULL, &err));
    minikv_value_free(deeper);
    minikv_entry_free(entry);
    end_registry(kv);
    return true;
}

static bool a_million_brackets_do_no_harm(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_value *value = minikv_value_new();
    size_t length = 1000000;
    char *json = malloc(length);
    CHECK(json != NULL);
    memset(json, '[', length);
    FAILS(MINIKV_INVALID_VALUE, minikv_put_json(kv, minikv_str("k"), minikv_span(json, length), NULL, NULL, &err));
    nest(value, 1000000);
    FAILS(MINIKV_INVALID_VALUE, minikv_put_value(kv, minikv_str("k"), value, NULL, NULL, &err));
    minikv_value_free(value);
    free(json);
    end_registry(kv);
    return true;
}

static bool misuse_of_a_builder_is_told_by_the_put(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_value *value = minikv_value_new();
    FAILS(MINIKV_INVALID_VALUE, minikv_put_value(kv, minikv_str("k"), value, NULL, NULL, &err));
    CHECK(minikv_value_type(value) == MINIKV_NONE);
    CHECK(minikv_value_add_key(value, minikv_str("k")) == MINIKV_INVALID_ARGUMENT);
    CHECK(minikv_value_add_int(value, 1) == MINIKV_INVALID_ARGUMENT);
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_put_value(kv, minikv_str("k"), value, NULL, NULL, &err));
    minikv_value_free(value);

    value = minikv_value_new();
    minikv_value_begin_map(value);
    CHECK(minikv_value_add_int(value, 1) == MINIKV_INVALID_ARGUMENT);
    minikv_value_free(value);

    value = minikv_value_new();
    CHECK(minikv_value_end(value) == MINIKV_INVALID_ARGUMENT);
    minikv_value_free(value);

    value = minikv_value_new();
    CHECK(minikv_value_add_int(value, 1) == MINIKV_OK && minikv_value_type(value) == MINIKV_INT);
    OK(minikv_put_value(kv, minikv_str("k"), value, NULL, NULL, &err));
    CHECK(minikv_value_add_int(value, 2) == MINIKV_INVALID_ARGUMENT);
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_put_value(kv, minikv_str("k"), value, NULL, NULL, &err));
    CHECK(minikv_value_add_value(value, value) == MINIKV_INVALID_ARGUMENT);
    minikv_value_free(value);

    value = minikv_value_new();
    minikv_value_begin_map(value);
    minikv_value_add_key(value, minikv_str("tags"));
    minikv_value_begin_list(value);
    minikv_value_add_nil(value);
    minikv_value_add_text(value, minikv_span("\xff", 1));
    if (minikv_put_value(kv, minikv_str("k"), value, NULL, NULL, &err) != MINIKV_INVALID_VALUE) {
        return false;
    }
    CHECK(strstr(minikv_error_message(err), "value[\"tags\"][1]") != NULL);
    minikv_error_free(err);
    minikv_value_free(value);
    end_registry(kv);
    return true;
}

static bool json_goes_in_and_comes_out(void)
{
    static const char *const same[] = {
        "null", "true", "false", "0", "-1", "9223372036854775807", "-9223372036854775808", "1.0", "-0.0", "1e300",
        "0.1", "5e-324", "\"\"", "\"a\\\"\\\\b\\n\\r\\t\\u0000\\u001f\"", "\"\xc3\xa9\xf0\x9f\x98\x80\"", "[]", "{}",
        "[1,[2.5,\"x\"],{\"a\":null,\"b\":{}}]",
    };
    static const char *const wrong[] = {
        "", " ", "nul", "nulll", "tru", "01", "-", "1.", ".5", "1e", "+1", "1e999", "[", "[1", "[1,", "[1,]", "]", "{",
        "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}", "{a:1}", "{1:1}", "\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"",
        "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"a\nb\"", "1 2", "'a'", "NaN", "\"\\", "\"\\\xc3\xa9\"", "\"\\u00\xc3\xa9\"",
    };
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_entry *entry = NULL;
    minikv_bytes text;
    char *json = NULL;
    size_t place;
    for (place = 0; place < sizeof same / sizeof *same; place++) {
        OK(minikv_put_json(kv, minikv_str("k"), minikv_str(same[place]), NULL, &entry, &err));
        OK(minikv_value_json(minikv_entry_value(entry), &json, &err));
        if (strcmp(json, same[place]) != 0) {
            printf("    %s became %s\n", same[place], json);
            return false;
        }
        minikv_string_free(json);
        minikv_entry_free(entry);
    }
    for (place = 0; place < sizeof wrong / sizeof *wrong; place++) {
        FAILS(MINIKV_INVALID_VALUE, minikv_put_json(kv, minikv_str("k"), minikv_str(wrong[place]), NULL, NULL, &err));
    }
    OK(minikv_put_json(kv, minikv_str("k"), minikv_str(" \"\\ud83d\\ude00\\/\" "), NULL, &entry, &err));
    CHECK(minikv_entry_as_text(entry, &text) && text.len == 5 && memcmp(text.ptr, "\xf0\x9f\x98\x80/", 5) == 0);
    minikv_entry_free(entry);
    CHECK(minikv_put_json(kv, minikv_str("k"), minikv_str("[9223372036854775808]"), NULL, NULL, &err) ==
          MINIKV_INVALID_VALUE);
    CHECK(minikv_error_is_int_out_of_range(err));
    minikv_error_free(err);
    err = NULL;
    OK(minikv_put_bytes(kv, minikv_str("k"), minikv_str("x"), NULL, &entry, &err));
    FAILS(MINIKV_INVALID_VALUE, minikv_entry_json(entry, &json, &err));
    minikv_entry_free(entry);
    OK(minikv_put_float(kv, minikv_str("k"), NAN, NULL, &entry, &err));
    FAILS(MINIKV_INVALID_VALUE, minikv_value_json(minikv_entry_value(entry), &json, &err));
    minikv_entry_free(entry);
    end_registry(kv);
    return true;
}

static bool a_map_is_read_by_key_and_by_place(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_entry *entry = NULL;
    const minikv_value *map, *list;
    int64_t number = 0;
    OK(minikv_put_json(kv, minikv_str("k"), minikv_str("{\"b\":[1,2],\"a\":7,\"\":null}"), NULL, &entry, &err));
    map = minikv_entry_value(entry);
    CHECK(minikv_value_type(map) == MINIKV_MAP && minikv_value_count(map) == 3);
    CHECK(minikv_value_key_at(map, 0).ptr != NULL && minikv_value_key_at(map, 0).len == 0);
    CHECK(minikv_value_key_at(map, 1).len == 1 && minikv_value_key_at(map, 1).ptr[0] == 'a');
    CHECK(minikv_value_key_at(map, 3).ptr == NULL && minikv_value_at(map, 3) == NULL);
    CHECK(minikv_value_as_int(minikv_value_get(map, minikv_str("a")), &number) && number == 7);
    CHECK(minikv_value_get(map, minikv_str("c")) == NULL);
    list = minikv_value_get(map, minikv_str("b"));
    CHECK(minikv_value_count(list) == 2 && minikv_value_as_int(minikv_value_at(list, 1), &number) && number == 2);
    CHECK(minikv_value_at(list, 2) == NULL && minikv_value_count(minikv_value_at(list, 0)) == 0);
    CHECK(minikv_value_add_int((minikv_value *)(uintptr_t)list, 1) == MINIKV_INVALID_ARGUMENT);
    minikv_entry_free(entry);
    end_registry(kv);
    return true;
}

static bool a_value_or_a_default_is_read(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_value *otherwise = minikv_value_new(), *found = NULL;
    int64_t number = 0;
    minikv_value_add_int(otherwise, 5);
    OK(minikv_get_value(kv, minikv_str("k"), NULL, &found, &err));
    CHECK(found == NULL);
    OK(minikv_get_value(kv, minikv_str("k"), otherwise, &found, &err));
    CHECK(minikv_value_as_int(found, &number) && number == 5);
    minikv_value_free(found);
    OK(minikv_set_int(kv, minikv_str("k"), 6, NULL, NULL, &err));
    OK(minikv_get_value(kv, minikv_str("k"), otherwise, &found, &err));
    CHECK(minikv_value_as_int(found, &number) && number == 6);
    minikv_value_free(found);
    minikv_value_free(otherwise);
    end_registry(kv);
    return true;
}

static bool durations_are_checked(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(true);
    minikv_put_options *put = minikv_put_options_new();
    minikv_lock_options *lock = minikv_lock_options_new();
    minikv_entry *entry = NULL;
    int64_t left = 0;
    CHECK(minikv_put_options_set_ttl_ms(put, -1) == MINIKV_INVALID_ARGUMENT);
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_put_int(kv, minikv_str("k"), 1, put, NULL, &err));
    FAILS(MINIKV_INVALID_KEY, minikv_put_int(kv, minikv_str(""), 1, put, NULL, &err));
    FAILS(MINIKV_INVALID_VALUE, minikv_put_text(kv, minikv_str("k"), minikv_span("\xff", 1), put, NULL, &err));
    minikv_put_options_free(put);
    put = minikv_put_options_new();
    minikv_put_options_set_ttl_ms(put, MINIKV_FOREVER);
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_put_int(kv, minikv_str("k"), 1, put, NULL, &err));
    minikv_put_options_set_ttl_ns(put, 1500001);
    OK(minikv_put_int(kv, minikv_str("k"), 1, put, &entry, &err));
    CHECK(minikv_entry_expires_in(entry, &left) && left == 1500001);
    minikv_entry_free(entry);
    entry = NULL;
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_touch_ms(kv, minikv_str("k"), -5, NULL, NULL, &err));
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_touch_ns(kv, minikv_str("k"), INT64_MIN, NULL, NULL, &err));
    FAILS(MINIKV_INVALID_KEY, minikv_touch_ms(kv, minikv_str(""), -5, NULL, NULL, &err));
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_registry_advance_ms(kv, -1, &err));
    minikv_lock_options_set_wait_ms(lock, INT64_MIN);
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_lock(kv, minikv_str("k"), lock, &entry, &err));
    OK(minikv_registry_advance_ns(kv, 1500001, &err));
    OK(minikv_get(kv, minikv_str("k"), &entry, &err));
    CHECK(entry == NULL);
    minikv_put_options_free(put);
    minikv_lock_options_free(lock);
    end_registry(kv);
    return true;
}

static bool the_first_problem_of_a_put_within_a_lock_is_its_value(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(true);
    minikv_value *value = minikv_value_new();
    minikv_lock_options *lock = minikv_lock_options_new();
    minikv_entry *entry = NULL;
    nest(value, 129);
    minikv_lock_options_set_lease_ms(lock, -1);
    CHECK(minikv_lock_options_set_put(lock, value, NULL) == MINIKV_INVALID_VALUE);
    FAILS(MINIKV_INVALID_VALUE, minikv_lock(kv, minikv_str("k"), lock, &entry, &err));
    FAILS(MINIKV_INVALID_KEY, minikv_lock(kv, minikv_str(""), lock, &entry, &err));
    minikv_registry_stop(kv);
    FAILS(MINIKV_STOPPED, minikv_lock(kv, minikv_str(""), lock, &entry, &err));
    minikv_value_free(value);
    minikv_lock_options_free(lock);
    end_registry(kv);
    return true;
}

static bool an_error_carries_what_belongs_to_it(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_put_options *absent = minikv_put_options_new();
    int64_t number = 0;
    minikv_put_options_set_if_absent(absent, true);
    OK(minikv_put_int(kv, minikv_str("k"), 3, absent, NULL, &err));
    CHECK(minikv_put_int(kv, minikv_str("k"), 4, absent, NULL, &err) == MINIKV_CONFLICT);
    CHECK(strcmp(minikv_error_kind(err), "conflict") == 0 && minikv_error_message(err)[0] != '\0');
    CHECK(minikv_entry_as_int(minikv_error_present(err), &number) && number == 3);
    CHECK(!minikv_error_is_lock_timeout(err) && !minikv_error_is_int_out_of_range(err));
    minikv_error_free(err);
    CHECK(minikv_error_code(NULL) == MINIKV_OK && strcmp(minikv_error_kind(NULL), "ok") == 0);
    CHECK(minikv_code_name(99) == NULL && minikv_type_name(-1) == NULL && minikv_event_type_name(99) == NULL);
    /* Nobody is interested. */
    CHECK(minikv_put_int(kv, minikv_str("k"), 4, absent, NULL, NULL) == MINIKV_CONFLICT);
    minikv_put_options_free(absent);
    end_registry(kv);
    return true;
}

/* Whether nothing is in a view. */
static bool is_empty(const minikv_view *view)
{
    return view->type == MINIKV_NONE && !view->as_bool && view->as_int == 0 && view->as_float == 0 &&
           view->bytes.ptr == NULL && view->bytes.len == 0;
}

/* Whether a view has this type and no scalar of another. */
static bool is_only(const minikv_view *view, minikv_type type)
{
    return view->type == type && (type == MINIKV_BOOL || !view->as_bool) &&
           (type == MINIKV_INT || view->as_int == 0) && (type == MINIKV_FLOAT || view->as_float == 0) &&
           ((view->bytes.ptr != NULL) == (type == MINIKV_TEXT || type == MINIKV_BYTES));
}

static bool a_view_has_the_value_of_its_type_and_no_other(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_bytes key = minikv_str("k");
    minikv_view view;
    bool found = false;
    OK(minikv_put_nil(kv, key, NULL, NULL, &err));
    OK(minikv_view_get(kv, key, &view, &found, &err));
    CHECK(found && is_only(&view, MINIKV_NIL));
    minikv_view_free(&view);
    OK(minikv_put_bool(kv, key, true, NULL, NULL, &err));
    OK(minikv_view_get(kv, key, &view, &found, &err));
    CHECK(found && is_only(&view, MINIKV_BOOL) && view.as_bool);
    minikv_view_free(&view);
    OK(minikv_put_int(kv, key, INT64_MIN, NULL, NULL, &err));
    OK(minikv_view_get(kv, key, &view, &found, &err));
    CHECK(found && is_only(&view, MINIKV_INT) && view.as_int == INT64_MIN);
    minikv_view_free(&view);
    OK(minikv_put_float(kv, key, 0.5, NULL, NULL, &err));
    OK(minikv_view_get(kv, key, &view, &found, &err));
    CHECK(found && is_only(&view, MINIKV_FLOAT) && view.as_float == 0.5);
    minikv_view_free(&view);
    OK(minikv_put_text(kv, key, minikv_span("a\0b", 3), NULL, NULL, &err));
    OK(minikv_view_get(kv, key, &view, &found, &err));
    CHECK(found && is_only(&view, MINIKV_TEXT) && view.bytes.len == 3 && memcmp(view.bytes.ptr, "a\0b", 3) == 0);
    minikv_view_free(&view);
    OK(minikv_put_bytes(kv, key, minikv_span("\xff\0", 2), NULL, NULL, &err));
    OK(minikv_view_get(kv, key, &view, &found, &err));
    CHECK(found && is_only(&view, MINIKV_BYTES) && view.bytes.len == 2 && memcmp(view.bytes.ptr, "\xff\0", 2) == 0);
    minikv_view_free(&view);
    /* Empty, but there. */
    OK(minikv_put_text(kv, key, minikv_str(""), NULL, NULL, &err));
    OK(minikv_view_get(kv, key, &view, &found, &err));
    CHECK(found && is_only(&view, MINIKV_TEXT) && view.bytes.len == 0);
    minikv_view_free(&view);
    OK(minikv_put_json(kv, key, minikv_str("[1]"), NULL, NULL, &err));
    OK(minikv_view_get(kv, key, &view, &found, &err));
    CHECK(found && is_only(&view, MINIKV_LIST));
    minikv_view_free(&view);
    OK(minikv_put_json(kv, key, minikv_str("{\"a\":1}"), NULL, NULL, &err));
    OK(minikv_view_get(kv, key, &view, &found, &err));
    CHECK(found && is_only(&view, MINIKV_MAP));
    minikv_view_free(&view);
    end_registry(kv);
    return true;
}

static bool a_view_of_nothing_is_empty(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_view view;
    bool found = true;
    minikv_view_free(NULL);
    memset(&view, 0, sizeof view);
    CHECK(is_empty(&view));
    minikv_view_free(&view);
    /* What is in the memory before does not matter. */
    memset(&view, 0xff, sizeof view);
    OK(minikv_view_get(kv, minikv_str("absent"), &view, &found, &err));
    CHECK(!found && is_empty(&view));
    minikv_view_free(&view);
    memset(&view, 0xff, sizeof view);
    FAILS(MINIKV_INVALID_KEY, minikv_view_get(kv, minikv_str(""), &view, &found, &err));
    CHECK(is_empty(&view));
    minikv_view_free(&view);
    memset(&view, 0xff, sizeof view);
    FAILS(MINIKV_INVALID_KEY, minikv_view_get(kv, minikv_span(NULL, 3), &view, &found, &err));
    CHECK(is_empty(&view));
    memset(&view, 0xff, sizeof view);
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_view_get(NULL, minikv_str("k"), &view, &found, &err));
    CHECK(is_empty(&view));
    memset(&view, 0xff, sizeof view);
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_view_get(kv, minikv_str("k"), &view, NULL, &err));
    CHECK(is_empty(&view));
    minikv_registry_stop(kv);
    memset(&view, 0xff, sizeof view);
    FAILS(MINIKV_STOPPED, minikv_view_get(kv, minikv_str("k"), &view, &found, &err));
    CHECK(is_empty(&view));
    minikv_view_free(&view);
    minikv_registry_free(kv);
    return true;
}

static bool a_view_outlives_its_key_and_its_registry(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_view deleted, changed, large, moved, same;
    size_t length = 1024 * 1024;
    char *text = malloc(length);
    bool found = false;
    CHECK(text != NULL);
    memset(text, 'x', length);
    OK(minikv_put_text(kv, minikv_str("deleted"), minikv_str("first"), NULL, NULL, &err));
    OK(minikv_put_bytes(kv, minikv_str("changed"), minikv_str("second"), NULL, NULL, &err));
    OK(minikv_put_text(kv, minikv_str("large"), minikv_span(text, length), NULL, NULL, &err));
    OK(minikv_view_get(kv, minikv_str("deleted"), &deleted, &found, &err));
    OK(minikv_view_get(kv, minikv_str("deleted"), &same, &found, &err));
    OK(minikv_view_get(kv, minikv_str("changed"), &changed, &found, &err));
    OK(minikv_view_get(kv, minikv_str("large"), &large, &found, &err));
    /* The library has one copy of it. */
    CHECK(same.bytes.ptr == deleted.bytes.ptr);
    minikv_view_free(&same);
    OK(minikv_delete(kv, minikv_str("deleted"), NULL, NULL, &err));
    OK(minikv_put_text(kv, minikv_str("changed"), minikv_str("third"), NULL, NULL, &err));
    OK(minikv_put_int(kv, minikv_str("large"), 1, NULL, NULL, &err));
    memcpy(&moved, &deleted, sizeof moved);
    end_registry(kv);
    CHECK(moved.bytes.len == 5 && memcmp(moved.bytes.ptr, "first", 5) == 0);
    CHECK(changed.type == MINIKV_BYTES && changed.bytes.len == 6 && memcmp(changed.bytes.ptr, "second", 6) == 0);
    CHECK(large.type == MINIKV_TEXT && large.bytes.len == length && memcmp(large.bytes.ptr, text, length) == 0);
    minikv_view_free(&moved);
    CHECK(is_empty(&moved));
    minikv_view_free(&moved);
    minikv_view_free(&changed);
    minikv_view_free(&large);
    minikv_view_free(&large);
    CHECK(is_empty(&changed) && is_empty(&large));
    free(text);
    return true;
}

static bool a_view_outlives_its_ttl(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(true);
    minikv_put_options *ttl = minikv_put_options_new();
    minikv_view view, later;
    bool found = false;
    minikv_put_options_set_ttl_ms(ttl, 1000);
    OK(minikv_put_text(kv, minikv_str("k"), minikv_str("soon gone"), ttl, NULL, &err));
    OK(minikv_view_get(kv, minikv_str("k"), &view, &found, &err));
    CHECK(found && view.bytes.len == 9);
    OK(minikv_registry_advance_ms(kv, 2000, &err));
    OK(minikv_view_get(kv, minikv_str("k"), &later, &found, &err));
    CHECK(!found && is_empty(&later) && memcmp(view.bytes.ptr, "soon gone", 9) == 0);
    minikv_view_free(&later);
    minikv_view_free(&view);
    minikv_put_options_free(ttl);
    end_registry(kv);
    return true;
}

int main(void)
{
    static const test tests[] = {
        TEST(keys_of_any_bytes_come_back),
        TEST(every_type_comes_back_and_no_other),
        TEST(values_nest_128_deep_and_no_deeper),
        TEST(a_million_brackets_do_no_harm),
        TEST(misuse_of_a_builder_is_told_by_the_put),
        TEST(json_goes_in_and_comes_out),
        TEST(a_map_is_read_by_key_and_by_place),
        TEST(a_value_or_a_default_is_read),
        TEST(durations_are_checked),
        TEST(the_first_problem_of_a_put_within_a_lock_is_its_value),
        TEST(an_error_carries_what_belongs_to_it),
        TEST(a_view_has_the_value_of_its_type_and_no_other),
        TEST(a_view_of_nothing_is_empty),
        TEST(a_view_outlives_its_key_and_its_registry),
        TEST(a_view_outlives_its_ttl),
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
