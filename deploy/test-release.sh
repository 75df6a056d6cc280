#!/usr/bin/env bash
# Makes the files of a release with the binary that deploy/image/test-rootfs.sh built, and checks each of them: checksums, the
# tarball, the units, the package, the chart, the definitions.
#
#   deploy/test-release.sh            what takes seconds
#   deploy/test-release.sh --all      makes the files twice and compares; installs the package in a new Debian root (debootstrap)
#
# Exit status 77: not run, because a tool is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/testing.sh
need go busybox python3 dpkg-deb systemd-analyze ssh-keygen
[ "${1:-}" != --all ] || need debootstrap
binary=$CARGO_TARGET_DIR/static/sidevault
[ -x "$binary" ] || { echo "no $binary; deploy/image/test-rootfs.sh builds it"; exit 1; }
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

files=$work/files
ssh-keygen -q -t ed25519 -N "" -C test -f "$work/key"
deploy/release --binary "$binary" --out "$files" --key "$work/key"
[ "$(wc -l <"$files/SHA256SUMS")" = "$(($(ls "$files" | wc -l) - 2))" ] || fail "a file without a checksum"
# As docs/install.md says.
verify() { # the commands in the page's block after the words "To verify"
    awk '/^To verify/ { found = 1 } found && /^```$/ { exit } found && inside { print } found && /^```sh$/ { inside = 1 }' docs/install.md
}
cp "$work/key.pub" "$files/sidevault-release.pub"
(cd "$files" && bash -euo pipefail -c "$(cd "$OLDPWD" && verify)") >"$work/verified" || fail "docs/install.md: verify: $(cat "$work/verified")"
grep -q '^Good "file" signature for sidevault' "$work/verified" && grep -q '\.deb: OK$' "$work/verified" || fail "$(cat "$work/verified")"
echo "forged  file" >>"$files/SHA256SUMS"
! (cd "$files" && bash -euo pipefail -c "$(cd "$OLDPWD" && verify)") >"$work/verified" 2>&1 || fail "changed checksums were not noticed"
sed -i '$d' "$files/SHA256SUMS" && rm "$files"/{sidevault-release.pub,signers}
echo "the commands in docs/install.md verify the files, and notice changed checksums"

mkdir "$work/tarball" && tar -xzf "$files"/sidevault-*-linux-*.tar.gz -C "$work/tarball" --strip-components=1
[ "$("$work/tarball/sidevault" --version)" = "sidevault $version" ] || fail "the program in the tarball"
for file in LICENSE man/sidevault.1 man/sidevault-api.1 completions/sidevault.{bash,zsh,fish}; do
    [ -s "$work/tarball/$file" ] || fail "no $file in the tarball"
done

package=$(ls "$files"/*.deb) root=$work/root
dpkg-deb --extract "$package" "$root"
[ "$("$root/usr/bin/sidevault" --version)" = "sidevault $version" ] || fail "the program in the package"
[ -z "$(dpkg-deb --contents "$package" | awk '$2 != "root/root"')" ] || fail "a file of the package that is not root's"
# What the units refer to, beside the package's files.
cp /usr/lib/systemd/system/*.target "$root/usr/lib/systemd/system/"
for unit in "$root"/usr/lib/systemd/system/sidevault-*.service; do
    name=$(basename "$unit")
    complaints=$(systemd-analyze verify --man=no --root="$root" "$name" 2>&1) && [ -z "$complaints" ] || fail "$name: $complaints"
    # 20 is 2.0 in the output: hardened well.
    systemd-analyze security --offline=true --threshold=20 --root="$root" "$name" >"$work/security" ||
        fail "$name: $(cat "$work/security")"
    tail -n 1 "$work/security"
    page=$(sed -n 's/^Documentation=man:\(.*\)(1)/\1/p' "$unit")
    [ -s "$root/usr/share/man/man1/$page.1.gz" ] || fail "$name: no manual page $page"
done

# The server takes the configuration that the package brings.
mkdir "$work/server" && "$root/usr/bin/sidevault" init --out "$work/server" >/dev/null
free() { # prints a free port, which the kernel chose for a socket that is closed again
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
port=$(free) bus=$(free)
export XDG_DATA_HOME=$work/server OP_SESSION=$work/server/1password-credentials.json
OP_HTTP_PORT=$port OP_BUS_PORT=$bus "$root/usr/bin/sidevault" api 2>"$work/api.log" &
OP_HTTP_PORT=$(free) OP_BUS_PEERS=localhost:$bus SOPS_AGE_KEY_FILE=$root/etc/sidevault/age-key.txt \
    SIDEVAULT_SYNC_CONFIG=$root/etc/sidevault/sources.yaml "$root/usr/bin/sidevault" sync --allow-ephemeral 2>"$work/sync.log" &
token=$("$root/usr/bin/sidevault" token create probe --vault apps=read --issuer "$work/server/issuer.json" 2>/dev/null)
for _ in $(seq 100); do
    answer=$(curl -s -H "Authorization: Bearer $token" "http://localhost:$port/v1/vaults" || true)
    case $answer in *'"name":"apps"'*) break ;; esac
    sleep 0.1
done
case $answer in
*'"name":"apps"'*) echo "the server serves the vault of the package's sources.yaml" ;;
*) cat "$work"/*.log && fail "the package's configuration: $answer" ;;
esac
kill $(jobs -p) && wait
unset XDG_DATA_HOME OP_SESSION

[ "$(grep -c '^kind: CustomResourceDefinition$' "$files/sidevault-crds-$version.yaml")" = 5 ] || fail "the definitions"
# Helm reads the same from the packed chart as from the directory, which tests/tests/deploy renders.
mkdir "$work/chart" && tar -xzf "$files/sidevault-chart-$version.tgz" -C "$work/chart"
diff -r --exclude-from=<(sed 's,.*/\(.\),\1,; s,/$,,' deploy/helm/sidevault/.helmignore) --exclude=.helmignore \
    deploy/helm/sidevault "$work/chart/sidevault" || fail "the packed chart"
[ ! -e "$work/chart/sidevault/examples" ] || fail "the packed chart holds what .helmignore names"
echo "the packed chart holds the directory's files"
mkdir "$work/layout" && tar -xf "$files/sidevault-chart-$version-oci.tar" -C "$work/layout"
(cd "$work/layout/blobs/sha256" && for blob in *; do echo "$blob  $blob"; done | sha256sum --check --quiet) || fail "a blob of the chart"
[ -e "$work/layout/blobs/sha256/$(sha256sum <"$files/sidevault-chart-$version.tgz" | cut -d' ' -f1)" ] ||
    fail "the chart's OCI layout does not hold the packed chart"
helm=$CARGO_TARGET_DIR/tools/cluster/helm
if [ -x "$helm" ]; then
    tests/deploy/registry.py "charts/sidevault=$work/layout" >"$work/registry" &
    for _ in $(seq 100); do [ -s "$work/registry" ] && break || sleep 0.1; done
    HOME=$work "$helm" pull --plain-http "oci://$(cat "$work/registry")/charts/sidevault" --version "$version" --destination "$work" \
        >"$work/pulled" 2>&1 || fail "helm pull: $(cat "$work/pulled")"
    cmp "$work/sidevault-$version.tgz" "$files/sidevault-chart-$version.tgz" || fail "Helm pulls another chart"
    kill $! && wait $! || true
    echo "Helm pulls the chart from a registry that holds the OCI layout"
fi

[ "${1:-}" = --all ] || exit 0

deploy/release --binary "$binary" --out "$work/again" --key "$work/key" >/dev/null
diff -r "$files" "$work/again" || fail "two releases differ"
echo "two releases have the same bytes"

debian=$work/debian
debootstrap --variant=minbase bookworm "$debian" >"$work/debootstrap.log" 2>&1 ||
    { tail "$work/debootstrap.log" && fail "debootstrap"; }
cp "$package" "$debian/"
chroot "$debian" dpkg --install "/$(basename "$package")" || fail "dpkg --install"
[ "$(chroot "$debian" sidevault --version)" = "sidevault $version" ] || fail "the installed program"
chroot "$debian" dpkg --verify sidevault || fail "dpkg --verify"
[ "$(stat -c %a "$debian/etc/sidevault/age-key.txt")" = 600 ] || fail "the mode of age-key.txt"
chroot "$debian" dpkg --purge sidevault >/dev/null && [ ! -e "$debian/usr/bin/sidevault" ] || fail "dpkg --purge"
echo "the package was installed, ran, and was removed in a new Debian root"
