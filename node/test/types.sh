#!/bin/sh
# Holds the types against the package as it runs.
set -eu
cd "$(dirname "$0")/.."
npm ci --silent
node scripts/build.js
exec node --test test/types.test.js
