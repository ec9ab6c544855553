#!/bin/sh
# Compiles a C program with the library as it is in this checkout: build-example.sh SOURCE OUTPUT
set -eu
if [ $# -ne 2 ]; then
    echo "usage: build-example.sh SOURCE OUTPUT" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
(cd "$root" && cargo build --quiet --release -p minikv-c)
${CC:-cc} -std=c99 -Wall -Wextra -Werror -pedantic -O2 -I"$root/ffi-c/include" "$1" -o "$2" \
    "$target/release/libminikv.a" -lpthread -ldl -lm
