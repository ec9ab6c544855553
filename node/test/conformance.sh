#!/bin/sh
# Builds the addon and runs the conformance vectors; the last line is `Node: N passed, M failed`.
set -eu
cd "$(dirname "$0")/.."
node scripts/build.js
exec node test/conformance.mjs
