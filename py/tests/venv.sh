# Sourced: makes the environment of the tests, with the package as it is now.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv="$root/target/py-venv"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
stamp="$venv/requirements-test.txt"
if ! cmp -s "$root/py/requirements-test.txt" "$stamp"; then
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$root/py/requirements-test.txt"
    cp "$root/py/requirements-test.txt" "$stamp"
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps "$root/py"
python="$venv/bin/python"
cd "$root/py"
