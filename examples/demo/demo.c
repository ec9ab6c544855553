/* demo INPUT: puts the lines of a file, counts their words under locks, waits for tickets to expire.
   Prints one line of JSON; the progress goes to stderr. */
#define _POSIX_C_SOURCE 200809L
#include <minikv.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { HOUR_MS = 3600000, TICKET_MS = 300, PATIENCE_S = 30, CAPACITY = 1048576 };

typedef struct {
    unsigned char *bytes;
    size_t length;
    minikv_bytes *lines;
    size_t count;
} input;

static minikv_registry *kv;
static minikv_error *err;

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

static void *needed(void *memory)
{
    if (memory == NULL) {
        die("memory");
    }
    return memory;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* A bar that is rewritten in place, or one line for each phase where nobody looks. */
static void progress(const char *phase, size_t done, size_t total)
{
    static const char full[] = "####################", empty[] = "--------------------";
    static int shown = -1;
    int percent = total == 0 ? 100 : (int)(done * 100 / total), terminal = isatty(STDERR_FILENO);
    if (done == 0) {
        shown = -1;
    }
    if (percent == shown || (!terminal && percent < 100)) {
        return;
    }
    shown = percent;
    fprintf(stderr, "%s%-6s %-6s [%.*s%.*s] %3d%%%s", terminal ? "\r" : "", "C", phase, percent / 5, full,
            20 - percent / 5, empty, percent, percent == 100 ? "\n" : "");
}

static minikv_bytes key_of(const char *kind, size_t number)
{
    static char key[64];
    snprintf(key, sizeof key, "%s:%06lu", kind, (unsigned long)number);
    return minikv_str(key);
}

static input read_input(const char *path)
{
    input input = {NULL, 0, NULL, 0};
    FILE *file = fopen(path, "rb");
    size_t room = 0, read, start = 0, at;
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    do {
        room = room * 2 + 65536;
        input.bytes = needed(realloc(input.bytes, room));
        read = fread(input.bytes + input.length, 1, room - input.length, file);
        input.length += read;
    } while (input.length == room);
    if (ferror(file)) {
        perror(path);
        exit(1);
    }
    fclose(file);
    input.lines = needed(malloc((input.length + 1) * sizeof *input.lines));
    for (at = 0; at <= input.length; at++) {
        if (at == input.length ? at > start : input.bytes[at] == '\n') {
            input.lines[input.count++] = minikv_span(input.bytes + start, at - start);
            start = at + 1;
        }
    }
    return input;
}

/* {"text": line, "words": words}; without words if they are negative. */
static minikv_value *line_value(minikv_bytes line, int64_t words)
{
    int as_bytes;
    for (as_bytes = 0; as_bytes < 2; as_bytes++) {
        minikv_value *value = needed(minikv_value_new());
        minikv_value_begin_map(value);
        minikv_value_add_key(value, minikv_str("text"));
        if (as_bytes) {
            minikv_value_add_bytes(value, line);
        } else if (minikv_value_add_text(value, line) == MINIKV_INVALID_VALUE) {
            minikv_value_free(value); /* not UTF-8 */
            continue;
        }
        if (words >= 0) {
            minikv_value_add_key(value, minikv_str("words"));
            minikv_value_add_int(value, words);
        }
        minikv_value_end(value);
        return value;
    }
    die("value");
    return NULL;
}

static size_t put(const input *input)
{
    minikv_put_options *hour = minikv_put_options_new(), *brief = minikv_put_options_new();
    size_t place, tickets = 0;
    minikv_put_options_set_ttl_ms(hour, HOUR_MS);
    minikv_put_options_set_ttl_ms(brief, TICKET_MS);
    progress("put", 0, input->count);
    for (place = 0; place < input->count; place++) {
        minikv_value *value = line_value(input->lines[place], -1);
        ok(minikv_put_value(kv, key_of("line", place), value, hour, NULL, &err), "put");
        if (place % 4 == 0) {
            ok(minikv_put_int(kv, key_of("ticket", place), (int64_t)place, brief, NULL, &err), "put");
            tickets++;
        }
        minikv_value_free(value);
        progress("put", place + 1, input->count);
    }
    minikv_put_options_free(hour);
    minikv_put_options_free(brief);
    return tickets;
}

/* How many runs of bytes other than space and tab there are. */
static int64_t words_of(minikv_bytes line)
{
    int64_t words = 0;
    size_t place;
    for (place = 0; place < line.len; place++) {
        int blank = line.ptr[place] == ' ' || line.ptr[place] == '\t';
        int after_blank = place == 0 || line.ptr[place - 1] == ' ' || line.ptr[place - 1] == '\t';
        words += !blank && after_blank;
    }
    return words;
}

static void work(const input *input)
{
    minikv_put_options *keep = minikv_put_options_new();
    size_t place;
    minikv_put_options_set_keep_ttl(keep, true);
    progress("work", 0, input->count);
    for (place = 0; place < input->count; place++) {
        minikv_guard *held = NULL;
        minikv_entry *entry = NULL;
        minikv_value *value;
        minikv_bytes text;
        const minikv_value *stored;
        ok(minikv_locked(kv, key_of("line", place), NULL, &held, &err), "lock");
        ok(minikv_guard_get(held, &entry, &err), "get");
        stored = minikv_value_get(minikv_entry_value(entry), minikv_str("text"));
        if (!minikv_value_as_text(stored, &text) && !minikv_value_as_bytes(stored, &text)) {
            die("a line is gone");
        }
        value = line_value(text, words_of(text));
        ok(minikv_guard_put_value(held, value, keep, NULL, &err), "put");
        ok(minikv_guard_release(held, &err), "release");
        minikv_value_free(value);
        minikv_entry_free(entry);
        minikv_guard_free(held);
        progress("work", place + 1, input->count);
    }
    minikv_put_options_free(keep);
}

/* Reads events until all tickets have expired, then what is queued already; counts the locks among them. */
static size_t expire(minikv_watch *watch, size_t tickets, size_t *expired)
{
    double deadline = now() + PATIENCE_S;
    size_t locks = 0;
    progress("expire", 0, tickets);
    for (;;) {
        minikv_event *event = NULL;
        double left = deadline - now();
        bool waiting = *expired < tickets;
        if (waiting) {
            ok(minikv_watch_next(watch, left > 0 ? (int64_t)(left * 1000) : 0, &event, &err), "waiting for tickets");
        } else {
            ok(minikv_watch_try_next(watch, &event, &err), "watch");
        }
        if (event == NULL && !waiting) {
            return locks;
        }
        switch (minikv_event_type_of(event)) {
        case MINIKV_EVENT_EXPIRE:
            ++*expired;
            progress("expire", *expired, tickets);
            break;
        case MINIKV_EVENT_LOCK:
            locks++;
            break;
        case MINIKV_EVENT_LAGGED:
        case MINIKV_EVENT_NONE:
            die("events were lost, or the watch has ended");
            break;
        default:
            break;
        }
        minikv_event_free(event);
    }
}

int main(int argc, char **argv)
{
    minikv_options *options = minikv_options_new("demo");
    minikv_watch_options *everything = minikv_watch_options_new();
    minikv_watch *watch = NULL;
    char *digest = NULL;
    size_t tickets, locks, expired = 0, entries = 0;
    double started = now();
    input input;
    if (argc != 2) {
        fputs("usage: demo INPUT\n", stderr);
        return 1;
    }
    input = read_input(argv[1]);
    minikv_watch_options_set_capacity(everything, CAPACITY);
    ok(minikv_registry_start(options, &kv, &err), "start");
    ok(minikv_watch_open(kv, everything, &watch, &err), "watch");
    tickets = put(&input);
    work(&input);
    locks = expire(watch, tickets, &expired);
    ok(minikv_count(kv, minikv_str("line:"), &entries, &err), "count");
    ok(minikv_digest(kv, &digest, &err), "digest");
    printf("{\"language\": \"C\", \"entries\": %lu, \"locks\": %lu, \"expired\": %lu, \"seconds\": %.3f, \"digest\": \"%s\"}\n",
           (unsigned long)entries, (unsigned long)locks, (unsigned long)expired, now() - started, digest);
    minikv_string_free(digest);
    minikv_watch_free(watch);
    minikv_watch_options_free(everything);
    minikv_options_free(options);
    minikv_registry_stop(kv);
    minikv_registry_free(kv);
    free(input.lines);
    free(input.bytes);
    return 0;
}
