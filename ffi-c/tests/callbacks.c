/* Operations that call back for a value. */
#define _POSIX_C_SOURCE 200809L
#include "test.h"

#include <pthread.h>

static int32_t give(void *user, const minikv_entry *present, minikv_value *value)
{
    (void)present;
    minikv_value_add_text(value, minikv_str("half done"));
    return *(int32_t *)user;
}

static int32_t give_nothing(void *user, const minikv_entry *present, minikv_value *value)
{
    (void)user, (void)present, (void)value;
    return MINIKV_UPDATE_PUT;
}

static bool an_update_that_fails_changes_nothing_and_says_which(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_entry *entry = NULL;
    minikv_guard *guard = NULL;
    int32_t status = -42;
    int64_t number = 0;
    OK(minikv_put_int(kv, minikv_str("k"), 1, NULL, NULL, &err));
    CHECK(minikv_update(kv, minikv_str("k"), give, &status, NULL, &entry, &err) == MINIKV_CALLBACK);
    CHECK(minikv_error_status(err) == -42 && strcmp(minikv_error_kind(err), "callback") == 0 && entry == NULL);
    minikv_error_free(err);
    err = NULL;
    status = 77;
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_update(kv, minikv_str("k"), give, &status, NULL, &entry, &err));
    FAILS(MINIKV_INVALID_VALUE, minikv_update(kv, minikv_str("k"), give_nothing, NULL, NULL, &entry, &err));
    OK(minikv_locked(kv, minikv_str("k"), NULL, &guard, &err));
    status = -1;
    FAILS(MINIKV_CALLBACK, minikv_guard_update(guard, give, &status, NULL, &err));
    FAILS(MINIKV_LOCKED, minikv_update(kv, minikv_str("k"), give, &status, NULL, NULL, &err));
    minikv_guard_free(guard);
    OK(minikv_get(kv, minikv_str("k"), &entry, &err));
    CHECK(minikv_entry_as_int(entry, &number) && number == 1);
    minikv_entry_free(entry);
    entry = NULL;
    status = MINIKV_UPDATE_DELETE;
    OK(minikv_update(kv, minikv_str("k"), give, &status, NULL, &entry, &err));
    CHECK(minikv_entry_as_int(entry, &number) && number == 1);
    minikv_entry_free(entry);
    OK(minikv_update(kv, minikv_str("k"), give, &status, NULL, &entry, &err));
    CHECK(entry == NULL);
    status = MINIKV_UPDATE_PUT;
    OK(minikv_update(kv, minikv_str("k"), give, &status, NULL, &entry, &err));
    CHECK(minikv_entry_type(entry) == MINIKV_TEXT);
    minikv_entry_free(entry);
    end_registry(kv);
    return true;
}

/* Writes to the very key that is being updated, the first time. */
static int32_t write_in_between(void *user, const minikv_entry *present, minikv_value *value)
{
    minikv_registry *kv = user;
    int64_t number = 0;
    minikv_entry_as_int(present, &number);
    if (number == 1 && minikv_put_int(kv, minikv_str("k"), 100, NULL, NULL, NULL) != MINIKV_OK) {
        return -1;
    }
    minikv_value_add_int(value, number + 1);
    return MINIKV_UPDATE_PUT;
}

static bool an_update_is_called_again_if_somebody_wrote_in_between(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_entry *entry = NULL;
    int64_t number = 0;
    OK(minikv_put_int(kv, minikv_str("k"), 1, NULL, NULL, &err));
    OK(minikv_update(kv, minikv_str("k"), write_in_between, kv, NULL, &entry, &err));
    CHECK(minikv_entry_as_int(entry, &number) && number == 101);
    minikv_entry_free(entry);
    end_registry(kv);
    return true;
}

typedef struct {
    minikv_registry *kv;
    pthread_barrier_t *start;
    int computed;
    int64_t found;
    int32_t status;
} computing;

static int32_t compute(void *user, minikv_value *value)
{
    computing *computing = user;
    computing->computed++;
    minikv_value_add_int(value, 7);
    return computing->status;
}

static void *get_or_put(void *argument)
{
    computing *computing = argument;
    minikv_entry *entry = NULL;
    pthread_barrier_wait(computing->start);
    if (minikv_get_or_put(computing->kv, minikv_str("k"), compute, computing, NULL, &entry, NULL) == MINIKV_OK) {
        minikv_entry_as_int(entry, &computing->found);
    }
    minikv_entry_free(entry);
    return NULL;
}

static bool one_of_many_computes_and_all_have_it(void)
{
    enum { CALLERS = 8 };
    minikv_registry *kv = start_registry(false);
    pthread_barrier_t start;
    pthread_t threads[CALLERS];
    computing callers[CALLERS];
    int place, computed = 0;
    pthread_barrier_init(&start, NULL, CALLERS);
    for (place = 0; place < CALLERS; place++) {
        memset(&callers[place], 0, sizeof callers[place]);
        callers[place].kv = kv;
        callers[place].start = &start;
        CHECK(pthread_create(&threads[place], NULL, get_or_put, &callers[place]) == 0);
    }
    for (place = 0; place < CALLERS; place++) {
        CHECK(pthread_join(threads[place], NULL) == 0);
        computed += callers[place].computed;
        CHECK(callers[place].found == 7);
    }
    CHECK(computed == 1);
    pthread_barrier_destroy(&start);
    end_registry(kv);
    return true;
}

static int32_t compute_itself(void *user, minikv_value *value)
{
    (void)value;
    /* Would wait for itself. */
    return minikv_get_or_put(user, minikv_str("k"), compute_itself, user, NULL, NULL, NULL) == MINIKV_INVALID_ARGUMENT
               ? -5
               : -6;
}

static bool a_computation_that_fails_leaves_the_key_absent(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    computing failing;
    bool present = true;
    memset(&failing, 0, sizeof failing);
    failing.status = -9;
    CHECK(minikv_get_or_put(kv, minikv_str("k"), compute, &failing, NULL, NULL, &err) == MINIKV_CALLBACK);
    CHECK(minikv_error_status(err) == -9);
    minikv_error_free(err);
    err = NULL;
    failing.status = 3;
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_get_or_put(kv, minikv_str("k"), compute, &failing, NULL, NULL, &err));
    CHECK(minikv_get_or_put(kv, minikv_str("k"), compute_itself, kv, NULL, NULL, &err) == MINIKV_CALLBACK);
    CHECK(minikv_error_status(err) == -5);
    minikv_error_free(err);
    err = NULL;
    OK(minikv_contains(kv, minikv_str("k"), &present, &err));
    CHECK(!present);
    end_registry(kv);
    return true;
}

int main(void)
{
    static const test tests[] = {
        TEST(an_update_that_fails_changes_nothing_and_says_which),
        TEST(an_update_is_called_again_if_somebody_wrote_in_between),
        TEST(one_of_many_computes_and_all_have_it),
        TEST(a_computation_that_fails_leaves_the_key_absent),
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
