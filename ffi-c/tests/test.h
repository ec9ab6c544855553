/* What the tests share: checks, and a runner that counts. */
#ifndef MINIKV_TEST_H
#define MINIKV_TEST_H

#include <minikv.h>
#include <stdio.h>
#include <stdlib.h>

/* Ends the test function that it stands in; says where and why. */
#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            printf("    %s:%d: not true: %s\n", __FILE__, __LINE__, #condition);  \
            return false;                                                         \
        }                                                                         \
    } while (0)

/* A call that must succeed, with `err` in scope. */
#define OK(call)                                                                                       \
    do {                                                                                               \
        if ((call) != MINIKV_OK) {                                                                     \
            printf("    %s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call, minikv_error_kind(err),       \
                   minikv_error_message(err));                                                         \
            minikv_error_free(err);                                                                    \
            err = NULL;                                                                                \
            return false;                                                                              \
        }                                                                                              \
    } while (0)

/* A call that must fail with this code. */
#define FAILS(expected, call)                                                                          \
    do {                                                                                               \
        minikv_code code_ = (call);                                                                    \
        if (code_ != (expected) || minikv_error_code(err) != (expected)) {                             \
            printf("    %s:%d: %s gave %d (%s), expected %d\n", __FILE__, __LINE__, #call, (int)code_, \
                   minikv_error_message(err), (int)(expected));                                        \
            minikv_error_free(err);                                                                    \
            err = NULL;                                                                                \
            return false;                                                                              \
        }                                                                                              \
        minikv_error_free(err);                                                                        \
        err = NULL;                                                                                    \
    } while (0)

typedef struct {
    const char *name;
    bool (*run)(void);
} test;

#define TEST(function) {#function, function}

/* Runs all tests of a program; the last line is "N passed, N failed". */
static inline int run_tests(const test *tests, size_t count)
{
    size_t place;
    unsigned passed = 0, failed = 0;
    for (place = 0; place < count; place++) {
        bool good = tests[place].run();
        printf("%s %s\n", good ? "ok    " : "FAILED", tests[place].name);
        fflush(stdout);
        passed += good;
        failed += !good;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0 || passed == 0;
}

/* An unnamed registry on the machine's clock, or on a manual one. */
static inline minikv_registry *start_registry(bool manual)
{
    minikv_options *options = minikv_options_new(NULL);
    minikv_registry *kv = NULL;
    minikv_options_set_manual_clock(options, manual);
    if (minikv_registry_start(options, &kv, NULL) != MINIKV_OK) {
        abort();
    }
    minikv_options_free(options);
    return kv;
}

static inline void end_registry(minikv_registry *kv)
{
    minikv_registry_stop(kv);
    minikv_registry_free(kv);
}

#endif
