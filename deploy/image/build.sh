#!/bin/sh
# Builds sidevault as a static program, and copies it to OUT. TARGET is a Rust target, by default this machine's. The other arguments
# go to cargo: the crate's features. For the Dockerfile beside this file.
#
#   deploy/image/build.sh OUT [--target TARGET] --no-default-features --features operator
#
# Another target than this machine's needs `rustup target add TARGET` and its C compiler: Debian's gcc-aarch64-linux-gnu with
# libc6-dev-arm64-cross, for aarch64-unknown-linux-gnu.
set -eu
out=$1
shift
host=$(rustc -vV | sed -n 's/^host: //p') target=
[ "${1:-}" != --target ] || { target=$2 && shift 2; }
target=${target:-$host}
directory=${CARGO_TARGET_DIR:-target}
if [ "$target" != "$host" ]; then
    linker=$(echo "CARGO_TARGET_${target}_LINKER" | tr a-z- A-Z_)
    export "$linker=$(echo "$target" | sed 's/-unknown//')-gcc"
fi

# With --target, RUSTFLAGS hold for the program only, and not for the build scripts that run during the build. The program must
# not depend on the directories that it was compiled in.
remap="--remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
deploy/image/auditable.sh
PATH=$(cd "$directory/tools/auditable/bin" && pwd):$PATH CARGO=$PWD/deploy/image/cargo.sh \
    RUSTFLAGS="-C target-feature=+crt-static $remap" \
    cargo-auditable auditable build --profile dist --locked -p sidevault --target "$target" "$@"
cp "$directory/$target/dist/sidevault" "$out"
