#!/bin/sh
# Builds a Kubernetes control plane, what a node needs, kubectl, helm and an External Secrets controller into
# target/tools/cluster. Each group is built once: a second run with the same files does nothing. Needs Go and, the first time, the
# module proxy. `build.sh control-plane` builds that group alone; the others are `node`, `helm`, `external-secrets`, and for the
# nightly tests `external-secrets-old`.
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

build() { # OUTPUT LINKER-FLAGS PACKAGE...: in the module of the current directory
    output=$1 linker=$2
    shift 2
    echo "building $*" >&2
    # -p 2: the linker of the api server alone takes 2 GiB. -buildvcs=false: the module lies inside another repository.
    CGO_ENABLED=0 nice -n 5 go build -mod=readonly -p 2 -trimpath -buildvcs=false -ldflags="-s -w $linker" -o "$out/$output" "$@"
}

# Downloads a module, and copies its source to $copy/source, where it may be changed. The directory $copy is removed at the end.
copy_source() { # MODULE: one that the module of the current directory requires
    source=$(go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    cp -R "$source" "$copy/source"
    chmod -R u+w "$copy"
}

kubernetes_flags() { # prints the linker's flags that name the version; in a module that requires Kubernetes
    version=$(go list -mod=readonly -m -f '{{.Version}}' k8s.io/kubernetes)
    minor=${version#v1.}
    at=k8s.io/component-base/version
    echo "-X $at.gitVersion=$version -X $at.gitMajor=1 -X $at.gitMinor=${minor%%.*}"
}

control_plane() {
    cd "$here"
    flags=$(kubernetes_flags)
    minor=${flags##*=}
    # One command for all of them: while one program is linked, which takes one core, the next is compiled.
    set -- go.etcd.io/etcd/server/v3 k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager
    kubectl_of_this_machine "$minor" || set -- "$@" k8s.io/kubernetes/cmd/kubectl
    build "" "$flags" "$@"
    mv "$out/server" "$out/etcd"
}

# Uses the kubectl on PATH if Kubernetes supports it with this server: at most one minor release away.
kubectl_of_this_machine() { # MINOR
    found=$(command -v kubectl) || return 1
    theirs=$("$found" version --client -o json 2> /dev/null | sed -n 's/.*"minor": *"\([0-9]*\).*/\1/p')
    [ -n "$theirs" ] && [ $((theirs - $1)) -ge -1 ] && [ $((theirs - $1)) -le 1 ] || return 1
    ln -sf "$found" "$out/kubectl"
}

# The versions in its go.mod are those of the control plane, so Go compiles the libraries of both once. For that, two modules are
# replaced by the versions that Kubernetes requires.
node() {
    cd "$here/node"
    build "" "$(kubernetes_flags)" k8s.io/kubernetes/cmd/kubelet k8s.io/kubernetes/cmd/kube-scheduler k8s.io/kubernetes/cmd/kube-proxy
    build "" "" ./network-policies
    # This CoreDNS sets a field that the newer client library no longer has. It was false, the default.
    copy_source github.com/coredns/coredns
    sed -i '/^\t\tRetryOnError: *false,$/d' "$copy/source/plugin/kubernetes/object/informer.go"
    cp go.mod go.sum "$copy"
    go mod edit -replace "github.com/coredns/coredns=$copy/source" "$copy/go.mod"
    export GOFLAGS="${GOFLAGS:-} -modfile=$copy/go.mod"
    build coredns "" ./dns
}

helm() {
    cd "$here/helm"
    build helm "" helm.sh/helm/v4/cmd/helm
}

# The released controller without the cloud providers, which would take most of an hour to compile.
external_secrets() { # RELEASE
    program=external-secrets-$1
    cd "$here/eso/$1"
    copy_source github.com/external-secrets/external-secrets
    cd "$copy/source"
    cp "$here/eso/providers.go" pkg/provider/register/register.go
    cp "$here/eso/generators.go" pkg/generator/register/register.go
    # These releases keep one client for all stores, so one store may use another's token. 2.x has one client for each store.
    provider=pkg/provider/onepassword/onepassword.go
    sed -i 's/^\tprovider\.client = /\tprovider = new(ProviderOnePassword)\n&/' "$provider"
    grep -q '= new(ProviderOnePassword)' "$provider"
    build "$program" "" .
    mkdir -p "$out/$program.crds"
    cp config/crds/bases/*_*.yaml "$out/$program.crds"
}

group() { # NAME COMMAND FILES: unless these files were built already
    name=$1 command=$2
    shift 2
    want=$(cat "$here/build.sh" "$@" | sha256sum | cut -d' ' -f1)
    if [ -f "$out/.$name" ] && [ "$(cat "$out/.$name")" = "$want" ]; then
        return
    fi
    # A subshell, for its directory and its trap, and because `set -e` has no effect in a function that is called as a condition.
    (set -eu && $command)
    printf '%s\n' "$want" > "$out/.$name"
}

for wanted in ${*:-control-plane node helm external-secrets}; do
    case $wanted in
    control-plane) group control-plane control_plane "$here/go.mod" "$here/go.sum" ;;
    node) group node node "$here"/node/go.* "$here"/node/*/main.go ;;
    helm) group helm helm "$here/helm/go.mod" "$here/helm/go.sum" ;;
    external-secrets | external-secrets-old)
        release=v0.20
        [ "$wanted" = external-secrets ] || release=v0.9
        group "external-secrets-$release" "external_secrets $release" "$here/eso/$release"/go.* "$here"/eso/*.go
        ;;
    *) echo "build.sh: no group named $wanted" >&2 && exit 2 ;;
    esac
done
