#!/usr/bin/env bash
# Builds the fuzzers and runs each for a bounded time over its seed corpus.
#   tests/fuzz/run.sh [seconds-per-target]      (default 30)
# Fails when one crashes, hangs or takes too much memory. What it finds lies
# in build/fuzz/found/; the committed corpus is only read.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-30}
build=${OCTET_FUZZ_BUILD:-build/fuzz}
targets=(safetensors config manifest archive calibration wire)

cmake --preset fuzz -B "$build"
cmake --build "$build" --target "${targets[@]/#/fuzz_}"
mkdir -p "$build/found"

failed=0
summary=""
for target in "${targets[@]}"; do
  work=$(mktemp -d)
  log="$build/found/$target.log"
  result=ok
  "$build/tests/fuzz/fuzz_$target" "$work" "tests/fuzz/corpus/$target" \
    -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 \
    -max_len=16384 -print_final_stats=1 \
    -artifact_prefix="$build/found/$target-" >"$log" 2>&1 || result=FAILED
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
  coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 || true)
  summary+=$(printf '%-12s %-7s %10s runs  %5s MiB  %s' "$target" "$result" \
    "${runs:-?}" "${peak:-?}" "$coverage")$'\n'
  if [ "$result" != ok ]; then
    failed=1
    tail -n 40 "$log"
  fi
  rm -rf "$work"
done

printf '\n%s' "$summary"
exit "$failed"
