/* Members of clusters, for the tests of them. A program that includes this defines _DEFAULT_SOURCE. */
#ifndef MINIKV_TEST_MEMBERS_H
#define MINIKV_TEST_MEMBERS_H

#include "test.h"

#include <time.h>

enum { LONG_MS = 120000 };

static inline int setting(const char *name, int otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : atoi(text);
}

/* After which silence a member counts as dead. Slow surroundings, such as valgrind, need more. */
static inline int failure_ms(void)
{
    return setting("FAILURE_MS", 2000);
}

static inline void pause_ms(long ms)
{
    struct timespec time;
    time.tv_sec = ms / 1000;
    time.tv_nsec = ms % 1000 * 1000000;
    nanosleep(&time, NULL);
}

/* Waits until the condition holds, long enough for any machine. */
#define UNTIL(condition)                                                                      \
    do {                                                                                      \
        int left_ = LONG_MS;                                                                  \
        while (!(condition) && left_ > 0) {                                                   \
            pause_ms(5);                                                                      \
            left_ -= 5;                                                                       \
        }                                                                                     \
        if (left_ <= 0) {                                                                     \
            printf("    %s:%d: not within %d ms: %s\n", __FILE__, __LINE__, LONG_MS, #condition); \
            return false;                                                                     \
        }                                                                                     \
    } while (0)

static inline minikv_options *member_options(const char *cluster, const char *node, const char *peer)
{
    minikv_options *options = minikv_options_new(NULL);
    minikv_options_set_cluster(options, cluster);
    minikv_options_set_node(options, node);
    minikv_options_set_failure_timeout_ms(options, failure_ms());
    if (peer != NULL) {
        minikv_options_add_peer(options, peer);
    }
    return options;
}

/* Starts a member, uses its options up, and waits for its first sync. NULL if that fails. */
static inline minikv_registry *start_member(minikv_options *options)
{
    minikv_error *err = NULL;
    minikv_registry *kv = NULL;
    if (minikv_registry_start(options, &kv, &err) != MINIKV_OK ||
        minikv_wait_synced(kv, LONG_MS, &err) != MINIKV_OK) {
        printf("    start: %s: %s\n", minikv_error_kind(err), minikv_error_message(err));
        minikv_error_free(err);
        minikv_registry_free(kv);
        kv = NULL;
    }
    minikv_options_free(options);
    return kv;
}

static inline minikv_registry *join(const char *cluster, const char *node, const char *peer)
{
    return start_member(member_options(cluster, node, peer));
}

/* Where the member listens: the first endpoint. */
static inline bool endpoint_of(minikv_registry *kv, char *endpoint, size_t room)
{
    minikv_string_list *endpoints = NULL;
    const char *first;
    if (minikv_endpoints(kv, &endpoints, NULL) != MINIKV_OK) {
        return false;
    }
    first = minikv_string_list_at(endpoints, 0);
    snprintf(endpoint, room, "%s", first == NULL ? "" : first);
    minikv_string_list_free(endpoints);
    return endpoint[0] != '\0';
}

/* The int under the key; -1 if there is none. */
static inline int64_t number_at(minikv_registry *kv, const char *key)
{
    minikv_entry *entry = NULL;
    int64_t number = -1;
    if (minikv_get(kv, minikv_str(key), &entry, NULL) == MINIKV_OK) {
        minikv_entry_as_int(entry, &number);
    }
    minikv_entry_free(entry);
    return number;
}

static inline bool is_text(minikv_bytes text, const char *expected)
{
    return text.len == strlen(expected) && memcmp(text.ptr, expected, text.len) == 0;
}

static inline bool is_owned_by(minikv_registry *kv, const char *key, const char *node)
{
    minikv_entry *entry = NULL;
    bool owned = minikv_get(kv, minikv_str(key), &entry, NULL) == MINIKV_OK && is_text(minikv_entry_node(entry), node);
    minikv_entry_free(entry);
    return owned;
}

/* The state of the first member of this name. */
static inline minikv_member_state state_of(minikv_registry *kv, const char *node)
{
    minikv_member_list *members = NULL;
    minikv_member_state state = MINIKV_MEMBER_NONE;
    size_t place;
    minikv_members(kv, &members, NULL);
    for (place = 0; place < minikv_member_list_count(members) && state == MINIKV_MEMBER_NONE; place++) {
        const minikv_member *member = minikv_member_list_at(members, place);
        if (is_text(minikv_member_node(member), node)) {
            state = minikv_member_state_of(member);
        }
    }
    minikv_member_list_free(members);
    return state;
}

/* Reads events until one is of this type and about this node. */
static inline bool until_event(minikv_watch *watch, minikv_event_type type, const char *node, minikv_event **found)
{
    minikv_event *event = NULL;
    while (minikv_watch_next(watch, LONG_MS, &event, NULL) == MINIKV_OK && event != NULL) {
        if (minikv_event_type_of(event) == type && is_text(minikv_event_node(event), node)) {
            *found = event;
            return true;
        }
        minikv_event_free(event);
        event = NULL;
    }
    return false;
}

#endif
