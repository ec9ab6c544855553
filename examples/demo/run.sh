#!/bin/sh
# Builds what the demo needs, runs it in four languages, and compares what they saw.
# run.sh [INPUT]
set -eu
cd "$(dirname "$0")/../.."
input=${1:-}
if [ -z "$input" ]; then
    # On every Debian: the time zone rules of the world, which are in the public domain; else the package list.
    for input in /usr/share/zoneinfo/tzdata.zi /var/lib/dpkg/status /usr/share/common-licenses/GPL-3; do
        [ -r "$input" ] && break
    done
fi
if [ ! -r "$input" ]; then
    echo "cannot read $input; name another file: make demo INPUT=path" >&2
    exit 1
fi
out=target/demo
mkdir -p "$out"
rm -f "$out"/*.json

echo "building (the first time takes a few minutes) ..." >&2
cargo build -q --release -p minikv-registry --example demo
sh ffi-c/tests/build-example.sh examples/demo/demo.c "$out/demo-c"
python=$(sh py/tests/python.sh)
node node/scripts/build.js

echo "input: $input ($(wc -l <"$input") lines)" >&2
target/release/examples/demo "$input" >"$out/1-rust.json"
"$out/demo-c" "$input" >"$out/2-c.json"
"$python" examples/demo/demo.py "$input" >"$out/3-python.json"
node examples/demo/demo.mjs "$input" >"$out/4-node.json"
python3 examples/demo/table.py "$out"/*.json
