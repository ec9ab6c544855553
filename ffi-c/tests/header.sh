#!/bin/sh
# Compares the committed header, and the list of calls with NULL, with what the sources say, and the codes with the
# core's. BLESS=1 header.sh updates the files.
set -eu
cd "$(dirname "$0")/../.."
exec cargo test --quiet -p minikv-c --test header
