#!/bin/sh
# Builds and installs the package, then runs its tests. The last line counts them.
. "$(dirname "$0")/venv.sh"
exec "$python" tests/all.py "$@"
