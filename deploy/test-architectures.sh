#!/usr/bin/env bash
# Compiles the program as a release has it, for amd64 and arm64, and checks what can't be checked with the tests' binary:
#
#   - compiling it again, in another directory, gives the same bytes;
#   - the arm64 program serves and answers, under qemu, and so does curl of the arm64 images;
#   - the list of crates is valid SPDX;
#   - Podman pulls the images of both architectures from a registry.
#
# Takes half an hour and more on two cores. Exit status 77: not run, because a tool is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/testing.sh
[ "$(dpkg --print-architecture)" = amd64 ] || { echo "needs an amd64 machine"; exit 77; }
need go git python3 debootstrap rustup qemu-aarch64-static aarch64-linux-gnu-gcc ssh-keygen podman
rustup target list --installed | grep -qx aarch64-unknown-linux-gnu || { echo "needs: rustup target add aarch64-unknown-linux-gnu"; exit 77; }
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

# As it is committed, in two directories that differ in their names' lengths, too, and so do the paths of cargo-auditable.
deploy/image/auditable.sh
for directory in "$work/first" "$work/another/directory"; do
    git clone --quiet --shared . "$directory"
    mkdir -p "$directory/target/tools" && cp -R "$tools/auditable" "$directory/target/tools/"
done
compile() { # DIRECTORY OUT [ARGUMENTS]
    (cd "$1" && unset CARGO_TARGET_DIR && deploy/image/build.sh "${@:2}")
}
compile "$work/first" "$work/amd64"
compile "$work/another/directory" "$work/again"
cmp "$work/amd64" "$work/again" || fail "two builds of the program differ"
echo "two builds of the program, in two directories, have the same bytes: $(sha256sum <"$work/amd64")"
rm -rf "$work/another"

compile "$work/first" "$work/arm64" --target aarch64-unknown-linux-gnu
rm -rf "$work/first"
! readelf -d "$work/arm64" | grep NEEDED || fail "the arm64 program is not static"
[ "$(qemu-aarch64-static "$work/arm64" --version)" = "sidevault $version" ] || fail "the arm64 program"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
qemu-aarch64-static "$work/arm64" quickstart --data "$work/data" --port "$port" >"$work/log" 2>&1 &
for _ in $(seq 300); do
    answer=$(curl -s -H "Authorization: Bearer $(cat "$work/data/quickstart.token" 2>/dev/null)" \
        "http://127.0.0.1:$port/v1/vaults/secrets/items/postgres-database" || true)
    case $answer in *'"label":"password"'*) break ;; esac
    sleep 0.2
done
case $answer in *'"label":"password"'*) ;; *) cat "$work/log" && fail "the arm64 program: $answer" ;; esac
kill $(jobs -p) && wait
echo "the arm64 program served its sample item under qemu"

files=$work/files
ssh-keygen -q -t ed25519 -N "" -C test -f "$work/key"
deploy/release --arch amd64 --binary "$work/amd64" --arch arm64 --binary "$work/arm64" --out "$files" --key "$work/key"
(cd "$files" && sha256sum --check --quiet SHA256SUMS) || fail "the checksums"
[ "$(dpkg-deb --field "$files/sidevault_${version}_arm64.deb" Architecture)" = arm64 ] || fail "the arm64 package"

# The layers of the arm64 image, one over the other.
mkdir "$work/archive" "$work/root" && tar -xf "$files/sidevault-api-$version-image-arm64.tar" -C "$work/archive"
for layer in $(python3 -c 'import json, sys; print(*json.load(sys.stdin)[0]["Layers"])' <"$work/archive/manifest.json"); do
    tar -xf "$work/archive/$layer" -C "$work/root"
done
qemu-aarch64-static -L "$work/root" "$work/root/usr/bin/curl" --version | grep >/dev/null '^curl .*aarch64' || fail "curl in the arm64 image"

python3 -m venv "$work/python" && "$work/python/bin/pip" install --quiet --disable-pip-version-check spdx-tools==0.8.5
for list in "$files"/*.spdx.json; do
    "$work/python/bin/pyspdxtools" --infile "$list" || fail "$list is not valid SPDX"
    grep -q '"pkg:cargo/tokio@' "$list" || fail "$list lacks a crate"
done

# A registry with the images' layouts, from which Podman takes the image of each architecture.
layouts=()
for file in "$files"/*-oci.tar; do
    name=$(basename "$file" "-$version-oci.tar")
    [ "$name" != sidevault-chart ] || continue
    mkdir "$work/layout-$name" && tar -xf "$file" -C "$work/layout-$name"
    layouts+=("$name=$work/layout-$name")
done
tests/deploy/registry.py "${layouts[@]}" >"$work/registry" &
for _ in $(seq 100); do [ -s "$work/registry" ] && break || sleep 0.1; done
podman() { command podman --root "$work/podman" --runroot "$work/podman-run" --storage-driver vfs "$@"; }
for layout in "${layouts[@]}"; do
    image=$(cat "$work/registry")/${layout%%=*}:$version
    for architecture in amd64 arm64; do
        podman pull --quiet --tls-verify=false --arch "$architecture" "$image" >"$work/log" 2>&1 || { cat "$work/log" && fail "pull $image"; }
        [ "$(podman image inspect "$image" --format '{{.Architecture}}')" = "$architecture" ] || fail "$image is not for $architecture"
        podman rmi --force "$image" >"$work/log" 2>&1
    done
done
echo "Podman pulls each image for amd64 and for arm64 from a registry"
