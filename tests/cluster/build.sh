#!/bin/sh
# Builds a Kubernetes control plane, kubectl, helm and an External Secrets controller into target/tools/cluster.
# Each group once: a second run with the same files does nothing. Needs Go and, the first time, the module proxy.
# `build.sh control-plane` builds that group alone; the others are `helm` and `external-secrets`.
set -eu

command -v go > /dev/null || {
    echo "build.sh: no Go, so no control plane for the tests" >&2
    exit 77
}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
out=${CARGO_TARGET_DIR:-$root/target}/tools/cluster
mkdir -p "$out"
out=$(CDPATH='' cd -- "$out" && pwd)

build() { # PROGRAM PACKAGE [LINKER FLAGS]: in the module of the current directory
    echo "building $1" >&2
    # -p 2: the linker of the api server alone takes 2 GiB. -buildvcs=false: the module lies inside another repository.
    CGO_ENABLED=0 nice -n 5 go build -mod=readonly -p 2 -trimpath -buildvcs=false -ldflags="-s -w ${3:-}" \
        -o "$out/$1" "$2"
}

control_plane() {
    cd "$here"
    version=$(go list -mod=readonly -m -f '{{.Version}}' k8s.io/kubernetes)
    minor=${version#v1.}
    at=k8s.io/component-base/version
    flags="-X $at.gitVersion=$version -X $at.gitMajor=1 -X $at.gitMinor=${minor%%.*}"
    build etcd go.etcd.io/etcd/server/v3
    build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$flags"
    build kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager "$flags"
    build kubectl k8s.io/kubernetes/cmd/kubectl "$flags"
}

helm() {
    cd "$here/helm"
    build helm helm.sh/helm/v4/cmd/helm
}

# The whole controller as released, but for the providers of clouds: those would take most of an hour to compile.
external_secrets() {
    cd "$here/eso"
    source=$(go mod download -json github.com/external-secrets/external-secrets | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    cp -R "$source/." "$copy"
    chmod -R u+w "$copy"
    cp providers/*.go "$copy/pkg/provider/register"
    cp generators/register.go "$copy/pkg/generator/register/register.go"
    cd "$copy"
    build external-secrets .
    mkdir -p "$out/external-secrets.crds"
    cp config/crds/bases/*_*.yaml "$out/external-secrets.crds"
}

group() { # NAME FUNCTION FILES: unless these files were built already
    name=$1 function=$2
    shift 2
    want=$(cat "$here/build.sh" "$@" | sha256sum | cut -d' ' -f1)
    if [ -f "$out/.$name" ] && [ "$(cat "$out/.$name")" = "$want" ]; then
        return
    fi
    # In a shell of its own, for its directory and its trap; -e does not reach into a function that is tested.
    (set -eu && "$function")
    printf '%s\n' "$want" > "$out/.$name"
}

for wanted in ${*:-control-plane helm external-secrets}; do
    case $wanted in
    control-plane) group control-plane control_plane "$here/go.mod" "$here/go.sum" ;;
    helm) group helm helm "$here/helm/go.mod" "$here/helm/go.sum" ;;
    external-secrets)
        group external-secrets external_secrets "$here/eso/go.mod" "$here/eso/go.sum" "$here"/eso/*/*.go
        ;;
    *) echo "build.sh: no group named $wanted" >&2 && exit 2 ;;
    esac
done
