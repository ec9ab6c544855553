#!/bin/sh
# Executes the conformance vectors in C. Another folder of vectors: MINIKV_VECTORS=FOLDER.
# LIBRARY and BUILD may name another library and folder to build in; memory.sh does so.
set -eu
tests=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$tests/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
build=${BUILD:-$target/c-tests}
mkdir -p "$build"
(cd "$root" && cargo build --quiet --release -p minikv-test-json)
if [ -z "${LIBRARY:-}" ]; then
    (cd "$root" && cargo build --quiet --release -p minikv-c)
    LIBRARY=$target/release/libminikv.a
fi
# shellcheck disable=SC2086
${CC:-cc} -std=c99 -Wall -Wextra -Werror -pedantic -g -O1 ${CFLAGS:-} -I"$root/ffi-c/include" \
    "$tests"/conformance/*.c -o "$build/conformance" "$LIBRARY" \
    -L"$target/release" -lminikv_test_json -Wl,-rpath,"$target/release" -lpthread -ldl -lm
exec ${RUN:-} "$build/conformance" "${MINIKV_VECTORS:-$root/core/conformance}"
