/* Nanoseconds a hot get from C: rows-c ROW STORE ENTRIES. */
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

int main(int count, char **arguments) {
    static char keys[HOT][32];
    const char *value = "0000000000000000000000000000000000000000";
    long entries = count > 3 ? atol(arguments[3]) : HOT;
    unsigned long long seed = 42, seen = 0;
    minikv_registry *kv = NULL;
    double started;
    minikv_options *options = minikv_options_new(NULL);
    if (minikv_registry_start(options, &kv, NULL) != MINIKV_OK) return 1;
    minikv_options_free(options);
    for (long number = 0; number < entries; number++) {
        char key[32];
        snprintf(key, sizeof key, "session:%012ld", number);
        minikv_put_text(kv, minikv_str(key), minikv_str(value), NULL, NULL, NULL);
        if (number < HOT) snprintf(keys[number], sizeof keys[number], "%s", key);
    }
    started = now();
    for (int call = 0; call < CALLS; call++) {
        minikv_entry *entry = NULL;
        minikv_bytes text = {NULL, 0};
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        minikv_get(kv, minikv_str(keys[(seed >> 33) % HOT]), &entry, NULL);
        minikv_entry_as_text(entry, &text);
        seen += text.len;
        minikv_entry_free(entry);
    }
    printf("%f\n", (now() - started) / CALLS);
    minikv_registry_free(kv);
    return seen == 0;
}
