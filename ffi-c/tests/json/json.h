/* The JSON reader of the conformance runner; see src/lib.rs. Test only. */
#ifndef MINIKV_TEST_JSON_H
#define MINIKV_TEST_JSON_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct json json;

json *json_read(const unsigned char *text, size_t length);
void json_free(json *document);
char json_type(const json *value);
bool json_true(const json *value);
int64_t json_int(const json *value);
double json_float(const json *value);
const unsigned char *json_text(const json *value, size_t *length);
size_t json_count(const json *value);
const json *json_at(const json *value, size_t place);
const unsigned char *json_name(const json *value, size_t place, size_t *length);
const json *json_get(const json *value, const char *name);
const char *json_print(const json *value);
#endif
