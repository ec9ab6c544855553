/* What a forked child may do with its parent's handles, and with its own. */
#define _POSIX_C_SOURCE 200809L
#include "children.h"
#include "test.h"

#include <pthread.h>

enum { FORKS = 40 };

/* The locks of AddressSanitizer's allocator are not made for forks: a child waits for ever for one that a thread of its
   parent held. So there nobody is busy; elsewhere somebody is. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QUIET 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define QUIET 1
#endif
#ifndef QUIET
#define QUIET 0
#endif

/* Everything that the parent has opened. */
typedef struct {
    minikv_registry *kv;
    minikv_watch *watch;
    minikv_watch *calling;
    minikv_guard *guard;
    minikv_pending_lock *pending;
    minikv_entry *entry;
    bool stop;
} parent;

static void ignore(void *user, const minikv_event *event)
{
    (void)user, (void)event;
}

/* Keeps the locks of the registry busy, so that some fork comes while they are held. */
static void *keep_busy(void *argument)
{
    parent *parent = argument;
    int number = 0;
    while (!__atomic_load_n(&parent->stop, __ATOMIC_SEQ_CST)) {
        minikv_watch *watch = NULL;
        minikv_put_int(parent->kv, minikv_str("busy"), number++, NULL, NULL, NULL);
        minikv_watch_open(parent->kv, NULL, &watch, NULL);
        minikv_watch_free(watch);
    }
    return NULL;
}

/* In the child: 0 if all is well, else the number of what is not. */
static int in_child(void *given)
{
    parent *parent = given;
    minikv_options *options = minikv_options_new("forks");
    minikv_registry *own = NULL;
    minikv_entry *entry = NULL;
    minikv_event *event = NULL;
    minikv_watch *watch = NULL;
    int64_t number = 0;
    int fd;
    alarm(60);
    if (minikv_get(parent->kv, minikv_str("k"), &entry, NULL) != MINIKV_FORKED) return 1;
    if (minikv_put_int(parent->kv, minikv_str(""), 1, NULL, NULL, NULL) != MINIKV_FORKED) return 2;
    if (minikv_watch_try_next(parent->watch, &event, NULL) != MINIKV_FORKED) return 3;
    if (minikv_watch_next(parent->watch, MINIKV_FOREVER, &event, NULL) != MINIKV_FORKED) return 4;
    if (minikv_watch_fd(parent->watch, &fd, NULL) != MINIKV_FORKED) return 5;
    if (minikv_guard_put_int(parent->guard, 1, NULL, NULL, NULL) != MINIKV_FORKED) return 6;
    if (minikv_pending_lock_wait(parent->pending, MINIKV_FOREVER, &entry, NULL) != MINIKV_FORKED) return 7;
    if (!minikv_watch_is_closed(parent->watch)) return 8;
    if (minikv_watch_open(parent->kv, NULL, &watch, NULL) != MINIKV_FORKED) return 9;
    if (!minikv_entry_as_int(parent->entry, &number) || number != 5) return 10;
    minikv_watch_free(parent->watch);
    minikv_watch_free(parent->calling);
    minikv_guard_free(parent->guard);
    minikv_pending_lock_free(parent->pending);
    minikv_entry_free(parent->entry);
    minikv_registry_stop(parent->kv);
    minikv_registry_free(parent->kv);
    /* The child's own, of the same name. */
    if (minikv_registry_start(options, &own, NULL) != MINIKV_OK) return 11;
    if (minikv_watch_open(own, NULL, &watch, NULL) != MINIKV_OK) return 12;
    if (minikv_put_int(own, minikv_str("k"), 2, NULL, NULL, NULL) != MINIKV_OK) return 13;
    if (minikv_watch_next(watch, 60000, &event, NULL) != MINIKV_OK || event == NULL) return 14;
    minikv_event_free(event);
    minikv_watch_free(watch);
    minikv_options_free(options);
    end_registry(own);
    return 0;
}

static bool a_child_is_told_and_can_start_its_own(void)
{
    minikv_error *err = NULL;
    minikv_options *options = minikv_options_new("forks");
    minikv_lock_options *wait = minikv_lock_options_new();
    static parent parent; /* its thread goes on if a check ends this function */
    pthread_t busy;
    int round;
    minikv_lock_options_set_wait_ms(wait, MINIKV_FOREVER);
    OK(minikv_registry_start(options, &parent.kv, &err));
    OK(minikv_put_int(parent.kv, minikv_str("k"), 5, NULL, &parent.entry, &err));
    OK(minikv_watch_open(parent.kv, NULL, &parent.watch, &err));
    OK(minikv_watch_start(parent.kv, NULL, ignore, NULL, &parent.calling, &err));
    OK(minikv_locked(parent.kv, minikv_str("k"), NULL, &parent.guard, &err));
    OK(minikv_lock_start(parent.kv, minikv_str("k"), wait, &parent.pending, &err));
    if (!QUIET) CHECK(pthread_create(&busy, NULL, keep_busy, &parent) == 0);
    for (round = 0; round < FORKS; round++) {
        int told = asked_in_child(in_child, &parent);
        if (told != 0) {
            printf("    child %d: step %d is not as it should be (255: it died)\n", round, told);
            CHECK(told == 0);
        }
    }
    /* The parent has not noticed. */
    OK(minikv_guard_check(parent.guard, &err));
    __atomic_store_n(&parent.stop, true, __ATOMIC_SEQ_CST);
    if (!QUIET) CHECK(pthread_join(busy, NULL) == 0);
    minikv_pending_lock_free(parent.pending);
    minikv_guard_free(parent.guard);
    minikv_watch_free(parent.watch);
    minikv_watch_free(parent.calling);
    minikv_entry_free(parent.entry);
    minikv_lock_options_free(wait);
    minikv_options_free(options);
    end_registry(parent.kv);
    return true;
}

int main(void)
{
    static const test tests[] = {TEST(a_child_is_told_and_can_start_its_own)};
    return run_tests(tests, sizeof tests / sizeof *tests);
}
