#!/usr/bin/env bash
# Proves the promise of the `bare` image without a container engine: the statically linked
# binary runs as uid 999 in a root that holds nothing but itself, its keys and its data.
# Exit 77: can't be proven here (not root).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ "$(id -u)" = 0 ] || { echo "needs root, for chroot"; exit 77; }
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
# What makes a program static is decided when it is linked, so only the last crate gets the flag. The feature is one that the
# tests' build has: with it most of the dependencies are those of that build.
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

free() { # a free port: asked of the kernel by binding and letting go
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
*'"version":1'*) echo "an item was written and read in an empty root, as uid 999, by a static binary" ;;
*)
    echo "no item could be written: $answer"
    for log in "$root.api" "$root.sync"; do tail -n 8 "$log"; done
    exit 1
    ;;
esac
kill "${pids[@]}"
wait "${pids[@]}" && echo "and both ended well"
rm -f "$root.issuer" "$root.api" "$root.sync"
pids=()
