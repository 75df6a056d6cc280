#!/usr/bin/env bash
# Checks spelling with typos and the form of TOML files with taplo, which are installed from PyPI into target/tools/lint, and
# GitHub's workflows with actionlint, which tests/tools/build.sh builds. Checks dependencies with cargo-machete (unused ones) and
# cargo-deny (deny.toml), if these are installed: they take minutes to compile (`cargo install --locked cargo-machete cargo-deny`).
# With --all they must be installed. Exit status 77: a tool is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=${CARGO_TARGET_DIR:-$PWD/target}/tools
out=$tools/lint
pins="typos==1.52.0 taplo==0.9.3"
failed=0 missing=0

check() { # TOOL COMMAND...
    local tool=$1
    shift
    if ! command -v "$tool" >/dev/null; then
        echo "$tool: SKIPPED: not installed" && missing=1
        [ -z "${SIDEVAULT_SKIPPED:-}" ] || echo "$tool" >>"$SIDEVAULT_SKIPPED"
    elif "$@"; then
        echo "$tool: ok"
    else
        echo "$tool: FAILED" && failed=1
    fi
}

if [ "$(cat "$out/.installed" 2>/dev/null || true)" != "$pins" ] && python3 -c 'import venv, ensurepip' 2>/dev/null; then
    rm -rf "$out"
    python3 -m venv "$out"
    "$out/bin/pip" install --quiet --disable-pip-version-check --no-deps $pins
    echo "$pins" >"$out/.installed"
fi
PATH=$out/bin:$tools:$PATH

check typos typos
check taplo env RUST_LOG=warn taplo fmt --check
# The empty options: not with shellcheck and pyflakes as well, which some machines have and others not.
check actionlint actionlint -shellcheck= -pyflakes=
optional() { [ "$all" = --all ] || command -v "$1" >/dev/null; }
all=${1:-}
! optional cargo-machete || check cargo-machete cargo machete
# Advisories are in a Git repository on the web. The other checks read every crate of Cargo.lock, also those of other systems,
# which cargo may have to download.
! optional cargo-deny || check cargo-deny cargo deny --locked check bans licenses sources
[ "$failed" -eq 0 ] || exit 1
[ "$missing" -eq 0 ] || exit 77
