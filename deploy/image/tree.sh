#!/usr/bin/env bash
# Makes the files of the images that are not the program, from this Debian system's packages curl, ca-certificates and
# busybox-static. For the Dockerfile beside this file.
#
#   OUT/opuser   the home directory, with the data directory
#   OUT/system   curl with its libraries and certificates, a shell with the usual commands, users and groups
#
# curl is Debian's, with its 30 libraries (18 MB): we found no static one that is kept up to date in a package registry. Only these files
# are copied, and not a whole Debian system, because the images need no more, and because this script runs in the Dockerfile and
# without a container engine alike. BusyBox gives what the manifests run: sh, sleep, chown, env, and tar for `kubectl cp`.
set -euo pipefail
umask 022
out=$1
for tool in curl busybox dpkg-query; do
    command -v "$tool" >/dev/null || { echo "tree.sh: no $tool; on Debian: apt-get install curl ca-certificates busybox-static" >&2 && exit 77; }
done

install -d "$out/opuser/.op" && install -d -m 0700 "$out/opuser/.op/data"

root=$out/system
mkdir -p "$root"/{etc/ssl/certs,usr/bin,usr/lib,usr/lib64,usr/local/bin,var/lib/dpkg/status.d}
install -d -m 1777 "$root/tmp"
for directory in bin lib lib64; do ln -s "usr/$directory" "$root/$directory"; done
echo "root:x:0:0:root:/:/bin/sh
opuser:x:999:999::/home/opuser:/bin/sh
nonroot:x:65532:65532::/:/bin/sh" >"$root/etc/passwd"
echo "root:x:0:
opuser:x:999:
nonroot:x:65532:" >"$root/etc/group"
echo "hosts: files dns" >"$root/etc/nsswitch.conf"
cp /etc/os-release "$root/etc/os-release"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"

install -m 0755 "$(command -v curl)" "$root/usr/bin/curl"
install -m 0755 "$(command -v busybox)" "$root/usr/bin/busybox"
for command in sh cat chmod chown cp cut date df du env find grep head hostname id kill ls mkdir mv nslookup od ps pwd rm sed \
    sha256sum sleep sort stat tail tar test touch tr true uname wc which; do
    ln -s busybox "$root/usr/bin/$command"
done

# Scanners find the versions in status.d, as in other images without dpkg's own database.
package() { # NAME: notes that files of this package are in the image, with its licences
    local name=${1%%:*}
    [ ! -e "$root/var/lib/dpkg/status.d/$name" ] || return 0
    dpkg-query --status "$1" >"$root/var/lib/dpkg/status.d/$name"
    install -D -m 0644 "/usr/share/doc/$name/copyright" "$root/usr/share/doc/$name/copyright"
}
for name in curl ca-certificates busybox-static; do package "$name"; done
# Each library, and the dynamic linker. Debian's package lists may name a path in /usr/lib without its /usr.
ldd "$(command -v curl)" | grep -o '/[^ ]*' | while read -r library; do
    install -D -m 0755 "$library" "$root$library"
    owner=$( (dpkg-query --search "$library" "/usr$library" "${library#/usr}" 2>/dev/null || true) | sed -n "1s/: .*//p")
    [ -n "$owner" ] || { echo "tree.sh: no package has $library" >&2 && exit 1; }
    package "$owner"
done
