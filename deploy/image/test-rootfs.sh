#!/usr/bin/env bash
# Tests the images without a container engine. Builds them twice, with the binary of the tests, and compares; unpacks them, each into
# an empty directory; and runs them there with chroot, as their configuration says: entry point, user, environment. api and sync
# share a data directory, and serve an item that is written. Exit status 77: not run, because chroot and mount need root, or a tool
# is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ "$(id -u)" = 0 ] || { echo "needs root, for chroot"; exit 77; }
source deploy/testing.sh
need go busybox python3 unshare
binary=$(deploy/image/test-binary.sh)

work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
chmod 755 "$work"

images=(sidevault sidevault-api sidevault-sync sidevault-operator sidevault-op)
deploy/image/build --binary "$binary" --out "$work/images"
# Whoever builds the images again has another umask, time zone and time.
(umask 077 && TZ=Asia/Tokyo deploy/image/build --binary "$binary" --out "$work/again" >/dev/null)
diff -r "$work/images" "$work/again" || fail "two builds differ"
rm -rf "$work/again"
echo "two builds of the images have the same bytes"

json() { # FILE EXPRESSION: prints the strings that the Python expression finds in the document d
    python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(*eval(sys.argv[2]), sep="\n")' "$1" "$2"
}
for image in "${images[@]}"; do
    layout=$work/images/$image.oci root=$work/$image
    (cd "$layout/blobs/sha256" && for blob in *; do echo "$blob  $blob"; done | sha256sum --check --quiet) || fail "$image: a blob"
    manifest=$layout/blobs/$(json "$layout/index.json" '[d["manifests"][0]["digest"]]' | tr : /)
    config=$layout/blobs/$(json "$manifest" '[d["config"]["digest"]]' | tr : /)
    # The docker archive holds the same configuration and layers.
    mkdir "$work/archive" "$root" && tar -xf "$work/images/$image.tar" -C "$work/archive"
    [ "$(json "$work/archive/manifest.json" 'd[0]["RepoTags"]')" = "$image:$version" ] ||
        fail "$image: the name in the archive"
    cmp "$config" "$work/archive/$(json "$work/archive/manifest.json" '[d[0]["Config"]]')"
    json "$manifest" '[l["digest"].replace(":", "/") for l in d["layers"]]' >"$work/layers"
    json "$work/archive/manifest.json" '[l.removeprefix("blobs/") for l in d[0]["Layers"]]' | cmp - "$work/layers"
    while read -r layer; do
        tar -xpf "$work/archive/blobs/$layer" -C "$root" --numeric-owner --same-owner
    done <"$work/layers"
    rm -rf "$work/archive"
    json "$config" '[d["config"]["User"]]' >"$root.user"
    json "$config" 'd["config"]["Entrypoint"]' >"$root.entrypoint"
    json "$config" 'd["config"]["Env"]' >"$root.environment"
    json "$config" '[v for k, v in d["config"]["Labels"].items() if k.startswith("org.opencontainers.image.")]' | wc -l >"$root.labels"
    [ "$(cat "$root.labels")" = 6 ] || fail "$image has $(cat "$root.labels") labels"
    [ "$(stat -c %u:%g:%a "$root/home/opuser/.op/data")" = 999:999:700 ] || fail "$image: the data directory"
    mkdir -p "$root/dev"
    mknod -m 666 "$root/dev/random" c 1 8 && mknod -m 666 "$root/dev/urandom" c 1 9 && mknod -m 666 "$root/dev/null" c 1 3
done
[ "$(ls "$work/sidevault-operator")" = "$(printf 'dev\nhome\nusr')" ] || fail "the operator's image holds more than the program"

api=$work/sidevault-api sync=$work/sidevault-sync
chroot=$(command -v chroot)
command_of() { # IMAGE COMMAND...: sets `command` to this command in the image's root, with the image's user and environment
    mapfile -t environment <"$work/$1.environment"
    command=("$chroot" "--userspec=$(cat "$work/$1.user")" "$work/$1" "${@:2}")
}
start() { # IMAGE "VARIABLE=VALUE ..." ARGUMENTS: the image's entry point
    mapfile -t entrypoint <"$work/$1.entrypoint"
    command_of "$1" "${entrypoint[@]}" "${@:3}"
    exec env -i "${environment[@]}" $2 "${command[@]}"
}
run() { # IMAGE COMMAND...: as `kubectl exec` does
    command_of "$@"
    env -i "${environment[@]}" "${command[@]}"
}
(start sidevault "" --version) | grep "^sidevault " >/dev/null || fail "sidevault --version"
(start sidevault-operator "" --help) | grep operator >/dev/null || fail "sidevault-operator --help"
[ "$(run sidevault-operator /usr/local/bin/sidevault --version)" = "$(run sidevault sidevault --version)" ] || fail "the versions"
[ "$(cat "$work/sidevault-operator.user")" = 65532:65532 ] || fail "the operator's user"
[ "$(ls "$work/sidevault-op/usr/bin")" = "$(printf 'busybox\ncp\nsh')" ] || fail "the image for op holds more than the program, sh and cp"
[ "$(start sidevault-op "" --version)" = "$("$binary" op --version)" ] || fail "op --version"
[ "$(run sidevault-sync sh -c 'id -u; id -un; echo $HOME')" = "$(printf '999\nopuser\n/home/opuser')" ] || fail "the server's user"

"$binary" init --out "$work/keys" >/dev/null
for root in "$api" "$sync"; do
    install -o 999 -g 999 -m 0400 "$work/keys/1password-credentials.json" "$root/home/opuser/.op/"
done
free() { # prints a free port, which the kernel chose for a socket that is closed again
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
port=$(free) bus=$(free) status=$(free)
start sidevault-api "OP_HTTP_PORT=$port OP_BUS_PORT=$bus" 2>"$work/api.log" &
pids+=($!)
# sync gets the data directory of api as a volume.
export -f start command_of
export work chroot
unshare --mount bash -c 'mount --bind "$1" "$2" && start sidevault-sync "$3" --vault apps --allow-ephemeral' - \
    "$api/home/opuser/.op/data" "$sync/home/opuser/.op/data" "OP_HTTP_PORT=$status OP_BUS_PEERS=localhost:$bus" 2>"$work/sync.log" &
pids+=($!)

token=$("$binary" token create probe --vault apps=read,write --issuer "$work/keys/issuer.json" \
    --session "$work/keys/1password-credentials.json" --data "$api/home/opuser/.op/data" 2>/dev/null)
answer=
for _ in $(seq 100); do
    answer=$(run sidevault-api curl -s -X POST -H "Authorization: Bearer $token" -d '{"title":"from an image","category":"LOGIN"}' \
        "http://localhost:$port/v1/vaults/apps/items" || true)
    case $answer in *'"version":1'*) break ;; esac
    sleep 0.1
done
case $answer in
*'"version":1'*) echo "api and sync wrote and read an item, each as uid 999 in its own image" ;;
*) fail "no item could be written: $answer" ;;
esac
# kubernetes-secrets-injector copies the program into a volume, and puts `/op/bin/op run --` in front of a container's command. The
# container's image has no more than its own program.
op=$work/sidevault-op application=$work/application
mkdir -p "$op/op/bin" "$application/bin" && chown 999:999 "$op/op/bin"
run sidevault-op sh -c "cp /usr/local/bin/op /op/bin/"
cp "$(command -v busybox)" "$application/bin/sh"
mkdir -p "$application/op" && cp -a "$op/op/bin" "$application/op/bin"
"$binary" item create --host "http://localhost:$port" --token-file <(echo "$token") --vault apps --title db \
    --field password=from-an-image >/dev/null
injected=("OP_CONNECT_HOST=http://localhost:$port" "OP_CONNECT_TOKEN=$token" "DB=op://apps/db/password")
into() { # ARGUMENTS of op run: prints what the application sees
    env -i "${injected[@]}" "$chroot" --userspec=65532:65532 "$application" /op/bin/op run "$@"
}
[ "$(into --no-masking -- /bin/sh -c 'echo "$DB"')" = from-an-image ] || fail "op run in another image"
[ "$(into -- /bin/sh -c 'echo "$DB"')" = "<concealed by 1Password>" ] || fail "op run does not mask"
echo "op was copied out of its image, and ran a program of another image"

run sidevault-sync curl -s "http://localhost:$status/health" | grep >/dev/null '"name"' || fail "curl in sync's image"
kill "${pids[@]}"
wait "${pids[@]}" && echo "api and sync ended with status 0"
pids=()
