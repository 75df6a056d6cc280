#!/usr/bin/env bash
# Builds and runs the External Secrets provider suite against the server named by OP_CONNECT_HOST.
# Arguments go to the test binary, e.g. `run.sh -test.run Files`. Exit 77: no Go here.
set -euo pipefail

if ! command -v go >/dev/null; then
    echo "skipped: no go on PATH"
    exit 77
fi

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../../.." && pwd)
out=${CARGO_TARGET_DIR:-$root/target}/clients/eso
mkdir -p "$out"
out=$(cd -- "$out" && pwd)

cd "$here"
# -c: relinks only when something changed. -buildvcs=false: the module lies inside another repository.
GOFLAGS="-p=1 -mod=readonly -buildvcs=false" CGO_ENABLED=0 nice go test -c -o "$out/suite.test" .
exec "$out/suite.test" -test.v -test.timeout 120s "$@"
