#!/bin/sh
# build-example.sh SOURCE PROGRAM: a program from one C file, with the library as it is now.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
(cd "$root" && cargo build --quiet --release -p minikv-c)
${CC:-cc} -std=c99 -Wall -Wextra -Werror -pedantic -O2 -I"$root/ffi-c/include" "$1" -o "$2" \
    "$target/release/libminikv.a" -lpthread -ldl -lm
