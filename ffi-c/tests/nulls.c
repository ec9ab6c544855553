/* Every function with NULL in every place of a pointer; the calls are generated from the header. */
#include "test.h"

static minikv_registry *some_registry;
static minikv_entry *some_entry;
static minikv_page *some_page;
static minikv_event *some_event;
static minikv_error *some_error;
static minikv_member_list *some_member_list;
static const minikv_member *some_member;
static minikv_string_list *some_string_list;
static minikv_value *some_value;
static minikv_options *some_options;
static minikv_write_options *some_write_options;
static minikv_put_options *some_put_options;
static minikv_lock_options *some_lock_options;
static minikv_list_options *some_list_options;
static minikv_watch_options *some_watch_options;
static const minikv_value *some_values[1];
static minikv_bytes some_keys[1];
static char some_version[128];
static int some_user;

/* Where results go. */
static struct {
    minikv_registry *registry;
    minikv_entry *entry;
    minikv_value *value;
    minikv_page *page;
    minikv_watch *watch;
    minikv_event *event;
    minikv_guard *guard;
    minikv_pending_lock *pending_lock;
    minikv_pending_guard *pending_guard;
    minikv_pending_sync *pending_sync;
    minikv_member_list *member_list;
    minikv_string_list *string_list;
    minikv_options *options;
    char *text;
    minikv_stats stats;
    minikv_view view;
    bool a_bool;
    int32_t a_int32_t;
    int64_t a_int64_t;
    uint64_t a_uint64_t;
    size_t a_size_t;
    double a_double;
    minikv_bytes a_span;
} out;

/* Handles that a call may change or use up: made for one call each. */
static struct {
    minikv_value *value;
    minikv_options *options;
    minikv_write_options *write_options;
    minikv_put_options *put_options;
    minikv_lock_options *lock_options;
    minikv_list_options *list_options;
    minikv_watch_options *watch_options;
    minikv_guard *guard;
    minikv_watch *watch;
    minikv_pending_lock *pending_lock;
    minikv_pending_guard *pending_guard;
    minikv_pending_sync *pending_sync;
} fresh;

#define FRESH(kind, ...)                      \
    static minikv_##kind *fresh_##kind(void)  \
    {                                         \
        fresh.kind = __VA_ARGS__;             \
        return fresh.kind;                    \
    }

static minikv_bytes next_key(void)
{
    static char key[32];
    static unsigned count;
    snprintf(key, sizeof key, "fresh:%u", count++);
    return minikv_str(key);
}

static minikv_guard *new_guard(void)
{
    minikv_lock_options *options = minikv_lock_options_new();
    minikv_guard *guard = NULL;
    minikv_lock_options_set_create(options, true);
    if (minikv_locked(some_registry, next_key(), options, &guard, NULL) != MINIKV_OK) {
        abort();
    }
    minikv_lock_options_free(options);
    return guard;
}

static minikv_watch *new_watch(void)
{
    minikv_watch *watch = NULL;
    if (minikv_watch_open(some_registry, NULL, &watch, NULL) != MINIKV_OK) {
        abort();
    }
    return watch;
}

static minikv_pending_lock *new_pending_lock(void)
{
    minikv_pending_lock *pending = NULL;
    minikv_bytes key = next_key();
    if (minikv_put_nil(some_registry, key, NULL, NULL, NULL) != MINIKV_OK ||
        minikv_lock_start(some_registry, key, NULL, &pending, NULL) != MINIKV_OK) {
        abort();
    }
    return pending;
}

static minikv_pending_guard *new_pending_guard(void)
{
    minikv_pending_guard *pending = NULL;
    minikv_bytes key = next_key();
    if (minikv_put_nil(some_registry, key, NULL, NULL, NULL) != MINIKV_OK ||
        minikv_locked_start(some_registry, key, NULL, &pending, NULL) != MINIKV_OK) {
        abort();
    }
    return pending;
}

static minikv_pending_sync *new_pending_sync(void)
{
    minikv_pending_sync *pending = NULL;
    if (minikv_sync_start(some_registry, &pending, NULL) != MINIKV_OK) {
        abort();
    }
    return pending;
}

FRESH(value, minikv_value_new())
FRESH(options, minikv_options_new("nulls"))
FRESH(write_options, minikv_write_options_new())
FRESH(put_options, minikv_put_options_new())
FRESH(lock_options, minikv_lock_options_new())
FRESH(list_options, minikv_list_options_new())
FRESH(watch_options, minikv_watch_options_new())
FRESH(guard, new_guard())
FRESH(watch, new_watch())
FRESH(pending_lock, new_pending_lock())
FRESH(pending_guard, new_pending_guard())
FRESH(pending_sync, new_pending_sync())

static int32_t some_update_fn(void *user, const minikv_entry *present, minikv_value *value)
{
    (void)user, (void)present, (void)value;
    return MINIKV_UPDATE_KEEP;
}

static int32_t some_compute_fn(void *user, minikv_value *value)
{
    (void)user;
    minikv_value_add_nil(value);
    return 0;
}

static void some_event_fn(void *user, const minikv_event *event)
{
    (void)user, (void)event;
}

static void some_lost_fn(void *user)
{
    (void)user;
}

static void some_ready_fn(void *user)
{
    (void)user;
}

static void clean_up(minikv_error **err)
{
    minikv_watch_free(out.watch);
    minikv_event_free(out.event);
    minikv_entry_free(out.entry);
    minikv_value_free(out.value);
    minikv_page_free(out.page);
    minikv_guard_free(out.guard);
    minikv_pending_lock_free(out.pending_lock);
    minikv_pending_guard_free(out.pending_guard);
    minikv_pending_sync_free(out.pending_sync);
    minikv_member_list_free(out.member_list);
    minikv_string_list_free(out.string_list);
    minikv_options_free(out.options);
    minikv_registry_free(out.registry);
    minikv_string_free(out.text);
    minikv_view_free(&out.view);
    memset(&out, 0, sizeof out);
    minikv_value_free(fresh.value);
    minikv_options_free(fresh.options);
    minikv_write_options_free(fresh.write_options);
    minikv_put_options_free(fresh.put_options);
    minikv_lock_options_free(fresh.lock_options);
    minikv_list_options_free(fresh.list_options);
    minikv_watch_options_free(fresh.watch_options);
    minikv_guard_free(fresh.guard);
    minikv_watch_free(fresh.watch);
    minikv_pending_lock_free(fresh.pending_lock);
    minikv_pending_sync_free(fresh.pending_sync);
    minikv_pending_guard_free(fresh.pending_guard);
    memset(&fresh, 0, sizeof fresh);
    minikv_error_free(*err);
    *err = NULL;
}

#define SURVIVES(...)          \
    do {                       \
        (void)(__VA_ARGS__);   \
        clean_up(&err);        \
    } while (0)

#define ENDS(end, ...)         \
    do {                       \
        end(__VA_ARGS__);      \
        clean_up(&err);        \
    } while (0)

/* The call must give this code, and its message must name the parameter. */
#define REFUSES(expected, name, ...)                                                              \
    do {                                                                                          \
        minikv_code code_ = (__VA_ARGS__);                                                        \
        const char *name_ = name;                                                                 \
        bool named_ = name_ == NULL || strstr(minikv_error_message(err), name_) != NULL;          \
        if (code_ != (expected) || !named_) {                                                     \
            printf("    %s\n        gave %s: %s\n", #__VA_ARGS__, minikv_code_name(code_),        \
                   minikv_error_message(err));                                                    \
            good = false;                                                                         \
        }                                                                                         \
        clean_up(&err);                                                                           \
    } while (0)

static bool every_null_is_survived_and_named(void)
{
    minikv_error *err = NULL;
    bool good = true;
#include "null_calls.inc"
    return good;
}

static bool null_in_arrays_is_refused(void)
{
    minikv_error *err = NULL;
    const minikv_value *none[1] = {NULL};
    minikv_bytes bad[1];
    bad[0] = minikv_span(NULL, 1);
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_put_many(some_registry, some_keys, none, 1, NULL, NULL, &err));
    FAILS(MINIKV_INVALID_KEY, minikv_put_many(some_registry, bad, some_values, 1, NULL, NULL, &err));
    FAILS(MINIKV_INVALID_KEY, minikv_get_many(some_registry, bad, 1, &out.page, &err));
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_get_many(some_registry, some_keys, SIZE_MAX, &out.page, &err));
    OK(minikv_get_many(some_registry, NULL, 0, &out.page, &err));
    CHECK(minikv_page_count(out.page) == 0);
    clean_up(&err);
    return true;
}

int main(void)
{
    static const test tests[] = {TEST(every_null_is_survived_and_named), TEST(null_in_arrays_is_refused)};
    minikv_watch *watch;
    int result;
    some_registry = start_registry(false);
    some_keys[0] = minikv_str("1");
    some_value = minikv_value_new();
    minikv_value_add_int(some_value, 1);
    some_values[0] = some_value;
    some_options = minikv_options_new(NULL);
    some_write_options = minikv_write_options_new();
    some_put_options = minikv_put_options_new();
    some_lock_options = minikv_lock_options_new();
    some_list_options = minikv_list_options_new();
    some_watch_options = minikv_watch_options_new();
    watch = new_watch();
    if (minikv_put_int(some_registry, minikv_str("1"), 1, NULL, &some_entry, NULL) != MINIKV_OK ||
        minikv_entries(some_registry, NULL, &some_page, NULL) != MINIKV_OK ||
        minikv_watch_try_next(watch, &some_event, NULL) != MINIKV_OK || some_event == NULL ||
        minikv_get(some_registry, minikv_str(""), &out.entry, &some_error) == MINIKV_OK) {
        return 2;
    }
    if (minikv_members(some_registry, &some_member_list, NULL) != MINIKV_OK ||
        minikv_endpoints(some_registry, &some_string_list, NULL) != MINIKV_OK) {
        return 2;
    }
    some_member = minikv_member_list_at(some_member_list, 0);
    strcpy(some_version, minikv_entry_version(some_entry));
    result = run_tests(tests, sizeof tests / sizeof *tests);
    minikv_watch_free(watch);
    minikv_event_free(some_event);
    minikv_entry_free(some_entry);
    minikv_page_free(some_page);
    minikv_member_list_free(some_member_list);
    minikv_string_list_free(some_string_list);
    minikv_error_free(some_error);
    minikv_value_free(some_value);
    minikv_options_free(some_options);
    minikv_write_options_free(some_write_options);
    minikv_put_options_free(some_put_options);
    minikv_lock_options_free(some_lock_options);
    minikv_list_options_free(some_list_options);
    minikv_watch_options_free(some_watch_options);
    end_registry(some_registry);
    return result;
}
