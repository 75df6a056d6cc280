#!/usr/bin/env bash
# Tests the image `bare` without a container engine: the statically linked binary runs as uid 999, with chroot, in a root
# directory that contains only the binary, its keys, its data and three devices. Exit status 77: not run, because chroot needs
# root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ "$(id -u)" = 0 ] || { echo "needs root, for chroot"; exit 77; }
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
# Linking alone decides whether a program is static, so only the last crate is compiled with the flag. The build for the tests
# uses the feature tokio/test-util, too, so cargo reuses most dependencies of that build.
cargo rustc --locked -p sidevault --bin sidevault --features tokio/test-util -- -C target-feature=+crt-static
binary="$CARGO_TARGET_DIR/static/sidevault"
install -D "$CARGO_TARGET_DIR/debug/sidevault" "$binary"
if readelf -d "$binary" | grep -q NEEDED; then
    echo "the binary is not static:" && readelf -d "$binary" | grep NEEDED
    exit 1
fi

root=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$root"' EXIT
mkdir -p "$root/home/opuser/.op/data" "$root/dev"
cp "$binary" "$root/sidevault"
mknod -m 666 "$root/dev/random" c 1 8 && mknod -m 666 "$root/dev/urandom" c 1 9 && mknod -m 666 "$root/dev/null" c 1 3
"$binary" init --out "$root/home/opuser/.op" >/dev/null
cp "$root/home/opuser/.op/issuer.json" "$root.issuer" && rm "$root/home/opuser/.op/issuer.json"
chown -R 999:999 "$root/home" && chmod 755 "$root"

free() { # prints a free port, which the kernel chose for a socket that is closed again
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null || echo $((20000 + RANDOM % 20000))
}
port=$(free) bus=$(free) status=$(free)
chroot=$(command -v chroot)
inside() { exec env -i "${@:2}" "$chroot" --userspec=999:999 "$root" /sidevault $1; }
inside api OP_HTTP_PORT="$port" OP_BUS_PORT="$bus" 2>"$root.api" &
pids+=($!)
inside "sync --vault apps --allow-ephemeral" OP_HTTP_PORT="$status" OP_BUS_PEERS="localhost:$bus" 2>"$root.sync" &
pids+=($!)

token=$("$binary" token create probe --vault apps=read,write --issuer "$root.issuer" \
    --session "$root/home/opuser/.op/1password-credentials.json" --data "$root/home/opuser/.op/data" 2>/dev/null)
answer=
for _ in $(seq 100); do
    answer=$(curl -s -X POST -H "Authorization: Bearer $token" -d '{"title":"from nothing","category":"LOGIN"}' \
        "http://localhost:$port/v1/vaults/apps/items" || true)
    case $answer in *'"version":1'*) break ;; esac
    sleep 0.1
done
case $answer in
*'"version":1'*) echo "the static binary wrote and read an item as uid 999 in an empty root directory" ;;
*)
    echo "no item could be written: $answer"
    for log in "$root.api" "$root.sync"; do tail -n 8 "$log"; done
    exit 1
    ;;
esac
kill "${pids[@]}"
wait "${pids[@]}" && echo "api and sync ended with status 0"
rm -f "$root.issuer" "$root.api" "$root.sync"
pids=()
