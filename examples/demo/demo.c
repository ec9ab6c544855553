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
    return minikv_entry_type(entry) == MINIKV_TYPE_MAP;
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
