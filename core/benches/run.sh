#!/bin/sh
# Installs the peers into target/ and measures. QUICK=1: smaller tables, fewer repetitions.
set -eu
cd "$(dirname "$0")/../.."
echo "building ..." >&2
CARGO_TARGET_DIR=target/bench-build cargo build -q --release --manifest-path core/benches/Cargo.toml
cargo build -q --release -p minikv-c
sh ffi-c/tests/build-example.sh core/benches/rows.c target/bench-build/rows-c
node node/scripts/build.js
python=$(sh py/tests/python.sh)
venv=target/bench-venv
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
fi
"$venv/bin/pip" install -q --disable-pip-version-check -r core/benches/requirements.txt
mkdir -p target/bench-node
cp core/benches/package.json target/bench-node/
(cd target/bench-node && npm install --silent --no-audit --no-fund --no-package-lock)
MINIKV_PYTHON=$python exec "$venv/bin/python" core/benches/run.py
