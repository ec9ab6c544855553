#!/bin/sh
# Builds the library and everything in this folder, and runs it.
# memory.sh runs the same programs: LIBRARY names another static library, BUILD another folder to build in,
# RUN what to run each program with, TESTS which of them, FAILURE_MS and RACES what members of clusters may take.
set -eu
tests=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$tests/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
build=${BUILD:-$target/c-tests}
flags="-Wall -Wextra -Werror -pedantic -g -O1 -I$root/ffi-c/include"
libs="-lpthread -ldl -lm"
passed=0
failed=0
CERTIFICATES=$root/core/tests/certificates
export CERTIFICATES
mkdir -p "$build"
cd "$build"

count() { # what, result
    if [ "$2" -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok     $1"
    else
        failed=$((failed + 1))
        echo "FAILED $1"
    fi
}

# Runs a program of tests and adds what its last line counts. One that dies counts as a failure.
run() {
    if ${RUN:-} "./$1" > "$1.out" 2>&1; then status=0; else status=$?; fi
    cat "$1.out"
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$1.out" | tail -n 1)
    if [ -z "$line" ]; then
        failed=$((failed + 1))
        echo "FAILED $1 ended early, with status $status"
        return
    fi
    # shellcheck disable=SC2086
    set -- $line "$1"
    passed=$((passed + $1))
    failed=$((failed + $3))
    if [ "$status" -ne 0 ] && [ "$3" -eq 0 ]; then
        failed=$((failed + 1))
        echo "FAILED $5 ended with status $status"
    fi
}

if [ -z "${LIBRARY:-}" ]; then
    (cd "$root" && cargo build --quiet --release -p minikv-c)
    LIBRARY=$target/release/libminikv.a
fi
for name in ${TESTS:-nulls values callbacks threads watches lifecycle forks cluster processes}; do
    # shellcheck disable=SC2086
    ${CC:-cc} -std=c99 $flags ${CFLAGS:-} "$tests/$name.c" -o "$name" "$LIBRARY" $libs
    run "$name"
done
# shellcheck disable=SC2086
${CXX:-c++} -std=c++17 $flags ${CFLAGS:-} "$tests/cplusplus.cpp" -o cplusplus "$LIBRARY" $libs
run cplusplus

if [ -z "${RUN:-}${CFLAGS:-}" ]; then
    # The generated header and the list of calls with NULL are up to date, the codes are the core's.
    if (cd "$root" && cargo test --quiet -p minikv-c) > cargo.out 2>&1; then count "header and codes" 0; else
        cat cargo.out
        count "header and codes" 1
    fi
    # Everything that is exported is declared, and the other way round.
    nm -D --defined-only "$target/release/libminikv.so" | sed -n 's/.* T \(minikv_.*\)/\1/p' | sort > exported
    grep -o 'minikv_[a-z0-9_]*(' "$tests/null_calls.inc" | tr -d '(' | grep -v '^minikv_str$\|^minikv_span$' | sort -u > called
    if diff exported called; then count "no export is forgotten" 0; else count "no export is forgotten" 1; fi

    # Installed, found by pkg-config, shared and static.
    rm -rf installed
    if "$root/ffi-c/install.sh" "$build/installed" > install.out 2>&1; then count "install" 0; else
        cat install.out
        count "install" 1
    fi
    PKG_CONFIG_PATH=$build/installed/lib/pkgconfig
    export PKG_CONFIG_PATH
    # shellcheck disable=SC2046,SC2086
    if ${CC:-cc} -std=c99 "$tests/example.c" -o example-shared $(pkg-config --cflags --libs minikv) \
        && LD_LIBRARY_PATH=$build/installed/lib ./example-shared \
        && readelf -d example-shared | grep -q 'NEEDED.*libminikv.so.0'
    then count "example, shared" 0; else count "example, shared" 1; fi
    # shellcheck disable=SC2046,SC2086
    if ${CC:-cc} -std=c99 "$tests/example.c" -o example-static $(pkg-config --cflags minikv) \
        -Wl,-Bstatic -lminikv -L"$build/installed/lib" -Wl,-Bdynamic \
        $(pkg-config --static --libs-only-l minikv | sed 's/-lminikv//') \
        && ./example-static && ! readelf -d example-static | grep -q 'NEEDED.*libminikv'
    then count "example, static" 0; else count "example, static" 1; fi
    # With a DESTDIR the files lie there, and say where they will be.
    rm -rf staged
    if "$root/ffi-c/install.sh" /usr/local "$build/staged" > install.out 2>&1 \
        && grep -q '^prefix=/usr/local$' staged/usr/local/lib/pkgconfig/minikv.pc
    then count "install with a DESTDIR" 0; else count "install with a DESTDIR" 1; fi
    # shellcheck disable=SC2086
    if ${CC:-cc} -std=c99 $flags "$root/examples/tour.c" -o tour "$LIBRARY" $libs && ./tour > tour.out
    then count "examples/tour.c" 0; else count "examples/tour.c" 1; fi
    # make demo runs it, with the other languages; here it says what it wants.
    # shellcheck disable=SC2086
    if ${CC:-cc} -std=c99 $flags "$root/examples/demo/demo.c" -o demo "$LIBRARY" $libs && ! ./demo 2> demo.err && grep -q '^usage: demo' demo.err
    then count "examples/demo/demo.c" 0; else cat demo.err; count "examples/demo/demo.c" 1; fi
fi
echo "C: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
