#!/bin/sh
# Builds sidevault as a static program for this machine's architecture, and puts it at /sidevault. The arguments go to cargo:
# the crate's features. For the Dockerfile beside this file.
set -eu
# With --target, RUSTFLAGS hold for the program only, and not for the build scripts that run during the build.
target=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="-C target-feature=+crt-static" cargo build --profile dist --locked -p sidevault --target "$target" "$@"
cp "target/$target/dist/sidevault" /sidevault
