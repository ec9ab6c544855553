#!/bin/sh
# Installs the package as it is now into the environment of the tests and prints its interpreter.
. "$(dirname "$0")/venv.sh" >&2
echo "$python"
