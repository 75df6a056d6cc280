#!/usr/bin/env bash
# Runs the Python SDK suite, sync and async, against the server named by OP_CONNECT_HOST.
# Arguments go to pytest. Exit 77: no Python here.
. "$(dirname "${BASH_SOURCE[0]}")/../suite.sh"
need python3
python3 -c 'import venv, ensurepip' 2>/dev/null || missing "python3 has no venv module"

install() {
    rm -rf "$out/venv"
    nice python3 -m venv "$out/venv"
    nice "$out/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
}
{ python3 --version && cat "$here/requirements.txt"; } | once

# The suite must not write into the source tree.
export PYTHONDONTWRITEBYTECODE=1
exec "$out/venv/bin/python" -m pytest -p no:cacheprovider --strict-config -c "$here/pytest.ini" --rootdir "$here" "$here" "$@"
