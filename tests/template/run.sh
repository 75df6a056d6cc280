#!/bin/sh
# Checks golden.json against the output of External Secrets' template engine, at the version that go.mod pins.
# With --print, prints the engine's output instead; with --trust-store PASSWORD, reads a PKCS#12 trust store. Needs Go and, the
# first time, the module proxy; builds once.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
out=${CARGO_TARGET_DIR:-$root/target}/tools
mkdir -p "$out"
out=$(CDPATH='' cd -- "$out" && pwd)
program=$out/template-engine

cd "$here"
want=$(cat go.mod go.sum main.go | sha256sum | cut -d' ' -f1)
if [ ! -x "$program" ] || [ "$(cat "$program.built" 2>/dev/null || true)" != "$want" ]; then
    # -buildvcs=false: the module lies inside another repository.
    CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -ldflags='-s -w' -o "$program" .
    printf '%s\n' "$want" >"$program.built"
fi

# The engine's local time is its container's, which is UTC.
export TZ=UTC
case ${1:-} in
--print) exec "$program" cases.json ;;
--trust-store) exec "$program" -trust-store "$2" ;;
esac
exec "$program" -check golden.json cases.json
