#!/bin/sh
# Holds the committed header against the sources; BLESS=1 updates it.
set -eu
cd "$(dirname "$0")/../.."
exec cargo test --quiet --release -p minikv-c --test header
