#!/usr/bin/env bash
# Runs the Python SDK suite, sync and async, against the server named by OP_CONNECT_HOST.
# Arguments go to pytest. Exit 77: no Python here.
set -euo pipefail

if ! command -v python3 >/dev/null; then
    echo "skipped: no python3 on PATH"
    exit 77
fi
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    echo "skipped: python3 has no venv module"
    exit 77
fi

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../../.." && pwd)
out=${CARGO_TARGET_DIR:-$root/target}/clients/python
mkdir -p "$out"
out=$(cd -- "$out" && pwd)

want=$(python3 --version; cat "$here/requirements.txt")
if [ "$(cat "$out/.installed" 2>/dev/null || true)" != "$want" ]; then
    rm -rf "$out/venv"
    nice python3 -m venv "$out/venv"
    nice "$out/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
    printf '%s\n' "$want" > "$out/.installed"
fi

# Nothing may be written beside the sources.
export PYTHONDONTWRITEBYTECODE=1
exec "$out/venv/bin/python" -m pytest -p no:cacheprovider --strict-config -c "$here/pytest.ini" --rootdir "$here" "$here" "$@"
