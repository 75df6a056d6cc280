#!/usr/bin/env bash
# Builds umoci into target/tools, once, and prints its path. For `build` beside this file. The tests of Pods run `build` without a
# network, so tests/rust.sh runs this first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
umoci=${CARGO_TARGET_DIR:-$PWD/target}/tools/umoci
pins=$(cat deploy/image/umoci/go.{mod,sum} | sha256sum | cut -d' ' -f1)
if [ "$(cat "$umoci.built" 2>/dev/null || true)" != "$pins" ]; then
    command -v go >/dev/null || { echo "umoci.sh: no Go, to build umoci with" >&2 && exit 77; }
    (cd deploy/image/umoci && CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -ldflags='-s -w' \
        -o "$umoci" github.com/opencontainers/umoci/cmd/umoci) >&2
    echo "$pins" >"$umoci.built"
fi
echo "$umoci"
