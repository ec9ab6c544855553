#!/bin/sh
# Builds what the demo needs and runs it: run.sh [INPUT] [OPTION...]; run.py --help tells the options.
set -eu
cd "$(dirname "$0")/../.."
out=target/demo
mkdir -p "$out"

echo "building (the first time takes some minutes) ..." >&2
# With the features the bindings have, so that all share what is built.
cargo build -q --release -p minikv-registry --features cluster,config --example demo
sh ffi-c/tests/build-example.sh examples/demo/demo.c "$out/demo-c"
python=$(sh py/tests/python.sh)
node node/scripts/build.js

MINIKV_DEMO_RUST="${CARGO_TARGET_DIR:-target}/release/examples/demo"
MINIKV_DEMO_C="$out/demo-c"
MINIKV_DEMO_PYTHON="$python examples/demo/demo.py"
MINIKV_DEMO_NODE="node examples/demo/demo.mjs"
export MINIKV_DEMO_RUST MINIKV_DEMO_C MINIKV_DEMO_PYTHON MINIKV_DEMO_NODE
exec python3 examples/demo/run.py "$@"
