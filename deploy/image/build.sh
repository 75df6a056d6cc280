#!/bin/sh
# Builds sidevault as a static program for this machine's architecture, and copies it to OUT. The other arguments go to cargo:
# the crate's features. For the Dockerfile beside this file.
#
#   deploy/image/build.sh OUT --no-default-features --features operator
set -eu
out=$1
shift
# With --target, RUSTFLAGS hold for the program only, and not for the build scripts that run during the build. The program must
# not depend on the directories that it was compiled in.
target=$(rustc -vV | sed -n 's/^host: //p')
remap="--remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
RUSTFLAGS="-C target-feature=+crt-static $remap" cargo build --profile dist --locked -p sidevault --target "$target" "$@"
cp "${CARGO_TARGET_DIR:-target}/$target/dist/sidevault" "$out"
