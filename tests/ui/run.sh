#!/usr/bin/env bash
# Opens the page at /ui in Chromium. Arguments go to node, e.g. `run.sh --test-name-pattern=hostile`. With SIDEVAULT_SCREENSHOTS=DIR,
# writes pictures of the page there; SIDEVAULT_PICTURES=update takes the present look as the expected one, and makes the pictures in docs/.
# SIDEVAULT_PAGE_FILES=crates/api/page takes scripts and styles from there, so that a change needs no build. Exit 77: no Node.js or no Chromium here.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)/target}"
. "$(dirname "${BASH_SOURCE[0]}")/../clients/suite.sh"
need_node chromium

install() {
    install_packages
}
sha256sum <"$here/package-lock.json" | once

export NODE_PATH="$out/node_modules"
export SIDEVAULT_CHROMIUM="${SIDEVAULT_CHROMIUM:-$(command -v chromium)}"
export SIDEVAULT_BIN="${SIDEVAULT_BIN:-$here/../../target/debug/sidevault}"
exec node --test --test-reporter=spec --test-concurrency=1 --test-timeout=900000 "$@" "$here"/*.test.js
