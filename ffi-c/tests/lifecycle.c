/* Starting, naming, describing, stopping. */
#define _POSIX_C_SOURCE 200809L
#include "test.h"

#include <unistd.h>

static bool a_name_is_found_until_its_registry_stops(void)
{
    minikv_error *err = NULL;
    minikv_options *options = minikv_options_new("lifecycle"), *other = minikv_options_new("lifecycle");
    minikv_registry *kv = NULL, *same = NULL, *third = NULL;
    minikv_entry *entry = NULL;
    FAILS(MINIKV_NOT_FOUND, minikv_registry_open("lifecycle", &kv, &err));
    OK(minikv_registry_start(options, &kv, &err));
    FAILS(MINIKV_ALREADY_STARTED, minikv_registry_start(options, &same, &err));
    OK(minikv_registry_start_or_open(options, &same, &err));
    minikv_options_set_default_ttl_ms(other, 5);
    FAILS(MINIKV_ALREADY_STARTED, minikv_registry_start_or_open(other, &third, &err));
    OK(minikv_registry_open("lifecycle", &third, &err));
    OK(minikv_put_int(kv, minikv_str("k"), 1, NULL, NULL, &err));
    minikv_registry_free(kv);
    OK(minikv_get(third, minikv_str("k"), &entry, &err));
    CHECK(entry != NULL);
    minikv_entry_free(entry);
    minikv_registry_free(same);
    minikv_registry_free(third);
    FAILS(MINIKV_NOT_FOUND, minikv_registry_open("lifecycle", &kv, &err));
    OK(minikv_registry_start(options, &kv, &err));
    OK(minikv_registry_check(kv, &err));
    CHECK(minikv_registry_keep_running(kv) == MINIKV_OK);
    minikv_registry_free(kv);
    OK(minikv_registry_open("lifecycle", &kv, &err));
    OK(minikv_registry_clone(kv, &same, &err));
    CHECK(minikv_registry_stop(kv) == MINIKV_OK && minikv_registry_stop(same) == MINIKV_OK);
    FAILS(MINIKV_STOPPED, minikv_registry_check(same, &err));
    minikv_registry_free(kv);
    minikv_registry_free(same);
    minikv_options_free(options);
    minikv_options_free(other);
    return true;
}

static bool handles_stay_valid_after_a_stop(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_guard *guard = NULL;
    minikv_watch *watch = NULL;
    minikv_entry *entry = NULL;
    minikv_event *event = NULL;
    minikv_stats stats;
    int64_t number = 0;
    OK(minikv_put_int(kv, minikv_str("k"), 1, NULL, &entry, &err));
    OK(minikv_locked(kv, minikv_str("k"), NULL, &guard, &err));
    OK(minikv_watch_open(kv, NULL, &watch, &err));
    minikv_registry_stop(kv);
    FAILS(MINIKV_STOPPED, minikv_put_int(kv, minikv_str(""), 1, NULL, NULL, &err));
    FAILS(MINIKV_STOPPED, minikv_guard_put_int(guard, 1, NULL, NULL, &err));
    FAILS(MINIKV_STOPPED, minikv_registry_stats(kv, &stats, sizeof stats, &err));
    OK(minikv_watch_try_next(watch, &event, &err));
    CHECK(event == NULL && minikv_entry_as_int(entry, &number) && number == 1);
    minikv_registry_free(kv);
    CHECK(minikv_entry_key(entry).len == 1);
    minikv_entry_free(entry);
    minikv_guard_free(guard);
    minikv_watch_free(watch);
    return true;
}

static bool options_are_read_and_printed(void)
{
    minikv_error *err = NULL;
    minikv_options *options = NULL, *again = NULL;
    minikv_registry *kv = NULL;
    char *json = NULL, *same = NULL;
    char path[] = "minikv-test-XXXXXX";
    const char toml[] = "node = \"n\"\ndefault_ttl = \"90s\"\n";
    int file = mkstemp(path);
    CHECK(file >= 0 && write(file, toml, sizeof toml - 1) == (ssize_t)(sizeof toml - 1));
    close(file);
    OK(minikv_options_from_config(path, &options, &err));
    OK(minikv_options_json(options, &json, &err));
    CHECK(strstr(json, "\"default_ttl\":\"90s\"") != NULL && strstr(json, "\"node\":\"n\"") != NULL);
    OK(minikv_options_from_json(minikv_str(json), &again, &err));
    OK(minikv_options_json(again, &same, &err));
    CHECK(strcmp(json, same) == 0);
    minikv_string_free(same);
    minikv_options_free(again);
    OK(minikv_registry_start(options, &kv, &err));
    OK(minikv_registry_options(kv, &again, &err));
    OK(minikv_options_json(again, &same, &err));
    CHECK(strcmp(json, same) == 0);
    minikv_string_free(same);
    minikv_string_free(json);
    minikv_options_free(again);
    minikv_options_free(options);
    end_registry(kv);
    unlink(path);
    FAILS(MINIKV_IO, minikv_options_from_config(path, &options, &err));
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_options_from_toml(minikv_str("node ="), &options, &err));
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_options_from_json(minikv_str("{\"default_ttl\":60}"), &options, &err));
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_options_from_json(minikv_str("{"), &options, &err));
    CHECK(minikv_options_from_json(minikv_str("{\"defualt_ttl\":\"1s\"}"), &options, &err) == MINIKV_INVALID_ARGUMENT);
    CHECK(strstr(minikv_error_message(err), "did you mean 'default_ttl'?") != NULL);
    minikv_error_free(err);
    return true;
}

static bool a_setter_remembers_its_first_error(void)
{
    minikv_error *err = NULL;
    minikv_options *options = minikv_options_new("\xff");
    minikv_registry *kv = NULL;
    CHECK(minikv_options_set_default_ttl_ms(options, -1) == MINIKV_INVALID_ARGUMENT);
    CHECK(minikv_registry_start(options, &kv, &err) == MINIKV_INVALID_ARGUMENT && kv == NULL);
    CHECK(strstr(minikv_error_message(err), "name") != NULL);
    minikv_error_free(err);
    minikv_options_free(options);
    return true;
}

static bool stats_fit_callers_that_know_less_or_more(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    struct {
        minikv_stats stats;
        uint64_t later;
    } larger;
    memset(&larger, 0xff, sizeof larger);
    OK(minikv_put_int(kv, minikv_str("k"), 1, NULL, NULL, &err));
    OK(minikv_registry_stats(kv, &larger.stats, sizeof larger, &err));
    CHECK(larger.stats.entries == 1 && larger.stats.healthy == 1 && larger.later == 0);
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_registry_stats(kv, &larger.stats, 8, &err));
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_registry_stats(kv, &larger.stats, SIZE_MAX, &err));
    end_registry(kv);
    return true;
}

/* The pages that the process has in memory. */
static long resident(void)
{
    long size = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%ld %ld", &size, &pages) != 2) {
        pages = -1;
    }
    if (file != NULL) {
        fclose(file);
    }
    return pages;
}

static bool cycle(void)
{
    minikv_error *err = NULL;
    minikv_options *options = minikv_options_new("cycle");
    minikv_registry *kv = NULL;
    minikv_watch *watch = NULL;
    minikv_put_options *ttl = minikv_put_options_new();
    int number;
    minikv_put_options_set_ttl_ms(ttl, 1);
    OK(minikv_registry_start(options, &kv, &err));
    OK(minikv_watch_open(kv, NULL, &watch, &err));
    for (number = 0; number < 20; number++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", number);
        OK(minikv_put_int(kv, minikv_str(key), number, ttl, NULL, &err));
    }
    minikv_watch_free(watch);
    minikv_put_options_free(ttl);
    minikv_options_free(options);
    end_registry(kv);
    return true;
}

static bool a_thousand_starts_and_stops_keep_memory_stable(void)
{
    long early, late;
    int round;
    for (round = 0; round < 200; round++) {
        CHECK(cycle());
    }
    early = resident();
    for (round = 0; round < 1000; round++) {
        CHECK(cycle());
    }
    late = resident();
    /* 4 MiB for what the allocator keeps: a thousand leaked registries would be much more. */
    CHECK(early > 0 && late > 0 && (late - early) * sysconf(_SC_PAGESIZE) < 4L * 1024 * 1024);
    return true;
}

int main(void)
{
    static const test tests[] = {
        TEST(a_name_is_found_until_its_registry_stops),
        TEST(handles_stay_valid_after_a_stop),
        TEST(options_are_read_and_printed),
        TEST(a_setter_remembers_its_first_error),
        TEST(stats_fit_callers_that_know_less_or_more),
        TEST(a_thousand_starts_and_stops_keep_memory_stable),
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
