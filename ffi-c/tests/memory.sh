#!/bin/sh
# Runs the C tests and the conformance vectors with the library instrumented by AddressSanitizer (leaks included),
# then under valgrind. What is missing is named, and counts as a failure.
set -eu
# The engine of clusters has threads and memory of its own that live as long as the process: not looked at here.
TESTS="nulls values callbacks threads watches lifecycle forks"
export TESTS
MINIKV_VECTORS=$(mktemp -d)
export MINIKV_VECTORS
trap 'rm -rf "$MINIKV_VECTORS"' EXIT
tests=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$tests/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
for file in "$root"/core/conformance/*.json; do
    case $file in */cluster.json) ;; *) cp "$file" "$MINIKV_VECTORS" ;; esac
done
triple=x86_64-unknown-linux-gnu
passed=0
failed=0

# Adds what the last line of a run counts.
add() { # what, output, status
    line=$(grep -E '^C: [0-9]+ passed, [0-9]+ failed$' "$2" | tail -n 1)
    if [ -z "$line" ]; then
        cat "$2"
        echo "FAILED $1 ended early, with status $3"
        failed=$((failed + 1))
        return
    fi
    echo "$1: ${line#C: }"
    good=$(echo "$line" | cut -d ' ' -f 2)
    bad=$(echo "$line" | cut -d ' ' -f 4)
    passed=$((passed + good))
    failed=$((failed + bad))
    if [ "$3" -ne 0 ]; then
        cat "$2"
        [ "$bad" -gt 0 ] || failed=$((failed + 1))
    fi
}

# The tests and the vectors, with the variables that the caller has set.
both() { # name
    mkdir -p "$BUILD"
    for script in run conformance; do
        if "$tests/$script.sh" > "$BUILD/$script.log" 2>&1; then status=0; else status=$?; fi
        add "$1 $script" "$BUILD/$script.log" "$status"
    done
}

missing() { # name, how to install it
    echo "$1 is missing; install it: $2"
    failed=$((failed + 1))
}

(cd "$root" && cargo build --quiet --release -p minikv-c -p minikv-test-json)

if ! echo 'int main(void) { return 0; }' | ${CC:-cc} -x c -fsanitize=address - -o "$target/asan-probe" 2> /dev/null; then
    missing "AddressSanitizer of the C compiler" "apt-get install gcc g++ libc6-dev"
else
    # An instrumented library finds a use after free within Rust; the plain one only those in C.
    (cd "$root" && RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address \
        cargo build --quiet --release -p minikv-c --no-default-features --target "$triple" --target-dir "$target/asan")
    # A small quarantine: one test looks at how much memory the process has.
    (
        LIBRARY=$target/asan/$triple/release/libminikv.a
        BUILD=$target/c-tests-asan
        CFLAGS="-fsanitize=address -fno-omit-frame-pointer"
        ASAN_OPTIONS=detect_leaks=1:quarantine_size_mb=1:thread_local_quarantine_size_kb=64
        export LIBRARY BUILD CFLAGS ASAN_OPTIONS
        both asan
        echo "$passed $failed" > "$BUILD/sum"
    )
    read -r good bad < "$target/c-tests-asan/sum"
    passed=$((passed + good))
    failed=$((failed + bad))
fi

if ! command -v valgrind > /dev/null; then
    missing valgrind "apt-get install valgrind"
else
    (
        passed=0
        failed=0
        LIBRARY=$target/release/libminikv.a
        BUILD=$target/c-tests-valgrind
        RUN="valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite"
        RUN="$RUN --errors-for-leak-kinds=definite --child-silent-after-fork=yes --freelist-vol=100000 --fair-sched=yes"
        export LIBRARY BUILD RUN
        both valgrind
        echo "$passed $failed" > "$BUILD/sum"
    )
    read -r good bad < "$target/c-tests-valgrind/sum"
    passed=$((passed + good))
    failed=$((failed + bad))
fi
echo "memory: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
