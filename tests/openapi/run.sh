#!/usr/bin/env bash
# Checks docs/openapi.yaml against the binary: first with valid requests to every operation, whose responses must match the
# document and what 1Password published for Connect 1.7.1; then with schemathesis, which sends valid and invalid requests.
# Arguments go to schemathesis. Exit status 77 if there is no suitable Python.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
sidevault=${SIDEVAULT_BIN:-$target/debug/sidevault}
export SIDEVAULT_BIN="$sidevault"

python3 -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || {
    echo "skipped: no python3 of at least 3.10 with venv on PATH"
    exit 77
}
[ -x "$sidevault" ] || { echo "$sidevault does not exist: run cargo build -p sidevault first" >&2; exit 1; }

# A virtual environment with the tools, made again when requirements.txt changes.
tools=$target/openapi
if ! cmp -s "$here/requirements.txt" "$tools/installed.txt"; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --no-deps --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$tools/installed.txt"
fi
export PYTHONDONTWRITEBYTECODE=1

work=$(mktemp -d)
server= failed=0
stop() { # Fails if the server takes longer than it may wait for requests in progress.
    [ -n "$server" ] || return 0
    local stopping=$server
    server=
    kill "$stopping" 2>/dev/null || true
    for _ in $(seq 300); do
        kill -0 "$stopping" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$stopping" 2>/dev/null || true
    echo "openapi: the server did not stop within 30 s of SIGTERM" >&2
    return 1
}
trap 'stop || true; rm -rf "$work"' EXIT

mkdir "$work/files"
for byte in $(seq 0 255); do printf "\\$(printf %03o "$byte")"; done >"$work/files/small.bin"
head -c 300000 /dev/zero >"$work/files/large.bin" # Too large to be shown inline.
printf 'username: ann\npassword: correct horse\n' >"$work/files/login.yaml"

start() {
    rm -f "$work/ready"
    "$sidevault" quickstart --ephemeral --port 0 --vault apps --dir "$work/files" --json \
        >"$work/ready" 2>"$work/log" &
    server=$!
    for _ in $(seq 200); do
        [ -s "$work/ready" ] && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    cat "$work/log" >&2
    exit 1
}
ready() { "$tools/bin/python" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/ready" "$1"; }

start
"$tools/bin/python" "$here/happy_path.py" "$work/ready" || failed=1
stop || failed=1

start
export SIDEVAULT_READY=$work/ready SIDEVAULT_SEEDS=$work/seeds
"$tools/bin/python" "$here/seed.py" "$work/ready" >"$work/seeds"
url=$(ready url)
# In a temporary directory, because schemathesis writes files. Without streamEvents, whose response never ends.
cd "$work"
SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$here timeout 600 "$tools/bin/schemathesis" \
    --config-file "$here/schemathesis.toml" run "$root/docs/openapi.yaml" \
    --url "${url/localhost/127.0.0.1}" --header "Authorization: Bearer $(ready token)" \
    --exclude-operation-id streamEvents --no-color "$@" || {
    status=$?
    failed=1
    [ "$status" -ne 124 ] || echo "openapi: schemathesis did not end within 600 s" >&2
}
kill -0 "$server" 2>/dev/null || { echo "openapi: the server died" >&2; tail -n 20 "$work/log" >&2; failed=1; }
stop || failed=1
exit $failed
