/* A member of a cluster that does what it is told; README.md says how. */
#define _POSIX_C_SOURCE 200809L
#include <minikv.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_WORDS = 16, MAX_GUARDS = 64 };

typedef struct {
    char *bytes;
    size_t length, room;
} text;

/* A command, cut into its words and its options. */
typedef struct {
    char *line;
    uint64_t id;
    const char *verb;
    const char *words[MAX_WORDS];
    const char *options[MAX_WORDS];
    int word_count, option_count;
} command;

typedef struct {
    char *name;
    minikv_guard *guard;
    int told;
} guard;

static minikv_registry *kv;
static pthread_mutex_t saying = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t guarding = PTHREAD_MUTEX_INITIALIZER;
static guard guards[MAX_GUARDS];
static int guard_count;

/* The machine's monotonic clock, which all processes share. */
static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void pause_us(uint64_t us)
{
    struct timespec time;
    time.tv_sec = (time_t)(us / 1000000);
    time.tv_nsec = (long)(us % 1000000) * 1000;
    nanosleep(&time, NULL);
}

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static void add_bytes(text *out, const void *bytes, size_t length)
{
    if (out->room - out->length < length + 1) {
        out->room = 2 * (out->length + length + 1);
        out->bytes = must(realloc(out->bytes, out->room));
    }
    if (length > 0) {
        memcpy(out->bytes + out->length, bytes, length);
    }
    out->length += length;
    out->bytes[out->length] = 0;
}

/* For short pieces. */
static void add(text *out, const char *format, ...)
{
    char piece[256];
    va_list values;
    int length;
    va_start(values, format);
    length = vsnprintf(piece, sizeof piece, format, values);
    va_end(values);
    if (length < 0 || (size_t)length >= sizeof piece) {
        abort();
    }
    add_bytes(out, piece, (size_t)length);
}

static void add_string(text *out, minikv_bytes string)
{
    size_t n;
    add(out, "\"");
    for (n = 0; n < string.len; n++) {
        uint8_t byte = string.ptr[n];
        if (byte == '"' || byte == '\\' || byte < 0x20) {
            add(out, "\\u%04x", byte);
        } else {
            add_bytes(out, &byte, 1);
        }
    }
    add(out, "\"");
}

static void add_name(text *out, const char *name, const char *string)
{
    add(out, "\"%s\": ", name);
    if (string == NULL) {
        add(out, "null");
    } else {
        add_string(out, minikv_str(string));
    }
}

static void add_entry(text *out, const minikv_entry *entry)
{
    minikv_bytes value;
    uint64_t fence;
    if (entry == NULL) {
        add(out, "null");
        return;
    }
    add(out, "{\"key\": ");
    add_string(out, minikv_entry_key(entry));
    add(out, ", \"value\": ");
    if (minikv_entry_as_text(entry, &value)) {
        add_string(out, value);
    } else {
        add(out, "null");
    }
    add(out, ", \"node\": ");
    add_string(out, minikv_entry_node(entry));
    add(out, ", \"time\": \"%" PRId64 "\", \"fence\": ", minikv_entry_time(entry));
    if (minikv_entry_fence(entry, &fence)) {
        add(out, "\"%" PRIu64 "\"", fence);
    } else {
        add(out, "null");
    }
    add(out, ", \"lock\": %s}", minikv_entry_is_locked(entry) ? "true" : "false");
}

static void add_freed(text *out, minikv_entry *entry)
{
    add_entry(out, entry);
    minikv_entry_free(entry);
}

static void say(text *line)
{
    add(line, "\n");
    pthread_mutex_lock(&saying);
    /* Nobody listens any more: the end of the input will say so too. */
    (void)fwrite(line->bytes, 1, line->length, stdout);
    (void)fflush(stdout);
    pthread_mutex_unlock(&saying);
    free(line->bytes);
}

static void add_error(text *out, const minikv_error *error)
{
    add_name(out, "error", minikv_error_kind(error));
    add(out, ", ");
    add_name(out, "message", minikv_error_message(error));
}

static const char *at(const command *told, int place)
{
    return place < told->word_count ? told->words[place] : "";
}

static minikv_bytes key_of(const command *told)
{
    return minikv_str(at(told, 0));
}

static uint64_t number(const command *told, int place)
{
    return strtoull(at(told, place), NULL, 10);
}

static const char *option(const command *told, const char *name)
{
    size_t length = strlen(name);
    int n;
    for (n = 0; n < told->option_count; n++) {
        if (strncmp(told->options[n], name, length) == 0 && told->options[n][length] == '=') {
            return told->options[n] + length + 1;
        }
    }
    return NULL;
}

static int64_t number_option(const command *told, const char *name, int64_t otherwise)
{
    const char *found = option(told, name);
    return found == NULL ? otherwise : strtoll(found, NULL, 10);
}

static minikv_write_options *write_options(const command *told)
{
    minikv_write_options *options = minikv_write_options_new();
    if (option(told, "owner") != NULL) {
        minikv_write_options_set_owner(options, minikv_str(option(told, "owner")));
    }
    if (option(told, "fence") != NULL) {
        minikv_write_options_set_fence(options, strtoull(option(told, "fence"), NULL, 10));
    }
    return options;
}

static minikv_put_options *put_options(const command *told)
{
    minikv_put_options *options = minikv_put_options_new();
    if (option(told, "owner") != NULL) {
        minikv_put_options_set_owner(options, minikv_str(option(told, "owner")));
    }
    if (option(told, "fence") != NULL) {
        minikv_put_options_set_fence(options, strtoull(option(told, "fence"), NULL, 10));
    }
    return options;
}

static minikv_lock_options *lock_options(const command *told)
{
    minikv_lock_options *options = minikv_lock_options_new();
    if (option(told, "owner") != NULL) {
        minikv_lock_options_set_owner(options, minikv_str(option(told, "owner")));
    }
    if (option(told, "wait") != NULL) {
        minikv_lock_options_set_wait_ms(options, number_option(told, "wait", 0));
    }
    if (option(told, "lease") != NULL) {
        minikv_lock_options_set_lease_ms(options, number_option(told, "lease", 0));
    }
    return options;
}

static void lost(void *user)
{
    __atomic_add_fetch(&((guard *)user)->told, 1, __ATOMIC_SEQ_CST);
}

/* NULL if there is none of that name. */
static guard *named(const char *name)
{
    guard *found = NULL;
    int n;
    pthread_mutex_lock(&guarding);
    for (n = guard_count - 1; n >= 0 && found == NULL; n--) {
        if (strcmp(guards[n].name, name) == 0) {
            found = &guards[n];
        }
    }
    pthread_mutex_unlock(&guarding);
    return found;
}

static minikv_code take_guard(const command *told, text *out, minikv_error **err)
{
    minikv_lock_options *options = lock_options(told);
    minikv_guard *taken = NULL;
    minikv_code code = minikv_locked(kv, minikv_str(at(told, 1)), options, &taken, err);
    guard *kept;
    minikv_lock_options_free(options);
    if (code != MINIKV_OK) {
        return code;
    }
    pthread_mutex_lock(&guarding);
    if (guard_count == MAX_GUARDS) {
        abort();
    }
    kept = &guards[guard_count++];
    kept->name = must(strdup(at(told, 0)));
    kept->guard = taken;
    pthread_mutex_unlock(&guarding);
    add(out, "{\"fence\": \"%" PRIu64 "\"}", minikv_guard_fence(taken));
    return minikv_guard_on_lost(taken, lost, kept, err);
}

static minikv_code fill(const command *told, minikv_error **err)
{
    size_t size = (size_t)number(told, 2);
    uint64_t n, count = number(told, 1);
    char *value = must(malloc(size + 1)), key[512];
    minikv_code code = MINIKV_OK;
    memset(value, 'v', size);
    for (n = 0; n < count && code == MINIKV_OK; n++) {
        snprintf(key, sizeof key, "%s%" PRIu64, at(told, 0), n);
        code = minikv_put_text(kv, minikv_str(key), minikv_span(value, size), NULL, NULL, err);
    }
    free(value);
    return code;
}

static int by_size(const void *one, const void *other)
{
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
    return (a > b) - (a < b);
}

static minikv_code burst(const command *told, text *out, minikv_error **err)
{
    uint64_t keys = number(told, 1), rounds = number(told, 2), pause = number(told, 4), round, n;
    size_t puts = 0;
    uint64_t *took = must(malloc((size_t)(keys * rounds + 1) * sizeof *took));
    size_t room = strlen(at(told, 3)) + 32;
    char key[512], *value = must(malloc(room));
    minikv_code code = MINIKV_OK;
    for (round = 0; round < rounds && code == MINIKV_OK; round++) {
        for (n = 0; n < keys && code == MINIKV_OK; n++) {
            uint64_t began;
            snprintf(key, sizeof key, "%s%" PRIu64, at(told, 0), n);
            snprintf(value, room, "%s:%" PRIu64, at(told, 3), round);
            began = now();
            code = minikv_put_text(kv, minikv_str(key), minikv_str(value), NULL, NULL, err);
            took[puts++] = now() - began;
            if (pause > 0) {
                pause_us(pause);
            }
        }
    }
    if (code == MINIKV_OK && puts > 0) {
        qsort(took, puts, sizeof *took, by_size);
        add(out, "{\"puts\": %" PRIu64 ", \"p50\": %" PRIu64, (uint64_t)puts, took[puts / 2]);
        add(out, ", \"p99\": %" PRIu64 ", \"max\": %" PRIu64 "}", took[puts * 99 / 100], took[puts - 1]);
    }
    free(value);
    free(took);
    return code;
}

static minikv_code race(const command *told, text *out, minikv_error **err)
{
    minikv_lock_options *lock = lock_options(told);
    minikv_write_options *unlock = write_options(told);
    uint64_t n, count = number(told, 1), hold = (uint64_t)number_option(told, "hold", 0);
    minikv_code code = MINIKV_OK;
    const char *comma = "";
    char key[512];
    add(out, "[");
    for (n = 0; n < count && code == MINIKV_OK; n++) {
        minikv_entry *entry = NULL;
        uint64_t began, fence = 0;
        snprintf(key, sizeof key, "%s%" PRIu64, at(told, 0), n);
        code = minikv_lock(kv, minikv_str(key), lock, &entry, err);
        if (code == MINIKV_LOCKED) {
            minikv_error_free(*err);
            *err = NULL;
            code = MINIKV_OK;
            continue;
        }
        if (code != MINIKV_OK) {
            break;
        }
        began = now();
        if (hold > 0) {
            pause_us(hold);
        }
        (void)minikv_entry_fence(entry, &fence);
        minikv_entry_free(entry);
        add(out, "%s[%" PRIu64 ", \"%" PRIu64 "\", %" PRIu64 ", %" PRIu64 "]", comma, n, fence, began, now());
        comma = ", ";
        if (option(told, "keep") == NULL) {
            code = minikv_unlock(kv, minikv_str(key), unlock, NULL, err);
        }
    }
    add(out, "]");
    minikv_lock_options_free(lock);
    minikv_write_options_free(unlock);
    return code;
}

static minikv_code dump(const command *told, text *out, minikv_error **err)
{
    minikv_list_options *options = minikv_list_options_new();
    minikv_page *page = NULL;
    minikv_code code;
    size_t n;
    minikv_list_options_set_prefix(options, key_of(told));
    code = minikv_entries(kv, options, &page, err);
    add(out, "[");
    for (n = 0; n < minikv_page_count(page); n++) {
        add(out, n > 0 ? ", " : "");
        add_entry(out, minikv_page_entry(page, n));
    }
    add(out, "]");
    minikv_page_free(page);
    minikv_list_options_free(options);
    return code;
}

static minikv_code add_members(text *out, minikv_error **err)
{
    minikv_member_list *list = NULL;
    minikv_code code = minikv_members(kv, &list, err);
    size_t n;
    add(out, "[");
    for (n = 0; n < minikv_member_list_count(list); n++) {
        const minikv_member *member = minikv_member_list_at(list, n);
        add(out, "%s{\"node\": ", n > 0 ? ", " : "");
        add_string(out, minikv_member_node(member));
        add(out, ", ");
        add_name(out, "incarnation", minikv_member_incarnation(member));
        add(out, ", ");
        add_name(out, "state", minikv_member_state_name(minikv_member_state_of(member)));
        add(out, ", ");
        add_name(out, "digest", minikv_member_digest(member));
        add(out, ", \"lag\": %" PRIu64, minikv_member_lag(member));
        add(out, ", \"is_self\": %s", minikv_member_is_self(member) ? "true" : "false");
        add(out, ", \"namesake\": %s}", minikv_member_is_namesake(member) ? "true" : "false");
    }
    add(out, "]");
    minikv_member_list_free(list);
    return code;
}

static minikv_code add_endpoints(text *out, minikv_error **err)
{
    minikv_string_list *list = NULL;
    minikv_code code = minikv_endpoints(kv, &list, err);
    size_t n;
    add(out, "[");
    for (n = 0; n < minikv_string_list_count(list); n++) {
        add(out, n > 0 ? ", " : "");
        add_string(out, minikv_str(minikv_string_list_at(list, n)));
    }
    add(out, "]");
    minikv_string_list_free(list);
    return code;
}

static minikv_code add_stats(text *out, minikv_error **err)
{
    minikv_stats stats;
    minikv_code code = minikv_registry_stats(kv, &stats, sizeof stats, err);
    if (code == MINIKV_OK) {
        add(out, "{\"members\": %" PRIu64 ", \"repairs\": %" PRIu64, stats.members, stats.repairs);
        add(out, ", \"refused\": %" PRIu64 ", \"overflows\": %" PRIu64, stats.refused, stats.outbox_overflows);
        add(out, ", \"replicated_out\": %" PRIu64, stats.replicated_out);
        add(out, ", \"replicated_in\": %" PRIu64, stats.replicated_in);
        add(out, ", \"restarts\": %" PRIu64 "}", stats.worker_restarts);
    }
    return code;
}

/* A verb that is about a guard. */
static minikv_code run_guard(const command *told, text *out, minikv_error **err)
{
    guard *found = named(at(told, 0));
    minikv_entry *entry = NULL;
    minikv_code code;
    if (found == NULL) {
        return MINIKV_NOT_FOUND;
    }
    if (strcmp(told->verb, "guard_state") == 0) {
        add(out, "{\"lost\": %s, ", minikv_guard_is_lost(found->guard) ? "true" : "false");
        add(out, "\"told\": %d}", __atomic_load_n(&found->told, __ATOMIC_SEQ_CST));
        return MINIKV_OK;
    }
    if (strcmp(told->verb, "guard_release") == 0) {
        return minikv_guard_release(found->guard, err);
    }
    code = minikv_guard_put_text(found->guard, minikv_str(at(told, 1)), NULL, &entry, err);
    add_freed(out, entry);
    return code;
}

/* What has no result leaves `out` empty. */
static minikv_code run(const command *told, text *out, minikv_error **err)
{
    const char *verb = told->verb;
    minikv_bytes key = key_of(told);
    minikv_entry *entry = NULL;
    minikv_code code;
    if (strcmp(verb, "get") == 0) {
        code = minikv_get(kv, key, &entry, err);
        add_freed(out, entry);
    } else if (strcmp(verb, "put") == 0) {
        minikv_put_options *options = put_options(told);
        code = minikv_put_text(kv, key, minikv_str(at(told, 1)), options, &entry, err);
        minikv_put_options_free(options);
        add_freed(out, entry);
    } else if (strcmp(verb, "delete") == 0 || strcmp(verb, "unlock") == 0) {
        minikv_write_options *options = write_options(told);
        code = *verb == 'd' ? minikv_delete(kv, key, options, &entry, err) : minikv_unlock(kv, key, options, &entry, err);
        minikv_write_options_free(options);
        add_freed(out, entry);
    } else if (strcmp(verb, "lock") == 0) {
        minikv_lock_options *options = lock_options(told);
        code = minikv_lock(kv, key, options, &entry, err);
        minikv_lock_options_free(options);
        add_freed(out, entry);
    } else if (strcmp(verb, "guard") == 0) {
        code = take_guard(told, out, err);
    } else if (strncmp(verb, "guard_", 6) == 0) {
        code = run_guard(told, out, err);
    } else if (strcmp(verb, "members") == 0) {
        code = add_members(out, err);
    } else if (strcmp(verb, "endpoints") == 0) {
        code = add_endpoints(out, err);
    } else if (strcmp(verb, "digest") == 0) {
        char *digest = NULL;
        code = minikv_digest(kv, &digest, err);
        add_string(out, minikv_str(digest));
        minikv_string_free(digest);
    } else if (strcmp(verb, "count") == 0) {
        size_t count = 0;
        code = minikv_count(kv, key, &count, err);
        add(out, "%" PRIu64, (uint64_t)count);
    } else if (strcmp(verb, "waiters") == 0) {
        minikv_stats stats;
        code = minikv_registry_stats(kv, &stats, sizeof stats, err);
        add(out, "%" PRIu64, code == MINIKV_OK ? stats.waiters : 0);
    } else if (strcmp(verb, "sync") == 0) {
        code = minikv_wait_synced(kv, (int64_t)number(told, 0), err);
    } else if (strcmp(verb, "stats") == 0) {
        code = add_stats(out, err);
    } else if (strcmp(verb, "dump") == 0) {
        code = dump(told, out, err);
    } else if (strcmp(verb, "fill") == 0) {
        code = fill(told, err);
    } else if (strcmp(verb, "burst") == 0) {
        code = burst(told, out, err);
    } else if (strcmp(verb, "race") == 0) {
        code = race(told, out, err);
    } else if (strcmp(verb, "stop") == 0) {
        code = minikv_registry_stop(kv);
    } else {
        code = MINIKV_INVALID_ARGUMENT;
    }
    return code;
}

static void answer(const command *told)
{
    text out = {NULL, 0, 0}, line = {NULL, 0, 0};
    minikv_error *error = NULL;
    uint64_t began = now(), ended;
    minikv_code code = run(told, &out, &error);
    ended = now();
    add(&line, "{\"id\": %" PRIu64 ", ", told->id);
    if (code == MINIKV_OK) {
        add(&line, "\"ok\": ");
        if (out.length == 0) {
            add(&line, "null");
        } else {
            add_bytes(&line, out.bytes, out.length);
        }
    } else if (error != NULL) {
        add_error(&line, error);
    } else {
        /* This program's own: no such guard, no such verb. */
        add(&line, "\"error\": \"%s\", \"message\": \"there is none\"", minikv_code_name(code));
    }
    add(&line, ", \"began\": %" PRIu64 ", \"ended\": %" PRIu64 "}", began, ended);
    minikv_error_free(error);
    free(out.bytes);
    say(&line);
}

/* Adds a word, or an option. */
static void note(command *told, const char *word)
{
    if (told->word_count == MAX_WORDS || told->option_count == MAX_WORDS) {
        abort();
    }
    if (strchr(word, '=') != NULL) {
        told->options[told->option_count++] = word;
    } else {
        told->words[told->word_count++] = word;
    }
}

static void free_command(command *told)
{
    free(told->line);
    free(told);
}

static void *answer_beside(void *user)
{
    answer(user);
    free_command(user);
    return NULL;
}

static void obey(const char *line)
{
    command *told = must(calloc(1, sizeof *told));
    char *rest = NULL, *word;
    int beside = 0;
    told->line = must(strdup(line));
    word = strtok_r(told->line, " \n", &rest);
    told->id = word == NULL ? 0 : strtoull(word, NULL, 10);
    word = strtok_r(NULL, " \n", &rest);
    if (word != NULL && strcmp(word, "&") == 0) {
        beside = 1;
        word = strtok_r(NULL, " \n", &rest);
    }
    told->verb = word == NULL ? "" : word;
    while ((word = strtok_r(NULL, " \n", &rest)) != NULL) {
        note(told, word);
    }
    if (beside) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, answer_beside, told) != 0) {
            abort();
        }
        pthread_detach(thread);
    } else {
        answer(told);
        free_command(told);
    }
}

static void add_each(minikv_options *options, const char *list,
                     minikv_code (*add_one)(minikv_options *, const char *))
{
    char *all = must(strdup(list == NULL ? "" : list)), *rest = NULL, *one;
    for (one = strtok_r(all, ",", &rest); one != NULL; one = strtok_r(NULL, ",", &rest)) {
        add_one(options, one);
    }
    free(all);
}

static void set_tls(minikv_options *options, const char *files)
{
    char *all = must(strdup(files)), *rest = NULL;
    const char *ca = strtok_r(all, ",", &rest);
    const char *cert = strtok_r(NULL, ",", &rest);
    const char *key = strtok_r(NULL, ",", &rest);
    minikv_options_set_tls(options, ca, cert, key);
    free(all);
}

int main(int count, char **arguments)
{
    command given = {0};
    minikv_options *options = minikv_options_new(NULL);
    minikv_error *error = NULL;
    text line = {NULL, 0, 0};
    minikv_code code;
    char *input = NULL;
    size_t room = 0;
    int n;
    for (n = 1; n < count; n++) {
        note(&given, arguments[n]);
    }
    minikv_options_set_node(options, option(&given, "node"));
    minikv_options_set_cluster(options, option(&given, "cluster"));
    add_each(options, option(&given, "listen"), minikv_options_add_listen);
    add_each(options, option(&given, "peers"), minikv_options_add_peer);
    if (option(&given, "failure") != NULL) {
        minikv_options_set_failure_timeout_ms(options, number_option(&given, "failure", 0));
    }
    if (option(&given, "discovery") != NULL) {
        minikv_options_set_discovery_multicast(options);
    }
    if (option(&given, "tls") != NULL) {
        set_tls(options, option(&given, "tls"));
    }
    code = minikv_registry_start(options, &kv, &error);
    minikv_options_free(options);
    add(&line, "{");
    if (code != MINIKV_OK) {
        add_error(&line, error);
        add(&line, "}");
        say(&line);
        return 1;
    }
    add(&line, "\"endpoints\": ");
    if (add_endpoints(&line, &error) != MINIKV_OK) {
        return 1;
    }
    add(&line, "}");
    say(&line);
    while (getline(&input, &room, stdin) > 0) {
        obey(input);
    }
    free(input);
    exit(0);
}
