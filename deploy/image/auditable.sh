#!/bin/sh
# Installs cargo-auditable into target/tools, once: it puts the names and versions of all crates into a program, where `cargo audit bin`
# and other scanners read them. For build.sh beside this file; the Dockerfile runs it first, so that its stages need not do it each.
set -eu
auditable=${CARGO_TARGET_DIR:-target}/tools/auditable
pin=0.7.7
[ "$(cat "$auditable/pin" 2>/dev/null || true)" != "$pin" ] || exit 0
CARGO_TARGET_DIR=$auditable/target cargo install --quiet --locked --root "$auditable" "cargo-auditable@$pin"
rm -rf "$auditable/target"
echo "$pin" >"$auditable/pin"
