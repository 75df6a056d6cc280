#!/usr/bin/env bash
# Runs the JavaScript SDK suite against the server named by OP_CONNECT_HOST.
# Arguments go to node, e.g. `run.sh --test-name-pattern=files`. Exit 77: no Node.js here.
. "$(dirname "${BASH_SOURCE[0]}")/../suite.sh"
need_node

install() {
    install_packages
}
sha256sum <"$here/package-lock.json" | once

# The modules lie outside the source tree, and `require` finds them by NODE_PATH.
export NODE_PATH="$out/node_modules"
exec node --test --test-reporter=spec --test-concurrency=1 "$@" "$here"/*.test.js
