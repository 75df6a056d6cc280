# Commands for developers. `just` lists them; CONTRIBUTING.md explains them.

_list:
    @just --list

# Formatting and lints
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The test programs of these names (default: all)
test *names:
    tests/rust.sh {{names}}

# Formatting, and the tests that take seconds
quick:
    tests/run quick

# Every suite that a change must pass
e2e:
    tests/run

# Slow tests that seldom fail
nightly:
    tests/run nightly

# Measure speed and memory, beside a bare HTTP handler
bench:
    cargo build --release -p sidevault
    cargo run --release -p sidevault-bench

# Fuzz these targets (default: all) for a minute each
fuzz *targets:
    fuzz/run.sh 60 {{targets}}

# The program as the images have it: static, with link-time optimisation
release target="x86_64-unknown-linux-gnu":
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --profile dist --locked -p sidevault --target {{target}}
