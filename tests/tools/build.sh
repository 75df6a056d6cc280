#!/bin/sh
# Builds the pinned test programs of go.mod (sops, age, age-keygen, pebble, h2spec, actionlint), those of kustomize/go.mod (kustomize) and s3/go.mod
# (versitygw), and the program linearizability into target/tools, once. A second run with the same sources does nothing. Needs Go and, the first time, the module proxy.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
out=${CARGO_TARGET_DIR:-$root/target}/tools
mkdir -p "$out"
out=$(CDPATH='' cd -- "$out" && pwd)

want=$(cat "$here/go.mod" "$here/go.sum" "$here"/kustomize/* "$here"/s3/* "$here"/linearizability/* | sha256sum | cut -d' ' -f1)
if [ -f "$out/.built" ] && [ "$(cat "$out/.built")" = "$want" ]; then
    exit 0
fi

for module in "$here" "$here/kustomize" "$here/s3"; do
    cd "$module"
    # Every `tool` line of go.mod, so adding a program needs no change here.
    for tool in $(go list -mod=readonly tool); do
        echo "building $tool" >&2
        # -buildvcs=false: the module lies inside another repository; -p 2: sops alone links most of three clouds.
        CGO_ENABLED=0 go build -mod=readonly -p 2 -trimpath -buildvcs=false -ldflags='-s -w' -o "$out/" "$tool"
    done
done
cd "$here/linearizability"
CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -o "$out/" .
printf '%s\n' "$want" > "$out/.built"
