/* A tour of minikv: a registry, values, ttls, locks, watches. The last argument NULL: no error wanted. */
#include <minikv.h>
#include <stdio.h>
#define KEY minikv_str

int main(void)
{
    minikv_options *options = minikv_options_new("tour");
    minikv_put_options *brief = minikv_put_options_new();
    minikv_lock_options *worker = minikv_lock_options_new();
    minikv_watch_options *users = minikv_watch_options_new();
    minikv_list_options *listed = minikv_list_options_new();
    minikv_registry *kv = NULL;
    minikv_error *err = NULL;
    minikv_entry *entry = NULL;
    minikv_guard *held = NULL;
    minikv_watch *watch = NULL;
    minikv_page *page = NULL;
    int64_t balance = 0;
    minikv_options_set_default_ttl_ms(options, 60000);
    if (minikv_registry_start(options, &kv, &err) != MINIKV_OK) {
        return fprintf(stderr, "%s\n", minikv_error_message(err)), 1;
    }
    minikv_put_int(kv, KEY("balance"), 100, NULL, NULL, NULL);
    minikv_get(kv, KEY("balance"), &entry, NULL); /* NULL if it were absent */
    minikv_entry_as_int(entry, &balance);
    printf("balance: %d %s\n", (int)balance, minikv_type_name(minikv_entry_type(entry)));
    minikv_put_options_set_ttl_ms(brief, 5000);
    minikv_put_text(kv, KEY("session"), minikv_str("abc"), brief, NULL, NULL);

    minikv_lock_options_set_owner(worker, minikv_str("worker-1")); /* the lock is theirs: */
    minikv_locked(kv, KEY("balance"), worker, &held, NULL);
    if (minikv_put_int(kv, KEY("balance"), 0, NULL, NULL, &err) != MINIKV_OK) {
        printf("refused: %s\n", minikv_error_kind(err));
    }
    minikv_guard_put_int(held, 90, NULL, NULL, NULL);
    minikv_guard_free(held);
    minikv_incr(kv, KEY("visits"), 1, NULL, NULL, NULL);

    minikv_watch_options_set_prefix(users, minikv_str("user:"));
    minikv_watch_open(kv, users, &watch, NULL);
    minikv_put_json(kv, KEY("user:1"), minikv_str("{\"name\": \"ann\"}"), NULL, NULL, NULL);
    minikv_delete(kv, KEY("user:1"), NULL, NULL, NULL);
    for (minikv_event *event = NULL; minikv_watch_try_next(watch, &event, NULL) == MINIKV_OK && event != NULL;) {
        minikv_bytes key = minikv_event_key(event);
        printf("event: %s %.*s\n", minikv_event_type_name(minikv_event_type_of(event)), (int)key.len, (const char *)key.ptr);
        minikv_event_free(event);
    }
    minikv_list_options_set_prefix(listed, minikv_str("vis"));
    minikv_keys(kv, listed, &page, NULL);
    printf("keys: %d, first %.*s\n", (int)minikv_page_count(page), (int)minikv_page_key(page, 0).len, (const char *)minikv_page_key(page, 0).ptr);

    minikv_page_free(page), minikv_watch_free(watch), minikv_entry_free(entry), minikv_error_free(err);
    minikv_put_options_free(brief), minikv_lock_options_free(worker), minikv_options_free(options);
    minikv_watch_options_free(users), minikv_list_options_free(listed);
    minikv_registry_stop(kv), minikv_registry_free(kv);
    return 0;
}
