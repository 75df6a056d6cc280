# Sourced by each suite's run.sh. Gives it `here`, its own directory, and `out`, one to build in.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[1]}")" && pwd)
out=${CARGO_TARGET_DIR:-$here/../../../target}/clients/$(basename "$here")
mkdir -p "$out"
out=$(cd -- "$out" && pwd)

missing() { # WHAT: the suite can't be run here
    echo "skipped: $1"
    exit 77
}

need() { # PROGRAM...
    for tool in "$@"; do
        command -v "$tool" >/dev/null || missing "no $tool on PATH"
    done
}

# Runs `install` unless it was run already with the same standard input.
once() {
    local want
    want=$(cat)
    [ "$(cat "$out/.installed" 2>/dev/null || true)" != "$want" ] || return 0
    install
    printf '%s\n' "$want" >"$out/.installed"
}

need_node() { # PROGRAM...: those that the suite needs besides
    need node npm "$@"
    [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || missing "node $(node --version) is older than 20"
}

# The packages that the suite's package-lock.json pins.
install_packages() {
    cp "$here/package.json" "$here/package-lock.json" "$out/"
    (cd "$out" && nice npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
}

go_tests() {
    need go
    cd "$here"
    # -c: relinks only when something changed. -buildvcs=false: the module lies inside another repository.
    GOFLAGS="-p=1 -mod=readonly -buildvcs=false" CGO_ENABLED=0 nice go test -c -o "$out/suite.test" .
    exec "$out/suite.test" -test.v -test.timeout 120s "$@"
}
