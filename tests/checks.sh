#!/usr/bin/env bash
# Checks by tools that take long to compile or ask the network: typos, taplo, cargo-deny, cargo-machete. A tool that is not
# installed is skipped: `cargo install --locked typos-cli taplo-cli cargo-deny cargo-machete`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failed=0 skipped=0

check() { # TOOL COMMAND...
    local tool=$1
    shift
    if ! command -v "$tool" >/dev/null; then
        echo "$tool: SKIPPED: not installed" && skipped=$((skipped + 1))
        [ -z "${SIDEVAULT_SKIPPED:-}" ] || echo "$tool" >>"$SIDEVAULT_SKIPPED"
    elif "$@"; then
        echo "$tool: ok"
    else
        echo "$tool: FAILED" && failed=$((failed + 1))
    fi
}

check typos typos
check taplo taplo fmt --check
check cargo-machete cargo machete
# Advisories come from a Git repository; everything else needs no network.
check cargo-deny cargo deny --locked --offline check bans licenses sources
[ "$failed" -eq 0 ] || exit 1
[ "$skipped" -lt 4 ] || exit 77
