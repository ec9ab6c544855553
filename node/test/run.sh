#!/bin/sh
# Builds the addon and runs every test; the last line is `Node: N passed, N failed`.
# MINIKV_HAMMER_SECONDS (default 30) is how long the threads are at it.
set -eu
cd "$(dirname "$0")/.."
npm ci --silent
node scripts/build.js
mkdir -p dist
status=0
node --test --test-reporter=tap test/*.test.js >dist/test.tap || status=$?
count() { sed -n "s/^# $1 \([0-9]*\)$/\1/p" dist/test.tap | tail -n 1; }
passed=$(count pass)
failed=$(count fail)
cancelled=$(count cancelled)
skipped=$(count skipped)
failed=$((${failed:-0} + ${cancelled:-0} + ${skipped:-0}))
# A runner that fails without a failed test has failed all the same.
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
if [ "${passed:-0}" -eq 0 ]; then failed=$((failed + 1)); fi
if [ "$failed" -ne 0 ]; then
    status=1
    cat dist/test.tap
fi
echo "Node: ${passed:-0} passed, $failed failed"
exit "$status"
