/* demo NODE INPUT ITEMS PAUSE_MS [PEER...]: a member of the demo's cluster. The same program in four languages.

   The first member has no peers and puts the lines of the input as items. Every member claims items with
   lock, counts their words and finishes them with put; what it does it writes to standard output,
   what to do comes from standard input: "go", then "report MEMBERS". At the end of that it leaves. */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <minikv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Claims of a member that was killed are free after twice the failure timeout. */
enum { FAILURE_TIMEOUT_MS = 500, PATIENCE_MS = 30000, LOOK_MS = 20, CAPACITY = 1048576 };

static minikv_registry *kv;
static minikv_error *err;
static const char *node;
static double pause_ms;

static void die(const char *what)
{
    fprintf(stderr, "demo: %s: %s\n", what, err != NULL ? minikv_error_message(err) : "failed");
    exit(1);
}

static void ok(minikv_code code, const char *what)
{
    if (code != MINIKV_OK) {
        die(what);
    }
}

/* Whether it succeeded; if not, whether the error is one of two that pass. */
static bool passes(minikv_code code, minikv_code passing, minikv_code other, const char *what)
{
    if (code != MINIKV_OK && code != passing && code != other) {
        die(what);
    }
    minikv_error_free(err);
    err = NULL;
    return code == MINIKV_OK;
}

static void sleep_ms(double ms)
{
    struct timespec time;
    time.tv_sec = (time_t)(ms / 1000);
    time.tv_nsec = (long)((ms - 1000.0 * (double)time.tv_sec) * 1e6);
    nanosleep(&time, NULL);
}

/* Each item is the line itself until it is finished. */
static void load(const char *path, long items)
{
    FILE *file = fopen(path, "rb");
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    long number;
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    for (number = 0; number < items && (length = getline(&line, &room, file)) >= 0; number++) {
        minikv_bytes text;
        char key[32];
        if (length > 0 && line[length - 1] == '\n') {
            length--;
        }
        text = minikv_span(line, (size_t)length);
        snprintf(key, sizeof key, "item:%06ld", number);
        if (!passes(minikv_put_text(kv, minikv_str(key), text, NULL, NULL, &err), MINIKV_INVALID_VALUE, MINIKV_OK, "put")) {
            ok(minikv_put_bytes(kv, minikv_str(key), text, NULL, NULL, &err), "put"); /* not UTF-8 */
        }
    }
    free(line);
    fclose(file);
}

static bool is_finished(const minikv_entry *entry)
{
    return minikv_entry_type(entry) == MINIKV_MAP;
}

/* How many runs of bytes other than space and tab there are. */
static int words(const minikv_entry *entry)
{
    minikv_bytes line;
    int words = 0;
    bool within = false;
    size_t place;
    if (!minikv_entry_as_text(entry, &line) && !minikv_entry_as_bytes(entry, &line)) {
        die("an item is no line");
    }
    for (place = 0; place < line.len; place++) {
        bool blank = line.ptr[place] == ' ' || line.ptr[place] == '\t';
        words += !blank && !within;
        within = !blank;
    }
    return words;
}

/* Puts the result under the fence. */
static minikv_code finish(const char *key, const minikv_entry *entry, uint64_t fence)
{
    minikv_put_options *put = minikv_put_options_new();
    minikv_code code;
    char value[128];
    minikv_put_options_set_fence(put, fence);
    printf("claim %s %" PRIu64 "\n", key, fence);
    sleep_ms(pause_ms);
    snprintf(value, sizeof value, "{\"by\": \"%s\", \"fence\": %" PRIu64 ", \"words\": %d}", node, fence, words(entry));
    code = minikv_put_json(kv, minikv_str(key), minikv_str(value), put, NULL, &err);
    if (code == MINIKV_OK) {
        printf("done %s %" PRIu64 "\n", key, fence);
    }
    minikv_put_options_free(put);
    return code;
}

/* Finishes an item, unless somebody else has it. False: it has to be looked at again. */
static bool settle(const char *key, int64_t wait_ms)
{
    minikv_lock_options *lock = minikv_lock_options_new();
    minikv_write_options *unlock = minikv_write_options_new();
    minikv_entry *entry = NULL;
    bool settled = false;
    minikv_lock_options_set_wait_ms(lock, wait_ms);
    /* MINIKV_CLUSTER: whoever gives locks died just now, and another takes over. */
    if (passes(minikv_lock(kv, minikv_str(key), lock, &entry, &err), MINIKV_LOCKED, MINIKV_CLUSTER, "lock")) {
        uint64_t fence = 0;
        minikv_code code;
        if (!minikv_entry_fence(entry, &fence)) {
            die("a lock without a fence");
        }
        minikv_write_options_set_fence(unlock, fence);
        code = is_finished(entry) ? MINIKV_OK : finish(key, entry, fence);
        if (code == MINIKV_OK) {
            code = minikv_unlock(kv, minikv_str(key), unlock, NULL, &err);
        }
        settled = passes(code, MINIKV_LOCKED, MINIKV_STALE_FENCE, "finish");
        if (!settled) {
            /* The others took this member for dead: whoever has the item now finishes it. */
            printf("lost %s %" PRIu64 "\n", key, fence);
        }
    }
    minikv_entry_free(entry);
    minikv_write_options_free(unlock);
    minikv_lock_options_free(lock);
    return settled;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void work(minikv_list_options *all)
{
    minikv_page *page = NULL;
    size_t count, left, place;
    int64_t wait_ms = 0;
    char **keys;
    ok(minikv_keys(kv, all, &page, &err), "keys");
    count = minikv_page_count(page);
    keys = malloc((count + 1) * sizeof *keys);
    for (place = 0; place < count; place++) {
        minikv_bytes key = minikv_page_key(page, place);
        keys[place] = strndup((const char *)key.ptr, key.len);
    }
    minikv_page_free(page);
    qsort(keys, count, sizeof *keys, by_name);
    /* At first without waiting; what others have claimed then is waited for: they finish it, or die. */
    while (count > 0) {
        for (place = left = 0; place < count; place++) {
            minikv_entry *seen = NULL;
            ok(minikv_get(kv, minikv_str(keys[place]), &seen, &err), "get");
            if (!is_finished(seen) && ((minikv_entry_is_locked(seen) && wait_ms == 0) || !settle(keys[place], wait_ms))) {
                keys[left++] = keys[place];
            } else {
                free(keys[place]);
            }
            minikv_entry_free(seen);
        }
        count = left;
        wait_ms = FAILURE_TIMEOUT_MS;
    }
    free(keys);
    puts("over");
}

/* Whether so many live members hold the same. */
static bool agree(const minikv_member_list *members, size_t wanted)
{
    const char *digest = NULL;
    size_t place, live = 0;
    for (place = 0; place < minikv_member_list_count(members); place++) {
        const minikv_member *member = minikv_member_list_at(members, place);
        const char *its = minikv_member_digest(member);
        if (minikv_member_state_of(member) != MINIKV_MEMBER_LIVE) {
            continue;
        }
        if (its == NULL || (digest != NULL && strcmp(its, digest) != 0)) {
            return false;
        }
        digest = its;
        live++;
    }
    return live == wanted;
}

static void tell_members(size_t wanted)
{
    minikv_member_list *members = NULL;
    int waited = 0;
    size_t place;
    for (;;) {
        ok(minikv_members(kv, &members, &err), "members");
        if (agree(members, wanted)) {
            break;
        }
        if (waited >= PATIENCE_MS) {
            die("the members do not agree");
        }
        minikv_member_list_free(members);
        sleep_ms(LOOK_MS);
        waited += LOOK_MS;
    }
    for (place = 0; place < minikv_member_list_count(members); place++) {
        const minikv_member *member = minikv_member_list_at(members, place);
        minikv_bytes name = minikv_member_node(member);
        if (minikv_member_state_of(member) == MINIKV_MEMBER_LIVE) {
            printf("member %.*s %s %s\n", (int)name.len, (const char *)name.ptr, minikv_member_incarnation(member), minikv_member_digest(member));
        }
    }
    minikv_member_list_free(members);
}

static void tell_items(minikv_list_options *all)
{
    minikv_page *page = NULL;
    size_t place;
    ok(minikv_entries(kv, all, &page, &err), "entries");
    for (place = 0; place < minikv_page_count(page); place++) {
        minikv_bytes key = minikv_page_key(page, place), by;
        const minikv_value *item = minikv_entry_value(minikv_page_entry(page, place));
        int64_t fence, counted;
        if (!minikv_value_as_text(minikv_value_get(item, minikv_str("by")), &by) ||
            !minikv_value_as_int(minikv_value_get(item, minikv_str("fence")), &fence) ||
            !minikv_value_as_int(minikv_value_get(item, minikv_str("words")), &counted)) {
            die("an item is not finished");
        }
        printf("item %.*s %.*s %" PRId64 " %" PRId64 "\n", (int)key.len, (const char *)key.ptr, (int)by.len, (const char *)by.ptr, fence, counted);
    }
    minikv_page_free(page);
}

/* Waits until so many live members hold the same, then tells what that is, and what was seen on the way. */
static void report(minikv_list_options *all, minikv_watch *watch, size_t members)
{
    minikv_event *event = NULL;
    char *digest = NULL;
    tell_members(members);
    ok(minikv_digest(kv, &digest, &err), "digest");
    printf("digest %s\n", digest);
    minikv_string_free(digest);
    tell_items(all);
    /* Every finished item that arrived here since the start, a second time if there was one. */
    for (;;) {
        ok(minikv_watch_try_next(watch, &event, &err), "watch");
        if (event == NULL) {
            break;
        }
        if (minikv_event_type_of(event) == MINIKV_EVENT_LAGGED) {
            die("the watch was too slow");
        }
        if (minikv_event_type_of(event) == MINIKV_EVENT_PUT && is_finished(minikv_event_entry(event))) {
            minikv_bytes key = minikv_event_key(event);
            printf("saw %.*s\n", (int)key.len, (const char *)key.ptr);
        }
        minikv_event_free(event);
    }
    puts("end");
}

static void start(int peers, char **endpoints)
{
    minikv_options *options = minikv_options_new("demo");
    int place;
    ok(minikv_options_set_cluster(options, "demo"), "cluster");
    ok(minikv_options_set_node(options, node), "node");
    ok(minikv_options_set_failure_timeout_ms(options, FAILURE_TIMEOUT_MS), "failure timeout");
    for (place = 0; place < peers; place++) {
        ok(minikv_options_add_peer(options, endpoints[place]), endpoints[place]);
    }
    ok(minikv_registry_start(options, &kv, &err), "start");
    ok(minikv_wait_synced(kv, PATIENCE_MS, &err), "wait until synced");
    minikv_options_free(options);
}

static void tell_ready(void)
{
    minikv_string_list *endpoints = NULL;
    minikv_member_list *members = NULL;
    size_t place = 0;
    ok(minikv_endpoints(kv, &endpoints, &err), "endpoints");
    ok(minikv_members(kv, &members, &err), "members");
    while (place < minikv_member_list_count(members) && !minikv_member_is_self(minikv_member_list_at(members, place))) {
        place++;
    }
    printf("ready %s %s\n", minikv_string_list_at(endpoints, 0), minikv_member_incarnation(minikv_member_list_at(members, place)));
    minikv_member_list_free(members);
    minikv_string_list_free(endpoints);
}

int main(int argc, char **argv)
{
    minikv_list_options *all = minikv_list_options_new();
    minikv_watch_options *items = minikv_watch_options_new();
    minikv_watch *watch = NULL;
    char line[64];
    unsigned long members;
    if (argc < 5) {
        fputs("usage: demo NODE INPUT ITEMS PAUSE_MS [PEER...]\n", stderr);
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    node = argv[1];
    pause_ms = strtod(argv[4], NULL);
    start(argc - 5, argv + 5);
    if (argc == 5) {
        load(argv[2], strtol(argv[3], NULL, 10));
    }
    ok(minikv_list_options_set_prefix(all, minikv_str("item:")), "prefix");
    ok(minikv_watch_options_set_prefix(items, minikv_str("item:")), "prefix");
    ok(minikv_watch_options_set_capacity(items, CAPACITY), "capacity");
    ok(minikv_watch_open(kv, items, &watch, &err), "watch");
    tell_ready();
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strcmp(line, "go\n") == 0) {
            work(all);
        } else if (sscanf(line, "report %lu", &members) == 1) {
            report(all, watch, members);
        } else {
            die(line);
        }
    }
    minikv_watch_free(watch);
    minikv_watch_options_free(items);
    minikv_list_options_free(all);
    minikv_registry_stop(kv);
    minikv_registry_free(kv);
    return 0;
}
