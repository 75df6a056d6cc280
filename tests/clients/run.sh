#!/usr/bin/env bash
# Runs programs that use the real clients against the real binary. Starts one server with the items that all suites expect,
# and runs one suite after the other. `run.sh go js` runs only these two.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
sidevault="${SIDEVAULT_BIN:-$CARGO_TARGET_DIR/debug/sidevault}"
[ -x "$sidevault" ] || { echo "first: cargo build -p sidevault" >&2; exit 1; }
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(go python js eso)

work=$(mktemp -d)
server=
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$work"' EXIT

mkdir "$work/secrets"
printf 'username: app\npassword: s3cr3t-pg\ndatabase: orders\n' >"$work/secrets/postgres-database.yaml"
printf 'stripe:\n  key: sk_test_1\n' >"$work/secrets/api.yaml"
: >"$work/secrets/empty.bin"
bytes() { # COUNT FACTOR: byte i is i * FACTOR mod 256
    awk -v n="$1" -v f="$2" 'BEGIN { for (i = 0; i < n; i++) printf "\\%03o", (i * f) % 256 }'
}
printf "$(bytes 256 1)" >"$work/secrets/blob.bin"
printf "$(bytes 256 7)" >"$work/block"
for _ in $(seq 1172); do cat "$work/block"; done | head -c 300000 >"$work/secrets/large.bin"

"$sidevault" quickstart --ephemeral --port 0 --vault apps --dir "$work/secrets" --json \
    >"$work/ready" 2>"$work/log" &
server=$!
for _ in $(seq 200); do
    [ -s "$work/ready" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
field() { sed -E "s/.*\"$1\":\"([^\"]*)\".*/\1/" "$work/ready"; }
data=$(field dataDir)
token() { # NAME RIGHTS... [--expires T]
    "$sidevault" token create --data "$data" "$@" 2>/dev/null
}
OP_CONNECT_HOST=$(field url)
OP_CONNECT_HOST=${OP_CONNECT_HOST/localhost/127.0.0.1}
OP_CONNECT_TOKEN=$(token full --vault apps=read,write --vault secrets=read)
SIDEVAULT_READONLY_TOKEN=$(token readonly --vault apps=read --vault secrets=read)
SIDEVAULT_SECRETS_ONLY_TOKEN=$(token secrets-only --vault secrets=read)
SIDEVAULT_EXPIRED_TOKEN=$(token expired --vault secrets=read --expires 1s)
export OP_CONNECT_HOST OP_CONNECT_TOKEN
export SIDEVAULT_READONLY_TOKEN SIDEVAULT_SECRETS_ONLY_TOKEN SIDEVAULT_EXPIRED_TOKEN
# The token must have expired before the suites start.
until [ "$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $SIDEVAULT_EXPIRED_TOKEN" "$OP_CONNECT_HOST/v1/vaults")" = 401 ]; do
    sleep 0.1
done

failed=0 skipped=0
for suite in "${suites[@]}"; do
    status=0
    "$here/$suite/run.sh" || status=$?
    case $status in
    0) echo "clients: $suite passed" ;;
    77)
        skipped=$((skipped + 1)) && echo "clients: $suite SKIPPED: its toolchain is missing"
        [ -z "${SIDEVAULT_SKIPPED:-}" ] || echo "clients: $suite" >>"$SIDEVAULT_SKIPPED"
        ;;
    *) failed=$((failed + 1)) && echo "clients: $suite FAILED" ;;
    esac
done
if [ "$failed" -gt 0 ]; then
    grep -E '"level":"(ERROR|error)"|ERROR' "$work/log" | tail -20 >&2 || true
    exit 1
fi
[ "$skipped" -eq 0 ] || exit 77
