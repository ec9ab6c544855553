/* Members of clusters in one process. */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE
#include "members.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static bool same_digest(minikv_registry *kv, minikv_registry *other)
{
    char *one = NULL, *two = NULL;
    bool same = minikv_digest(kv, &one, NULL) == MINIKV_OK && minikv_digest(other, &two, NULL) == MINIKV_OK &&
                strcmp(one, two) == 0;
    minikv_string_free(one);
    minikv_string_free(two);
    return same;
}

static bool members_agree(minikv_registry *kv)
{
    minikv_member_list *members = NULL;
    const char *one, *two;
    bool agree;
    minikv_members(kv, &members, NULL);
    one = minikv_member_digest(minikv_member_list_at(members, 0));
    two = minikv_member_digest(minikv_member_list_at(members, 1));
    agree = minikv_member_list_count(members) == 2 && one != NULL && two != NULL && strcmp(one, two) == 0 &&
            minikv_member_lag(minikv_member_list_at(members, 0)) == 0 &&
            minikv_member_lag(minikv_member_list_at(members, 1)) == 0;
    minikv_member_list_free(members);
    return agree;
}

static bool a_registry_by_itself_is_its_own_only_member(void)
{
    minikv_error *err = NULL;
    minikv_registry *kv = start_registry(false);
    minikv_member_list *members = NULL;
    minikv_string_list *endpoints = NULL;
    minikv_pending_sync *pending = NULL;
    const minikv_member *self;
    minikv_stats stats;
    bool ready = false;
    OK(minikv_ready(kv, &ready, &err));
    CHECK(ready);
    OK(minikv_wait_synced(kv, 0, &err));
    OK(minikv_wait_synced(kv, MINIKV_FOREVER, &err));
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_wait_synced(kv, -1, &err));
    OK(minikv_members(kv, &members, &err));
    CHECK(minikv_member_list_count(members) == 1 && minikv_member_list_at(members, 1) == NULL);
    self = minikv_member_list_at(members, 0);
    CHECK(is_text(minikv_member_node(self), "local") && strlen(minikv_member_incarnation(self)) == 32);
    CHECK(minikv_member_state_of(self) == MINIKV_MEMBER_LIVE && minikv_member_is_self(self));
    CHECK(!minikv_member_is_namesake(self) && minikv_member_lag(self) == 0 && minikv_member_digest(self) == NULL);
    CHECK(strcmp(minikv_member_state_name(MINIKV_MEMBER_LEFT), "left") == 0);
    CHECK(minikv_member_state_name(5) == NULL && minikv_member_state_name(-1) == NULL);
    OK(minikv_endpoints(kv, &endpoints, &err));
    CHECK(minikv_string_list_count(endpoints) == 0 && minikv_string_list_at(endpoints, 0) == NULL);
    OK(minikv_registry_stats(kv, &stats, sizeof stats, &err));
    CHECK(stats.members == 1 && stats.replicated_out == 0 && stats.outbox == 0 && stats.clock_offset_ms == 0);
    OK(minikv_sync_start(kv, &pending, &err));
    OK(minikv_pending_sync_wait(pending, 0, &err));
    FAILS(MINIKV_INVALID_ARGUMENT, minikv_pending_sync_wait(pending, 0, &err));
    minikv_pending_sync_free(pending);
    minikv_registry_stop(kv);
    FAILS(MINIKV_STOPPED, minikv_ready(kv, &ready, &err));
    FAILS(MINIKV_STOPPED, minikv_wait_synced(kv, -1, &err));
    CHECK(minikv_member_list_count(members) == 1);
    minikv_member_list_free(members);
    minikv_string_list_free(endpoints);
    minikv_registry_free(kv);
    return true;
}

/* A start that must fail with this code and say why; uses the options up. */
static bool refuses_to_start(minikv_options *options, minikv_code code, const char *why)
{
    minikv_error *err = NULL;
    minikv_registry *kv = NULL;
    minikv_code given = minikv_registry_start(options, &kv, &err);
    bool good = given == code && kv == NULL && strstr(minikv_error_message(err), why) != NULL;
    if (!good) {
        printf("    expected %s (%s), got %s: %s\n", minikv_code_name(code), why, minikv_code_name(given),
               minikv_error_message(err));
    }
    minikv_error_free(err);
    minikv_options_free(options);
    minikv_registry_free(kv);
    return good;
}

static bool wrong_options_are_refused(void)
{
    minikv_options *options = minikv_options_new(NULL);
    minikv_registry *kv;
    char endpoint[128];
    minikv_options_add_listen(options, "127.0.0.1:0");
    CHECK(refuses_to_start(options, MINIKV_INVALID_ARGUMENT, "listen"));
    options = minikv_options_new(NULL);
    minikv_options_set_discovery_multicast(options);
    CHECK(refuses_to_start(options, MINIKV_INVALID_ARGUMENT, "discovery"));
    CHECK(refuses_to_start(member_options("c", "a", "127.0.0.1:0"), MINIKV_INVALID_ARGUMENT, "port 0"));
    CHECK(refuses_to_start(member_options("c", "a", "nowhere"), MINIKV_INVALID_ARGUMENT, "nowhere"));
    CHECK(refuses_to_start(member_options("", "a", NULL), MINIKV_INVALID_ARGUMENT, "cluster"));
    options = member_options("c", "a", NULL);
    minikv_options_set_manual_clock(options, true);
    CHECK(refuses_to_start(options, MINIKV_INVALID_ARGUMENT, "clock"));
    options = member_options("c", "a", NULL);
    minikv_options_set_failure_timeout_ms(options, 99);
    CHECK(refuses_to_start(options, MINIKV_INVALID_ARGUMENT, "failure_timeout"));
    options = member_options("c", "a", NULL);
    CHECK(minikv_options_set_failure_timeout_ms(options, -1) == MINIKV_INVALID_ARGUMENT);
    CHECK(refuses_to_start(options, MINIKV_INVALID_ARGUMENT, "failure_timeout"));
    options = member_options("c", "a", NULL);
    minikv_options_set_tls(options, "nowhere/ca.pem", "nowhere/cert.pem", "nowhere/key.pem");
    CHECK(refuses_to_start(options, MINIKV_IO, "nowhere/ca.pem"));
    kv = join("c", "a", NULL);
    CHECK(kv != NULL && endpoint_of(kv, endpoint, sizeof endpoint));
    options = member_options("c", "b", NULL);
    minikv_options_add_listen(options, endpoint);
    CHECK(refuses_to_start(options, MINIKV_IO, endpoint));
    end_registry(kv);
    return true;
}

static bool options_of_a_member_are_read_and_printed(void)
{
    static const char *const parts[] = {
        "\"cluster\":\"c\"",  "\"listen\":[\"127.0.0.1:0\",\"unix:/tmp/a.sock\"]", "\"peers\":[\"b.example:7447\"]",
        "\"discovery\":\"multicast\"", "\"failure_timeout\":\"500ms\"", "\"ca\":\"ca.pem\"", "\"cert\":\"cert.pem\"",
        "\"key\":\"key.pem\"",
    };
    minikv_error *err = NULL;
    minikv_options *options = minikv_options_new(NULL), *again = NULL;
    char *json = NULL, *same = NULL;
    size_t place;
    CHECK(minikv_options_set_cluster(options, "c") == MINIKV_OK);
    CHECK(minikv_options_add_listen(options, "127.0.0.1:0") == MINIKV_OK);
    CHECK(minikv_options_add_listen(options, "unix:/tmp/a.sock") == MINIKV_OK);
    CHECK(minikv_options_add_peer(options, "b.example:7447") == MINIKV_OK);
    CHECK(minikv_options_set_discovery_multicast(options) == MINIKV_OK);
    CHECK(minikv_options_set_failure_timeout_ms(options, 500) == MINIKV_OK);
    CHECK(minikv_options_set_tls(options, "ca.pem", "cert.pem", "key.pem") == MINIKV_OK);
    OK(minikv_options_json(options, &json, &err));
    for (place = 0; place < sizeof parts / sizeof *parts; place++) {
        if (strstr(json, parts[place]) == NULL) {
            printf("    %s lacks %s\n", json, parts[place]);
        }
        CHECK(strstr(json, parts[place]) != NULL);
    }
    OK(minikv_options_from_json(minikv_str(json), &again, &err));
    OK(minikv_options_json(again, &same, &err));
    CHECK(strcmp(json, same) == 0);
    minikv_string_free(json);
    minikv_string_free(same);
    minikv_options_free(options);
    minikv_options_free(again);
    return true;
}

static bool what_one_member_puts_the_other_has(void)
{
    minikv_error *err = NULL;
    minikv_registry *a = join("basics", "a", NULL), *b;
    minikv_watch_options *one_key = minikv_watch_options_new();
    minikv_watch *watch = NULL;
    minikv_event *event = NULL;
    minikv_member_list *members = NULL;
    minikv_stats stats;
    char endpoint[128], key[32];
    size_t count = 0;
    int number;
    CHECK(a != NULL && endpoint_of(a, endpoint, sizeof endpoint));
    CHECK(strncmp(endpoint, "127.0.0.1:", 10) == 0 && strcmp(endpoint, "127.0.0.1:0") != 0);
    minikv_watch_options_set_key(one_key, minikv_str("of no interest"));
    OK(minikv_watch_open(a, one_key, &watch, &err));
    for (number = 0; number < 1000; number++) {
        snprintf(key, sizeof key, "early:%d", number);
        OK(minikv_put_int(a, minikv_str(key), number, NULL, NULL, &err));
    }
    b = join("basics", "b", endpoint);
    CHECK(b != NULL);
    OK(minikv_count(b, minikv_str("early:"), &count, &err));
    CHECK(count == 1000);
    OK(minikv_put_int(b, minikv_str("k"), 7, NULL, NULL, &err));
    UNTIL(number_at(a, "k") == 7);
    CHECK(is_owned_by(a, "k", "b"));
    OK(minikv_delete(a, minikv_str("early:0"), NULL, NULL, &err));
    UNTIL(number_at(b, "early:0") == -1);
    UNTIL(same_digest(a, b) && members_agree(a) && members_agree(b));
    OK(minikv_members(b, &members, &err));
    CHECK(is_text(minikv_member_node(minikv_member_list_at(members, 0)), "a"));
    CHECK(!minikv_member_is_self(minikv_member_list_at(members, 0)));
    CHECK(minikv_member_is_self(minikv_member_list_at(members, 1)));
    CHECK(minikv_member_state_of(minikv_member_list_at(members, 0)) == MINIKV_MEMBER_LIVE);
    minikv_member_list_free(members);
    OK(minikv_registry_stats(a, &stats, sizeof stats, &err));
    CHECK(stats.members == 2 && stats.replicated_out > 0 && stats.replicated_in > 0 && stats.tombstones == 1);
    /* It goes: its entries pass to the other, and every watch is told. */
    end_registry(b);
    CHECK(until_event(watch, MINIKV_EVENT_MEMBER, "b", &event));
    CHECK(minikv_event_state(event) == MINIKV_MEMBER_JOINING || minikv_event_state(event) == MINIKV_MEMBER_LIVE);
    CHECK(minikv_event_key(event).ptr == NULL && minikv_event_entry(event) == NULL);
    CHECK(minikv_event_count(event) == 1 && minikv_event_owner(event).ptr == NULL);
    while (minikv_event_state(event) != MINIKV_MEMBER_LEFT) {
        minikv_event_free(event);
        CHECK(until_event(watch, MINIKV_EVENT_MEMBER, "b", &event));
    }
    minikv_event_free(event);
    CHECK(is_owned_by(a, "k", "a") && state_of(a, "b") == MINIKV_MEMBER_LEFT);
    minikv_watch_free(watch);
    minikv_watch_options_free(one_key);
    end_registry(a);
    return true;
}

static void count_up(void *user)
{
    __atomic_add_fetch((int *)user, 1, __ATOMIC_SEQ_CST);
}

static bool a_first_sync_can_be_waited_for_without_a_thread(void)
{
    minikv_error *err = NULL;
    minikv_registry *a = join("waiting", "a", NULL), *b = NULL;
    minikv_options *options;
    minikv_pending_sync *pending = NULL;
    char endpoint[128];
    bool ready = false;
    static int told;
    CHECK(a != NULL && endpoint_of(a, endpoint, sizeof endpoint));
    options = member_options("waiting", "b", endpoint);
    OK(minikv_registry_start_now(options, &b, &err));
    OK(minikv_sync_start(b, &pending, &err));
    OK(minikv_pending_sync_on_ready(pending, count_up, &told, &err));
    UNTIL(__atomic_load_n(&told, __ATOMIC_SEQ_CST) == 1);
    OK(minikv_pending_sync_wait(pending, 0, &err));
    OK(minikv_ready(b, &ready, &err));
    CHECK(ready);
    minikv_pending_sync_free(pending);
    minikv_options_free(options);
    end_registry(b);
    end_registry(a);
    CHECK(told == 1);
    return true;
}

static bool a_name_is_one_members(void)
{
    minikv_error *err = NULL;
    minikv_registry *a = join("names", "same", NULL), *b = NULL;
    minikv_options *options;
    char endpoint[128];
    CHECK(a != NULL && endpoint_of(a, endpoint, sizeof endpoint));
    CHECK(refuses_to_start(member_options("names", "same", endpoint), MINIKV_CLUSTER, "same"));
    options = member_options("names", "same", endpoint);
    OK(minikv_registry_start_now(options, &b, &err));
    FAILS(MINIKV_CLUSTER, minikv_wait_synced(b, LONG_MS, &err));
    end_registry(b);
    /* Once the first has gone, the name is free at once. */
    end_registry(a);
    OK(minikv_registry_start(options, &a, &err));
    minikv_options_free(options);
    end_registry(a);
    return true;
}

static bool a_lock_is_one_members_at_a_time(void)
{
    minikv_error *err = NULL;
    minikv_registry *a = join("locks", "a", NULL), *b;
    minikv_lock_options *wait = minikv_lock_options_new();
    minikv_guard *guard = NULL, *other = NULL;
    minikv_pending_guard *pending = NULL;
    minikv_entry *entry = NULL;
    char endpoint[128];
    uint64_t fence;
    minikv_lock_options_set_wait_ms(wait, LONG_MS);
    CHECK(a != NULL && endpoint_of(a, endpoint, sizeof endpoint));
    b = join("locks", "b", endpoint);
    CHECK(b != NULL);
    OK(minikv_put_int(a, minikv_str("k"), 1, NULL, NULL, &err));
    UNTIL(number_at(b, "k") == 1);
    OK(minikv_locked(b, minikv_str("k"), NULL, &guard, &err));
    fence = minikv_guard_fence(guard);
    FAILS(MINIKV_LOCKED, minikv_lock(a, minikv_str("k"), NULL, &entry, &err));
    OK(minikv_locked_start(a, minikv_str("k"), wait, &pending, &err));
    FAILS(MINIKV_TIMEOUT, minikv_pending_guard_wait(pending, 0, &other, &err));
    OK(minikv_guard_put_int(guard, 2, NULL, NULL, &err));
    OK(minikv_guard_release(guard, &err));
    OK(minikv_pending_guard_wait(pending, LONG_MS, &other, &err));
    CHECK(minikv_guard_fence(other) > fence);
    OK(minikv_guard_release(other, &err));
    CHECK(number_at(a, "k") == 2);
    minikv_pending_guard_free(pending);
    minikv_guard_free(guard);
    minikv_guard_free(other);
    minikv_lock_options_free(wait);
    end_registry(b);
    end_registry(a);
    return true;
}

/* Two members listen and meet there. */
static bool meet(minikv_options *first, minikv_options *second)
{
    minikv_error *err = NULL;
    minikv_registry *a = start_member(first), *b;
    char endpoint[256];
    CHECK(a != NULL && endpoint_of(a, endpoint, sizeof endpoint));
    minikv_options_add_peer(second, endpoint);
    b = start_member(second);
    CHECK(b != NULL);
    OK(minikv_put_int(a, minikv_str("k"), 1, NULL, NULL, &err));
    UNTIL(number_at(b, "k") == 1);
    OK(minikv_put_int(b, minikv_str("k"), 2, NULL, NULL, &err));
    UNTIL(number_at(a, "k") == 2);
    end_registry(b);
    end_registry(a);
    return true;
}

static bool members_meet_on_unix_sockets(void)
{
    char folder[] = "/tmp/minikv-test-XXXXXX", endpoint[2][64];
    minikv_options *options[2];
    int place;
    CHECK(mkdtemp(folder) != NULL);
    for (place = 0; place < 2; place++) {
        options[place] = member_options("sockets", place == 0 ? "a" : "b", NULL);
        snprintf(endpoint[place], sizeof *endpoint, "unix:%s/%d.sock", folder, place);
        minikv_options_add_listen(options[place], endpoint[place]);
    }
    CHECK(meet(options[0], options[1]));
    for (place = 0; place < 2; place++) {
        char lock[80];
        snprintf(lock, sizeof lock, "%s.lock", endpoint[place] + 5);
        unlink(endpoint[place] + 5);
        unlink(lock);
    }
    CHECK(rmdir(folder) == 0);
    return true;
}

static void certify(minikv_options *options, const char *authority, const char *name)
{
    const char *folder = getenv("CERTIFICATES");
    char ca[4096], cert[4096], key[4096];
    snprintf(ca, sizeof ca, "%s/%s.pem", folder == NULL ? "." : folder, authority);
    snprintf(cert, sizeof cert, "%s/%s.pem", folder == NULL ? "." : folder, name);
    snprintf(key, sizeof key, "%s/%s.key", folder == NULL ? "." : folder, name);
    minikv_options_set_tls(options, ca, cert, key);
}

static bool members_with_certificates_meet_and_strangers_do_not(void)
{
    minikv_error *err = NULL;
    minikv_options *options[2];
    minikv_registry *a, *stranger;
    char endpoint[128];
    minikv_stats stats;
    int place;
    for (place = 0; place < 2; place++) {
        options[place] = member_options("secret", place == 0 ? "a" : "b", NULL);
        certify(options[place], "ca", "member");
    }
    CHECK(meet(options[0], options[1]));
    options[0] = member_options("secret", "a", NULL);
    certify(options[0], "ca", "member");
    a = start_member(options[0]);
    CHECK(a != NULL && endpoint_of(a, endpoint, sizeof endpoint));
    OK(minikv_put_int(a, minikv_str("k"), 1, NULL, NULL, &err));
    options[1] = member_options("secret", "stranger", endpoint);
    certify(options[1], "other", "stranger");
    stranger = start_member(options[1]);
    CHECK(stranger != NULL);
    /* Turned away it is by itself, and both know it. */
    OK(minikv_registry_stats(stranger, &stats, sizeof stats, &err));
    CHECK(stats.members == 1 && stats.entries == 0 && stats.refused > 0);
    UNTIL(minikv_registry_stats(a, &stats, sizeof stats, NULL) == MINIKV_OK && stats.refused > 0);
    CHECK(state_of(a, "stranger") == MINIKV_MEMBER_NONE);
    end_registry(stranger);
    end_registry(a);
    return true;
}

static bool garbage_on_the_port_is_counted_and_disturbs_nobody(void)
{
    minikv_registry *a = join("garbage", "a", NULL), *b = NULL;
    minikv_stats before, stats;
    struct sockaddr_in address;
    char endpoint[100];
    int web = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(a != NULL && web >= 0 && endpoint_of(a, endpoint, sizeof endpoint));
    CHECK(minikv_registry_stats(a, &before, sizeof before, NULL) == MINIKV_OK);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1));
    CHECK(connect(web, (const struct sockaddr *)&address, sizeof address) == 0);
    CHECK(write(web, "GET / HTTP/1.1\r\n\r\n", 18) == 18);
    UNTIL(minikv_registry_stats(a, &stats, sizeof stats, NULL) == MINIKV_OK && stats.refused > before.refused);
    b = join("garbage", "b", endpoint);
    CHECK(b != NULL);
    close(web);
    end_registry(b);
    end_registry(a);
    return true;
}

int main(void)
{
    static const test tests[] = {
        TEST(a_registry_by_itself_is_its_own_only_member),
        TEST(wrong_options_are_refused),
        TEST(options_of_a_member_are_read_and_printed),
        TEST(what_one_member_puts_the_other_has),
        TEST(a_first_sync_can_be_waited_for_without_a_thread),
        TEST(a_name_is_one_members),
        TEST(a_lock_is_one_members_at_a_time),
        TEST(members_meet_on_unix_sockets),
        TEST(members_with_certificates_meet_and_strangers_do_not),
        TEST(garbage_on_the_port_is_counted_and_disturbs_nobody),
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
