#!/bin/sh
# Installs the peers into target/ and measures. QUICK=1: smaller tables, fewer repetitions.
# ROWS=local,expiry,growth,cluster,size (all by default): which rows.
set -eu
cd "$(dirname "$0")/../.."
rows=${ROWS:-local,expiry,growth,cluster,size}
echo "building ..." >&2
cargo build -q --release -p minikv-cluster-bench
venv=target/bench-venv
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
fi
"$venv/bin/pip" install -q --disable-pip-version-check -r core/benches/requirements.txt
case $rows in
*local* | *expiry* | *growth* | *size*)
    CARGO_TARGET_DIR=target/bench-build cargo build -q --release --manifest-path core/benches/Cargo.toml
    cargo build -q --release -p minikv-c
    sh ffi-c/tests/build-example.sh core/benches/rows.c target/bench-build/rows-c
    node node/scripts/build.js
    MINIKV_PYTHON=$(sh py/tests/python.sh)
    export MINIKV_PYTHON
    mkdir -p target/bench-node
    cp core/benches/package.json target/bench-node/
    (cd target/bench-node && npm install --silent --no-audit --no-fund --no-package-lock)
    ;;
esac
ROWS=$rows exec "$venv/bin/python" core/benches/run.py
