#!/bin/sh
# Builds a member program in each language and lets them loose on each other; the last line counts. README.md says more.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
cd "$root"
for language in $(echo "${MINIKV_LANGUAGES:-rust,c,python,node}" | tr ',' '\n' | sort -u); do
    case $language in
    # The features of the Rust tests: one build for both.
    rust) cargo build --quiet -p minikv-registry --features async,config,cluster --example member ;;
    c)
        cargo build --quiet --release -p minikv-c
        mkdir -p "$target/processes"
        ${CC:-cc} -std=c99 -Wall -Wextra -Werror -pedantic -g -O1 -Iffi-c/include "$here/member.c" \
            -o "$target/processes/member" "$target/release/libminikv.a" -lpthread -ldl -lm
        ;;
    # It finds its folder by the name that it is run under.
    python) sh -c '. py/tests/venv.sh' py/tests/venv.sh ;;
    node) node node/scripts/build.js ;;
    *)
        echo "there is no member in $language" >&2
        exit 1
        ;;
    esac
done
exec env PYTHONDONTWRITEBYTECODE=1 python3 "$here/run.py" "$@"
