/* Threads, locks, guards and requests that wait. */
#define _POSIX_C_SOURCE 200809L
#include "test.h"

#include <pthread.h>

enum { THREADS = 8, ROUNDS = 2000 };

static void *count_up(void *argument)
{
    minikv_registry *kv = argument;
    intptr_t failures = 0;
    int round;
    for (round = 0; round < ROUNDS; round++) {
        minikv_entry *entry = NULL;
        failures += minikv_incr(kv, minikv_str("counter"), 1, NULL, &entry, NULL) != MINIKV_OK || entry == NULL;
        minikv_entry_free(entry);
    }
    return (void *)failures;
}

static int32_t add_one(void *user, const minikv_entry *present, minikv_value *value)
{
    int64_t number = 0;
    (void)user;
    minikv_entry_as_int(present, &number);
    minikv_value_add_int(value, number + 1);
    return MINIKV_UPDATE_PUT;
}

static void *update_up(void *argument)
{
    minikv_registry *kv = argument;
    intptr_t failures = 0;
    int round;
    for (round = 0; round < ROUNDS / 10; round++) {
        failures += minikv_update(kv, minikv_str("updated"), add_one, NULL, NULL, NULL, NULL) != MINIKV_OK;
    }
    return (void *)failures;
}

/* Reads, adds one and puts under a guard: wrong as soon as two hold the lock at once. */
static void *guarded_up(void *argument)
{
    minikv_registry *kv = argument;
    minikv_lock_options *options = minikv_lock_options_new();
    intptr_t failures = 0;
    int round;
    minikv_lock_options_set_wait_ms(options, MINIKV_FOREVER);
    for (round = 0; round < ROUNDS / 20; round++) {
        minikv_guard *guard = NULL;
        minikv_entry *entry = NULL;
        int64_t number = 0;
        failures += minikv_locked(kv, minikv_str("guarded"), options, &guard, NULL) != MINIKV_OK;
        failures += minikv_guard_get(guard, &entry, NULL) != MINIKV_OK || !minikv_entry_as_int(entry, &number);
        failures += minikv_guard_put_int(guard, number + 1, NULL, NULL, NULL) != MINIKV_OK;
        minikv_entry_free(entry);
        minikv_guard_free(guard);
    }
    minikv_lock_options_free(options);
    return (void *)failures;
}

static bool adds_up(void *(*run)(void *), const char *key, int64_t expected)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    pthread_t threads[THREADS];
    minikv_entry *entry = NULL;
    int64_t number = 0;
    int place;
    OK(minikv_put_int(kv, minikv_str("guarded"), 0, NULL, NULL, &err));
    for (place = 0; place < THREADS; place++) {
        CHECK(pthread_create(&threads[place], NULL, run, kv) == 0);
    }
    for (place = 0; place < THREADS; place++) {
        void *failures = NULL;
        CHECK(pthread_join(threads[place], &failures) == 0 && failures == NULL);
    }
    OK(minikv_get(kv, minikv_str(key), &entry, &err));
    CHECK(minikv_entry_as_int(entry, &number) && number == expected);
    minikv_entry_free(entry);
    end_registry(kv);
    return true;
}

static bool increments_of_eight_threads_add_up(void)
{
    return adds_up(count_up, "counter", (int64_t)THREADS * ROUNDS);
}

static bool updates_of_eight_threads_add_up(void)
{
    return adds_up(update_up, "updated", (int64_t)THREADS * (ROUNDS / 10));
}

static bool guards_of_eight_threads_exclude_each_other(void)
{
    return adds_up(guarded_up, "guarded", (int64_t)THREADS * (ROUNDS / 20));
}

/* One value and one set of options, written by all threads at once: what comes of it is open, but nothing breaks. */
static minikv_value *shared_value;
static minikv_put_options *shared_options;

static void *hammer(void *argument)
{
    minikv_registry *kv = argument;
    int round;
    for (round = 0; round < 200; round++) {
        minikv_value_begin_list(shared_value);
        minikv_value_add_int(shared_value, round);
        minikv_value_end(shared_value);
        minikv_value_count(shared_value);
        minikv_put_options_set_ttl_ms(shared_options, round);
        minikv_put_value(kv, minikv_str("k"), shared_value, shared_options, NULL, NULL);
    }
    return NULL;
}

static bool one_handle_may_be_used_by_all_threads(void)
{
    minikv_registry *kv = start_registry(false);
    pthread_t threads[THREADS];
    int place;
    shared_value = minikv_value_new();
    shared_options = minikv_put_options_new();
    for (place = 0; place < THREADS; place++) {
        CHECK(pthread_create(&threads[place], NULL, hammer, kv) == 0);
    }
    for (place = 0; place < THREADS; place++) {
        CHECK(pthread_join(threads[place], NULL) == 0);
    }
    minikv_value_free(shared_value);
    minikv_put_options_free(shared_options);
    end_registry(kv);
    return true;
}

static void *free_guard(void *argument)
{
    minikv_guard *guard = argument;
    intptr_t failed = minikv_guard_put_int(guard, 7, NULL, NULL, NULL) != MINIKV_OK;
    minikv_guard_free(guard);
    return (void *)failed;
}

static bool a_guard_is_used_and_freed_on_another_thread(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_guard *guard = NULL, *next = NULL;
    minikv_lock_options *options = minikv_lock_options_new();
    pthread_t thread;
    void *failed = NULL;
    OK(minikv_put_int(kv, minikv_str("k"), 1, NULL, NULL, &err));
    OK(minikv_locked(kv, minikv_str("k"), NULL, &guard, &err));
    FAILS(MINIKV_LOCKED, minikv_locked(kv, minikv_str("k"), NULL, &next, &err));
    CHECK(minikv_guard_fence(guard) > 0 && minikv_guard_owner(guard).len > 0 && minikv_guard_key(guard).len == 1);
    CHECK(pthread_create(&thread, NULL, free_guard, guard) == 0);
    minikv_lock_options_set_wait_ms(options, MINIKV_FOREVER);
    OK(minikv_locked(kv, minikv_str("k"), options, &next, &err));
    CHECK(pthread_join(thread, &failed) == 0 && failed == NULL);
    OK(minikv_guard_release(next, &err));
    OK(minikv_guard_release(next, &err));
    FAILS(MINIKV_LOCK_LOST, minikv_guard_put_int(next, 8, NULL, NULL, &err));
    minikv_guard_free(next);
    minikv_lock_options_free(options);
    end_registry(kv);
    return true;
}

static void count_call(void *user)
{
    ++*(int *)user;
}

static bool a_lost_lock_is_told(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(true);
    minikv_put_options *ttl = minikv_put_options_new();
    minikv_guard *guard = NULL;
    int told = 0, late = 0;
    minikv_put_options_set_ttl_ms(ttl, 10);
    OK(minikv_put_int(kv, minikv_str("k"), 1, ttl, NULL, &err));
    OK(minikv_locked(kv, minikv_str("k"), NULL, &guard, &err));
    OK(minikv_guard_on_lost(guard, count_call, &told, &err));
    CHECK(!minikv_guard_is_lost(guard) && told == 0);
    OK(minikv_registry_advance_ms(kv, 10, &err));
    CHECK(minikv_guard_is_lost(guard) && told == 1);
    OK(minikv_guard_on_lost(guard, count_call, &late, &err));
    CHECK(late == 1 && told == 1);
    FAILS(MINIKV_LOCK_LOST, minikv_guard_check(guard, &err));
    FAILS(MINIKV_LOCK_LOST, minikv_guard_put_int(guard, 1, NULL, NULL, &err));
    FAILS(MINIKV_LOCK_LOST, minikv_guard_release(guard, &err));
    minikv_guard_free(guard);
    minikv_put_options_free(ttl);
    end_registry(kv);
    return true;
}

static bool a_pending_lock_is_decided_without_blocking(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_lock_options *options = minikv_lock_options_new();
    minikv_guard *guard = NULL, *granted = NULL;
    minikv_pending_lock *pending = NULL;
    minikv_pending_guard *pending_guard = NULL, *given_up = NULL;
    minikv_entry *entry = NULL;
    minikv_stats stats;
    int told = 0;
    minikv_lock_options_set_wait_ms(options, MINIKV_FOREVER);
    OK(minikv_put_int(kv, minikv_str("k"), 1, NULL, NULL, &err));
    OK(minikv_locked(kv, minikv_str("k"), NULL, &guard, &err));
    OK(minikv_locked_start(kv, minikv_str("k"), options, &pending_guard, &err));
    OK(minikv_locked_start(kv, minikv_str("k"), options, &given_up, &err));
    minikv_lock_options_set_owner(options, minikv_str("w"));
    OK(minikv_lock_start(kv, minikv_str("k"), options, &pending, &err));
    OK(minikv_registry_stats(kv, &stats, sizeof stats, &err));
    CHECK(stats.waiters == 3);
    FAILS(MINIKV_TIMEOUT, minikv_pending_lock_wait(pending, 0, &entry, &err));
    FAILS(MINIKV_TIMEOUT, minikv_pending_guard_wait(pending_guard, 1, &granted, &err));
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_pending_lock_wait(pending, -1, &entry, &err));
    OK(minikv_pending_guard_on_ready(pending_guard, count_call, &told, &err));
    CHECK(told == 0);
    minikv_pending_guard_free(given_up);
    minikv_guard_free(guard);
    CHECK(told == 1);
    OK(minikv_pending_guard_wait(pending_guard, 0, &granted, &err));
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_pending_guard_wait(pending_guard, 0, &granted, &err));
    OK(minikv_guard_put_int(granted, 2, NULL, NULL, &err));
    minikv_guard_free(granted);
    OK(minikv_pending_lock_on_ready(pending, count_call, &told, &err));
    CHECK(told == 2);
    OK(minikv_pending_lock_wait(pending, MINIKV_FOREVER, &entry, &err));
    CHECK(minikv_entry_is_locked(entry) && minikv_entry_holder_owner(entry).len == 1);
    minikv_entry_free(entry);
    minikv_pending_lock_free(pending);
    minikv_pending_guard_free(pending_guard);
    minikv_lock_options_free(options);
    end_registry(kv);
    return true;
}

static bool a_wait_that_runs_out_is_told_apart(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_lock_options *options = minikv_lock_options_new();
    minikv_entry *entry = NULL;
    minikv_lock_options_set_owner(options, minikv_str("other"));
    OK(minikv_put_int(kv, minikv_str("k"), 1, NULL, NULL, &err));
    OK(minikv_lock(kv, minikv_str("k"), NULL, &entry, &err));
    minikv_entry_free(entry);
    CHECK(minikv_lock(kv, minikv_str("k"), options, &entry, &err) == MINIKV_LOCKED);
    CHECK(!minikv_error_is_lock_timeout(err));
    minikv_error_free(err);
    err = NULL;
    minikv_lock_options_set_wait_ms(options, 5);
    CHECK(minikv_lock(kv, minikv_str("k"), options, &entry, &err) == MINIKV_LOCKED);
    CHECK(minikv_error_is_lock_timeout(err));
    minikv_error_free(err);
    minikv_lock_options_free(options);
    end_registry(kv);
    return true;
}

int main(void)
{
    static const test tests[] = {
        TEST(increments_of_eight_threads_add_up),
        TEST(updates_of_eight_threads_add_up),
        TEST(guards_of_eight_threads_exclude_each_other),
        TEST(one_handle_may_be_used_by_all_threads),
        TEST(a_guard_is_used_and_freed_on_another_thread),
        TEST(a_lost_lock_is_told),
        TEST(a_pending_lock_is_decided_without_blocking),
        TEST(a_wait_that_runs_out_is_told_apart),
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
