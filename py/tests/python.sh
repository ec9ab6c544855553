#!/bin/sh
# Builds and installs the package, and prints the path of a Python that has it.
. "$(dirname "$0")/venv.sh"
echo "$python"
