#!/bin/sh
# Builds and installs the package, then runs the conformance vectors.
. "$(dirname "$0")/venv.sh"
exec "$python" tests/conformance.py
