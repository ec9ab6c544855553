/* The program that the documentation shows. */
#include <minikv.h>
#include <stdio.h>

int main(void)
{
    minikv_options *options = minikv_options_new("wallet");
    minikv_registry *kv = NULL;
    minikv_error *err = NULL; /* set only on failure, then freed by you */
    minikv_entry *entry = NULL;
    int64_t balance = 0;

    minikv_options_set_default_ttl_ms(options, 60000);
    if (minikv_registry_start(options, &kv, &err) != MINIKV_OK) {
        fprintf(stderr, "%s\n", minikv_error_message(err));
        minikv_error_free(err);
        minikv_options_free(options);
        return 1;
    }
    minikv_put_int(kv, minikv_str("balance"), 100, NULL, NULL, NULL);
    minikv_get(kv, minikv_str("balance"), &entry, NULL); /* NULL if the key is absent */
    if (minikv_entry_as_int(entry, &balance)) {
        printf("balance %lld, version %s\n", (long long)balance, minikv_entry_version(entry));
    }
    minikv_entry_free(entry);
    minikv_registry_stop(kv);
    minikv_registry_free(kv);
    minikv_options_free(options);
    return balance == 100 ? 0 : 1;
}
