// The header in C++17.
#include "test.h"

#include <string>

static int32_t append(void *user, const minikv_entry *present, minikv_value *value)
{
    minikv_bytes text{nullptr, 0};
    minikv_entry_as_text(present, &text);
    std::string both(reinterpret_cast<const char *>(text.ptr), text.len);
    both += *static_cast<std::string *>(user);
    minikv_value_add_text(value, minikv_span(both.data(), both.size()));
    return MINIKV_UPDATE_PUT;
}

static bool values_and_callbacks_work_from_cplusplus()
{
    minikv_error *err = nullptr;
    minikv_registry *kv = start_registry(false);
    minikv_entry *entry = nullptr;
    minikv_bytes text{nullptr, 0};
    std::string more = " world";
    OK(minikv_put_text(kv, minikv_str("k"), minikv_str("hello"), nullptr, nullptr, &err));
    OK(minikv_update(kv, minikv_str("k"), append, &more, nullptr, &entry, &err));
    CHECK(minikv_entry_as_text(entry, &text));
    CHECK(std::string(reinterpret_cast<const char *>(text.ptr), text.len) == "hello world");
    minikv_entry_free(entry);
    FAILS(MINIKV_INVALID_KEY, minikv_delete(kv, minikv_str(""), nullptr, nullptr, &err));
    end_registry(kv);
    return true;
}

int main()
{
    static const test tests[] = {TEST(values_and_callbacks_work_from_cplusplus)};
    return run_tests(tests, sizeof tests / sizeof *tests);
}
