#!/bin/sh
# Fuzzes one target: core/fuzz/run.sh ops 600
# With `merge` in place of the seconds it keeps what adds coverage: core/fuzz/run.sh ops merge
set -eu
target=$1
what=$2
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
built=$root/target/fuzz
found=$built/found/$target
artifacts=$built/artifacts/$target
mkdir -p "$found" "$artifacts" "corpus/$target"

# The passes that libFuzzer needs are behind a compiler flag that is not stable.
export RUSTC_BOOTSTRAP=1
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares \
-Cllvm-args=-sanitizer-coverage-stack-depth \
-Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
--cfg fuzzing -Clink-dead-code -Zsanitizer=address -Cdebug-assertions -Ccodegen-units=1"
# A target of its own keeps the flags from build scripts.
cargo build --quiet --release --target "$host" --target-dir "$built" --bin "$target"

run="$built/$host/release/$target"
export ASAN_OPTIONS=detect_odr_violation=0
case $what in
merge)
    # The fewest inputs that reach everything, and of these the smallest: a start, not a record.
    kept=$(mktemp -d)
    "$run" -set_cover_merge=1 -max_len=1024 "$kept" "corpus/$target" "$found"
    rm -rf "corpus/$target"
    mkdir "corpus/$target"
    ls -Sr "$kept" | head -n 150 | while read -r input; do
        mv "$kept/$input" "corpus/$target/"
    done
    rm -rf "$kept"
    ;;
*)
    # FUZZ_ARGS: more for libFuzzer, such as -seed=1.
    # shellcheck disable=SC2086
    "$run" ${FUZZ_ARGS:-} -max_total_time="$what" -timeout=20 -rss_limit_mb=4096 -max_len=1024 \
        -artifact_prefix="$artifacts/" "$found" "corpus/$target"
    ;;
esac
