#!/usr/bin/env bash
# Fuzzes: `fuzz/run.sh SECONDS [TARGET…]` runs each target (default: all) for so long, from its corpus in fuzz/corpus, and
# says how many inputs it executed. New inputs stay under target/fuzz; an input that fails a target is written there, too.
# Needs a C++ compiler, for libFuzzer, and no nightly Rust: no sanitizer is used, since the code has no `unsafe`.
# `cargo fuzz run TARGET --sanitizer none` does the same.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET…]}
shift
out=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
command -v c++ >/dev/null || { echo "skipped: no C++ compiler" && exit 77; }

targets=("$@")
[ ${#targets[@]} -gt 0 ] || for file in fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done

flags=(--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1)
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=("-Cllvm-args=-sanitizer-coverage-$option")
done
# With --target, build scripts and macros are not instrumented.
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="${flags[*]}" cargo build --manifest-path fuzz/Cargo.toml --release --locked --target "$host" \
    --target-dir "$out" $(printf -- '--bin %s ' "${targets[@]}")

failed=0
for target in "${targets[@]}"; do
    mkdir -p "$out/corpus/$target" "$out/failures" "fuzz/corpus/$target"
    log=$out/$target.log
    if "$out/$host/release/$target" "$out/corpus/$target" "fuzz/corpus/$target" -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=2048 -artifact_prefix="$out/failures/$target-" -print_final_stats=1 >"$log" 2>&1; then
        printf '%s: %s inputs executed, none failed\n' "$target" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
    else
        failed=1
        printf '%s: FAILED\n' "$target" && tail -n 30 "$log"
    fi
done
exit "$failed"
