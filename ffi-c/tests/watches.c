/* Watches: by waiting, by descriptor, by callback. */
#define _POSIX_C_SOURCE 200809L
#include "test.h"

#include <poll.h>
#include <pthread.h>

enum { GENEROUS_MS = 60000 };

static bool events_come_in_order_and_are_typed(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_watch_options *options = minikv_watch_options_new();
    minikv_watch *watch = NULL;
    minikv_event *event = NULL;
    int64_t number = 0;
    minikv_watch_options_set_prefix(options, minikv_str("a:"));
    OK(minikv_watch_open(kv, options, &watch, &err));
    OK(minikv_put_int(kv, minikv_str("b:1"), 1, NULL, NULL, &err));
    OK(minikv_put_int(kv, minikv_str("a:1"), 2, NULL, NULL, &err));
    OK(minikv_delete(kv, minikv_str("a:1"), NULL, NULL, &err));
    OK(minikv_watch_next(watch, MINIKV_FOREVER, &event, &err));
    CHECK(minikv_event_type_of(event) == MINIKV_EVENT_PUT && minikv_event_key(event).len == 3);
    CHECK(minikv_entry_as_int(minikv_event_entry(event), &number) && number == 2 && minikv_event_count(event) == 1);
    minikv_event_free(event);
    OK(minikv_watch_next(watch, GENEROUS_MS, &event, &err));
    CHECK(minikv_event_type_of(event) == MINIKV_EVENT_DELETE);
    minikv_event_free(event);
    event = NULL;
    FAILS(MINIKV_TIMEOUT, minikv_watch_next(watch, 0, &event, &err));
    FAILS(MINIKV_TIMEOUT, minikv_watch_next(watch, 1, &event, &err));
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_watch_next(watch, -1, &event, &err));
    OK(minikv_watch_try_next(watch, &event, &err));
    CHECK(event == NULL && !minikv_watch_is_closed(watch));
    minikv_registry_stop(kv);
    OK(minikv_watch_next(watch, MINIKV_FOREVER, &event, &err));
    CHECK(event == NULL && minikv_watch_is_closed(watch));
    FAILS(MINIKV_STOPPED, minikv_watch_open(kv, options, &watch, &err));
    minikv_watch_free(watch);
    minikv_watch_options_free(options);
    end_registry(kv);
    return true;
}

static bool a_slow_reader_is_told_what_it_lost(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_watch_options *options = minikv_watch_options_new();
    minikv_watch *watch = NULL;
    minikv_event *event = NULL;
    int number;
    minikv_watch_options_set_capacity(options, 2);
    OK(minikv_watch_open(kv, options, &watch, &err));
    for (number = 0; number < 5; number++) {
        OK(minikv_put_int(kv, minikv_str("k"), number, NULL, NULL, &err));
    }
    OK(minikv_watch_try_next(watch, &event, &err));
    CHECK(minikv_event_type_of(event) == MINIKV_EVENT_LAGGED && minikv_event_count(event) == 3);
    CHECK(minikv_event_entry(event) == NULL && minikv_event_key(event).ptr == NULL);
    minikv_event_free(event);
    minikv_watch_free(watch);
    minikv_watch_options_free(options);
    end_registry(kv);
    return true;
}

static bool readable(int fd, int timeout)
{
    struct pollfd polled;
    polled.fd = fd;
    polled.events = POLLIN;
    polled.revents = 0;
    return poll(&polled, 1, timeout) == 1;
}

static size_t drain(minikv_watch *watch)
{
    minikv_event *event = NULL;
    size_t count = 0;
    while (minikv_watch_try_next(watch, &event, NULL) == MINIKV_OK && event != NULL) {
        minikv_event_free(event);
        event = NULL;
        count++;
    }
    return count;
}

static bool a_descriptor_is_readable_while_there_are_events(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_watch *watch = NULL;
    int fd = -1, again = -1;
    OK(minikv_watch_open(kv, NULL, &watch, &err));
    OK(minikv_put_int(kv, minikv_str("k"), 1, NULL, NULL, &err));
    OK(minikv_watch_fd(watch, &fd, &err));
    OK(minikv_watch_fd(watch, &again, &err));
    CHECK(fd >= 0 && fd == again && readable(fd, 0));
    CHECK(drain(watch) == 1 && !readable(fd, 0));
    OK(minikv_put_int(kv, minikv_str("k"), 2, NULL, NULL, &err));
    OK(minikv_put_int(kv, minikv_str("k"), 3, NULL, NULL, &err));
    CHECK(readable(fd, GENEROUS_MS));
    CHECK(drain(watch) == 2 && !readable(fd, 0));
    minikv_registry_stop(kv);
    CHECK(readable(fd, GENEROUS_MS) && drain(watch) == 0 && minikv_watch_is_closed(watch) && readable(fd, 0));
    minikv_watch_free(watch);
    end_registry(kv);
    return true;
}

enum { PUTS = 20000 };

static void *put_many_times(void *argument)
{
    int number;
    for (number = 0; number < PUTS; number++) {
        minikv_put_int(argument, minikv_str("k"), number, NULL, NULL, NULL);
    }
    return NULL;
}

static bool no_wake_up_of_a_descriptor_is_lost(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_watch_options *options = minikv_watch_options_new();
    minikv_watch *watch = NULL;
    pthread_t thread;
    size_t seen = 0;
    int fd = -1;
    minikv_watch_options_set_capacity(options, PUTS + 1);
    OK(minikv_watch_open(kv, options, &watch, &err));
    OK(minikv_watch_fd(watch, &fd, &err));
    CHECK(pthread_create(&thread, NULL, put_many_times, kv) == 0);
    while (seen < PUTS) {
        CHECK(readable(fd, GENEROUS_MS));
        seen += drain(watch);
    }
    CHECK(pthread_join(thread, NULL) == 0 && seen == PUTS);
    minikv_watch_free(watch);
    minikv_watch_options_free(options);
    end_registry(kv);
    return true;
}

/* What a callback has seen. */
typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int events;
    int ends;
    minikv_registry *kv;
    minikv_watch *watch;
} seen;

static void see(void *user, const minikv_event *event)
{
    seen *seen = user;
    pthread_mutex_lock(&seen->mutex);
    if (event == NULL) {
        seen->ends++;
    } else {
        seen->events++;
    }
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->mutex);
}

static seen new_seen(minikv_registry *kv)
{
    seen seen;
    memset(&seen, 0, sizeof seen);
    pthread_mutex_init(&seen.mutex, NULL);
    pthread_cond_init(&seen.changed, NULL);
    seen.kv = kv;
    return seen;
}

static void wait_for(seen *seen, int events, int ends)
{
    pthread_mutex_lock(&seen->mutex);
    while (seen->events < events || seen->ends < ends) {
        pthread_cond_wait(&seen->changed, &seen->mutex);
    }
    pthread_mutex_unlock(&seen->mutex);
}

static bool a_watch_calls_back_until_it_is_freed(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_watch *watch = NULL;
    minikv_event *event = NULL;
    seen seen = new_seen(kv);
    int number, fd;
    OK(minikv_watch_start(kv, NULL, see, &seen, &watch, &err));
    for (number = 0; number < 100; number++) {
        OK(minikv_put_int(kv, minikv_str("k"), number, NULL, NULL, &err));
    }
    wait_for(&seen, 100, 0);
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_watch_try_next(watch, &event, &err));
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_watch_next(watch, 1, &event, &err));
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_watch_fd(watch, &fd, &err));
    CHECK(seen.ends == 0);
    minikv_watch_free(watch);
    CHECK(seen.ends == 1 && seen.events == 100);
    OK(minikv_put_int(kv, minikv_str("k"), 1, NULL, NULL, &err));
    CHECK(seen.events == 100);
    end_registry(kv);
    return true;
}

static bool a_watch_that_calls_back_ends_with_its_registry(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_watch *watch = NULL;
    seen seen = new_seen(kv);
    OK(minikv_watch_start(kv, NULL, see, &seen, &watch, &err));
    OK(minikv_put_int(kv, minikv_str("k"), 1, NULL, NULL, &err));
    minikv_registry_stop(kv);
    wait_for(&seen, 1, 1);
    minikv_watch_free(watch);
    CHECK(seen.ends == 1);
    end_registry(kv);
    return true;
}

/* Writes, which gives further events, and in the end frees the watch that calls it. */
static void write_back(void *user, const minikv_event *event)
{
    seen *seen = user;
    minikv_watch *watch = NULL;
    int64_t number = 0;
    if (event != NULL && minikv_entry_as_int(minikv_event_entry(event), &number) && number < 10) {
        minikv_put_int(seen->kv, minikv_str("k"), number + 1, NULL, NULL, NULL);
    } else if (event != NULL) {
        pthread_mutex_lock(&seen->mutex);
        watch = seen->watch;
        pthread_mutex_unlock(&seen->mutex);
        minikv_watch_free(watch);
    }
    see(user, event);
}

static bool a_callback_may_write_and_free_its_watch(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    seen seen = new_seen(kv);
    minikv_stats stats;
    pthread_mutex_lock(&seen.mutex);
    OK(minikv_watch_start(kv, NULL, write_back, &seen, &seen.watch, &err));
    pthread_mutex_unlock(&seen.mutex);
    OK(minikv_put_int(kv, minikv_str("k"), 1, NULL, NULL, &err));
    wait_for(&seen, 10, 1);
    CHECK(seen.events == 10);
    OK(minikv_registry_stats(kv, &stats, sizeof stats, &err));
    CHECK(stats.watchers == 0);
    end_registry(kv);
    return true;
}

int main(void)
{
    static const test tests[] = {
        TEST(events_come_in_order_and_are_typed),
        TEST(a_slow_reader_is_told_what_it_lost),
        TEST(a_descriptor_is_readable_while_there_are_events),
        TEST(no_wake_up_of_a_descriptor_is_lost),
        TEST(a_watch_calls_back_until_it_is_freed),
        TEST(a_watch_that_calls_back_ends_with_its_registry),
        TEST(a_callback_may_write_and_free_its_watch),
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
