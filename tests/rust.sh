#!/usr/bin/env bash
# Runs the workspace's test programs, JOBS at a time (default 2: the longest ones start several clusters, which use all of two
# processors). Fails if a program fails, or if there is none.
#
#   tests/rust.sh                    all programs, and the documentation's examples
#   tests/rust.sh --quick            those that take seconds
#   tests/rust.sh operator hostile   the programs of these names
#
# `cargo test --workspace` runs the same tests, one program after the other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"

# One call for programs, tests and the binary: cargo then compiles every dependency once, with one set of features.
cargo build --workspace --bins --tests --locked
export SIDEVAULT_BIN="$CARGO_TARGET_DIR/debug/sidevault"

# A line for each program: its name, the directory that cargo would start it in, and its path.
list() {
    cargo test --workspace --bins --lib --tests --locked --no-run --message-format=json 2>/dev/null |
        sed -n 's/.*"manifest_path":"\([^"]*\)\/Cargo.toml".*"name":"\([^"]*\)","src_path".*"test":true},"features".*"executable":"\([^"]*\)".*/\2 \1 \3/p'
}

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export logs

run_one() { # NAME DIRECTORY PROGRAM
    local log=$logs/$1.$$ status=0 started=$SECONDS
    # These programs wait most of the time, for a control plane or a lease, so more of their tests run at once than there are cores.
    case $1 in operator | deploy | postgres) export RUST_TEST_THREADS=4 ;; esac
    (cd "$2" && CARGO_MANIFEST_DIR=$2 exec "$3" --quiet --show-output) >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" != 0 ] || ! grep -q '^test result: ok' "$log"; then
        printf -- '--- %s: FAILED (%d), %d s\n' "$1" "$status" $((SECONDS - started))
        cat "$log"
        return 1
    fi
    grep -h 'SKIPPED' "$log" | sed "s/^/$1: /" | tee -a "${SIDEVAULT_SKIPPED:-/dev/null}" || true
    printf '%s (%d s): ' "$1" $((SECONDS - started)) && grep -h '^test result' "$log"
}
export -f run_one

# Programs that take more than about ten seconds, the longest first, so that all cores are busy until the end.
slow=(node operator deploy postgres hostile conformance tls parity kill cluster real_sops at_rest directory backup buckets drill import)
slow_names="^($(IFS='|' && echo "${slow[*]}")) "
programs=$(list)
order=$(
    for name in "${slow[@]}"; do grep "^$name " <<<"$programs" || true; done
    grep -vE "$slow_names" <<<"$programs" || true
)
if [ "${1:-}" = --quick ]; then
    order=$(grep -vE "$slow_names" <<<"$order")
    echo "left out, because they take longer: ${slow[*]}"
elif [ $# -gt 0 ]; then
    order=$(grep -E "^($(IFS='|' && echo "$*")) " <<<"$order")
fi
[ -n "$order" ] || { echo "rust.sh: no test programs" >&2 && exit 1; }

# The images of the node's Pods hold a static program.
if [ "$(id -u)" = 0 ] && grep -q '^node ' <<<"$order"; then
    deploy/image/test-binary.sh >/dev/null
    # The node's network has no way out.
    deploy/image/umoci.sh >/dev/null
    # That program has taken the place of the other one.
    cargo build --workspace --bins --tests --locked
fi

failed=0
xargs -P "${JOBS:-2}" -L 1 bash -c 'run_one "$@"' run_one <<<"$order" || failed=1
if [ $# -eq 0 ]; then
    cargo test --workspace --doc --locked --quiet || failed=1
fi
exit "$failed"
