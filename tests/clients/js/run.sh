#!/usr/bin/env bash
# Runs the JavaScript SDK suite against the server named by OP_CONNECT_HOST.
# Arguments go to node, e.g. `run.sh --test-name-pattern=files`. Exit 77: no Node.js here.
set -euo pipefail

for tool in node npm; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: no $tool on PATH"
        exit 77
    fi
done
if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    echo "skipped: node $(node --version) is older than 20"
    exit 77
fi

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../../.." && pwd)
out=${CARGO_TARGET_DIR:-$root/target}/clients/js
mkdir -p "$out"
out=$(cd -- "$out" && pwd)

want=$(cat "$here/package.json" "$here/package-lock.json" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$out/.installed" 2>/dev/null || true)" != "$want" ]; then
    cp "$here/package.json" "$here/package-lock.json" "$out/"
    (cd "$out" && nice npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    printf '%s\n' "$want" > "$out/.installed"
fi

# The modules lie outside the source tree, and `require` finds them by NODE_PATH.
export NODE_PATH="$out/node_modules"
exec node --test --test-reporter=spec --test-concurrency=1 "$@" "$here"/*.test.js
