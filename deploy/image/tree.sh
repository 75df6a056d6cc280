#!/usr/bin/env bash
# Makes the files of the images that are not the program, from Debian's packages curl, ca-certificates and busybox-static: those of
# this Debian system, or, for another architecture, those that debootstrap downloads. For the Dockerfile beside this file.
#
#   deploy/image/tree.sh OUT [ARCHITECTURE]
#
#   OUT/opuser   the home directory, with the data directory
#   OUT/system   curl with its libraries and certificates, a shell with the usual commands, users and groups
#   OUT/shell    a shell and cp, with which 1Password's kubernetes-secrets-injector copies a program out of its image
#
# curl is Debian's, with its 30 libraries (18 MB): we found no static one that is kept up to date in a package registry. Only these files
# are copied, and not a whole Debian system, because the images need no more, and because this script runs in the Dockerfile and
# without a container engine alike. BusyBox gives what the manifests run: sh, sleep, chown, env, and tar for `kubectl cp`.
set -euo pipefail
umask 022
out=$1 architecture=${2:-$(dpkg --print-architecture)}
debian= # the directory that has Debian's files; empty for this system
tools=(curl busybox dpkg-query readelf)
if [ "$architecture" != "$(dpkg --print-architecture)" ]; then
    debian=$(mktemp -d)
    trap 'rm -rf "$debian"' EXIT
    tools=(dpkg-deb readelf debootstrap)
fi
for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null ||
        { echo "tree.sh: no $tool; on Debian: apt-get install curl ca-certificates busybox-static binutils debootstrap" >&2 && exit 77; }
done
if [ -n "$debian" ]; then
    # The packages are unpacked, and not configured: no program of the other architecture runs here.
    debootstrap --download-only --variant=minbase --arch="$architecture" --include=curl,ca-certificates,busybox-static \
        "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$debian" >"$debian.log" 2>&1 || { tail "$debian.log" >&2 && exit 1; }
    rm "$debian.log"
    for directory in bin lib sbin; do mkdir -p "$debian/usr/$directory" && ln -s "usr/$directory" "$debian/$directory"; done
    for file in "$debian"/var/cache/apt/archives/*.deb; do
        name=$(basename "$file")
        dpkg-deb --extract "$file" "$debian"
        dpkg-deb --contents "$file" | sed -n "s/.* \.\(\/[^ ]*[^/ ]\).*/\1 ${name%%_*}/p"
    done >"$debian/owners"
fi

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
cp "$debian/etc/os-release" "$root/etc/os-release"
# The same for every architecture.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"

install -m 0755 "$debian/usr/bin/curl" "$root/usr/bin/curl"
install -m 0755 "$debian/bin/busybox" "$root/usr/bin/busybox"
for command in sh cat chmod chown cp cut date df du env find grep head hostname id kill ls mkdir mv nslookup od ps pwd rm sed \
    sha256sum sleep sort stat tail tar test touch tr true uname wc which; do
    ln -s busybox "$root/usr/bin/$command"
done

# Scanners find the versions in status.d, as in other images without dpkg's own database.
package() { # NAME: notes that files of this package are in the image whose root is $root, with its licences
    local name=${1%%:*}
    [ ! -e "$root/var/lib/dpkg/status.d/$name" ] || return 0
    if [ -n "$debian" ]; then
        dpkg-deb --field "$debian/var/cache/apt/archives/${name}_"*.deb >"$root/var/lib/dpkg/status.d/$name"
    else
        dpkg-query --status "$1" >"$root/var/lib/dpkg/status.d/$name"
    fi
    install -D -m 0644 "$debian/usr/share/doc/$name/copyright" "$root/usr/share/doc/$name/copyright"
}
owner() { # FILE: prints the package that has it. Debian's package lists may name a path in /usr/lib without its /usr.
    if [ -n "$debian" ]; then
        grep -E "^(/usr)?${1#/usr} " "$debian/owners" | sed -n '1s/.* //p'
    else
        (dpkg-query --search "$1" "/usr$1" "${1#/usr}" 2>/dev/null || true) | sed -n "1s/: .*//p"
    fi
}
for name in curl ca-certificates busybox-static; do package "$name"; done

# Each library, and the dynamic linker. readelf reads files of every architecture, which ldd does not.
case $architecture in
amd64) triplet=x86_64-linux-gnu ;;
arm64) triplet=aarch64-linux-gnu ;;
*) echo "tree.sh: no architecture $architecture" >&2 && exit 2 ;;
esac
declare -A seen
copy_libraries() { # FILE: copies what it needs
    local name library owner
    for name in $(readelf --dynamic --program-headers --wide "$1" |
        sed -n -e 's/.*(NEEDED).*\[\(.*\)\]/\1/p' -e 's/.*interpreter: \(.*\)\]/\1/p'); do
        [ -z "${seen[${name##*/}]:-}" ] || continue
        seen[${name##*/}]=yes
        case $name in
        /*) library=$name ;;
        *) for library in "/lib/$triplet/$name" "/usr/lib/$triplet/$name"; do [ ! -e "$debian$library" ] || break; done ;;
        esac
        install -D -m 0755 "$debian$library" "$root$library"
        owner=$(owner "$library")
        [ -n "$owner" ] || { echo "tree.sh: no package has $library" >&2 && exit 1; }
        package "$owner"
        copy_libraries "$debian$library"
    done
}
copy_libraries "$debian/usr/bin/curl"

root=$out/shell
mkdir -p "$root"/{usr/bin,var/lib/dpkg/status.d}
install -m 0755 "$debian/bin/busybox" "$root/usr/bin/busybox"
for command in sh cp; do ln -s busybox "$root/usr/bin/$command"; done
package busybox-static
