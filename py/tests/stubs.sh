#!/bin/sh
# Holds the stubs against the package as it runs.
. "$(dirname "$0")/venv.sh"
exec "$python" -m mypy.stubtest minikv --mypy-config-file pyproject.toml
