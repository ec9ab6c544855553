/* Nanoseconds a hot read from C: rows-c ROW STORE ENTRIES, c-get by a handle, c-view by a view. */
#define _POSIX_C_SOURCE 200809L
#include <minikv.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { HOT = 1000, CALLS = 3000000 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static size_t get(const minikv_registry *kv, minikv_bytes key) {
    minikv_entry *entry = NULL;
    minikv_bytes text = {NULL, 0};
    minikv_get(kv, key, &entry, NULL);
    minikv_entry_as_text(entry, &text);
    minikv_entry_free(entry);
    return text.len;
}

static size_t view(const minikv_registry *kv, minikv_bytes key) {
    minikv_view view;
    bool found;
    size_t length;
    minikv_view_get(kv, key, &view, &found, NULL);
    length = view.bytes.len;
    minikv_view_free(&view);
    return length;
}

int main(int count, char **arguments) {
    static char keys[HOT][32];
    /* Their lengths are known, as in the other languages. */
    static minikv_bytes spans[HOT];
    const char *value = "0000000000000000000000000000000000000000";
    long entries = count > 3 ? atol(arguments[3]) : HOT;
    unsigned long long seed = 42, seen = 0;
    size_t (*read_one)(const minikv_registry *, minikv_bytes) = NULL;
    minikv_registry *kv = NULL;
    double started;
    minikv_options *options = minikv_options_new(NULL);
    if (count > 1 && strcmp(arguments[1], "c-get") == 0) read_one = get;
    if (count > 1 && strcmp(arguments[1], "c-view") == 0) read_one = view;
    if (read_one == NULL) return 2;
    if (minikv_registry_start(options, &kv, NULL) != MINIKV_OK) return 1;
    minikv_options_free(options);
    for (long number = 0; number < entries; number++) {
        char key[32];
        snprintf(key, sizeof key, "session:%012ld", number);
        minikv_put_text(kv, minikv_str(key), minikv_str(value), NULL, NULL, NULL);
        if (number < HOT) {
            snprintf(keys[number], sizeof keys[number], "%s", key);
            spans[number] = minikv_str(keys[number]);
        }
    }
    started = now();
    for (int call = 0; call < CALLS; call++) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        seen += read_one(kv, spans[(seed >> 33) % HOT]);
    }
    printf("%f\n", (now() - started) / CALLS);
    minikv_registry_free(kv);
    return seen == 0;
}
