# For the scripts that test what is made here, which source it in the repository's top directory.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
tools=$CARGO_TARGET_DIR/tools
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

need() { # TOOL...: ends the script with status 77, "not run", if one of them is missing
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || { echo "needs $tool" && exit 77; }
    done
}

fail() { # REASON: shows the last lines of the logs below $work, too
    local log
    echo "FAILED: $1"
    for log in "$work"/*.log; do [ ! -e "$log" ] || { echo "== $log" && tail -n 20 "$log"; }; done
    exit 1
}
