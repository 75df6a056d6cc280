#!/usr/bin/env bash
# Builds the program that the tests put into images, and prints its path: a static one, as in the images that are released, but not
# optimised.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=${CARGO_TARGET_DIR:-$PWD/target}
# Linking alone decides whether a program is static, so only the last crate is compiled with the flag. The build for the tests
# uses the feature tokio/test-util, too, so cargo reuses most dependencies of that build. The linker keeps one of several functions
# with the same code, so that more of the program stays in the memory that the tests' Pods have.
cargo rustc --locked -p sidevault --bin sidevault --features tokio/test-util -- -C target-feature=+crt-static \
    -C link-arg=-Wl,--icf=all >&2
mkdir -p "$target/static"
strip -o "$target/static/sidevault" "$target/debug/sidevault"
if readelf -d "$target/static/sidevault" | grep -q NEEDED; then
    echo "the binary is not static:" >&2
    readelf -d "$target/static/sidevault" | grep NEEDED >&2
    exit 1
fi
echo "$target/static/sidevault"
