#!/usr/bin/env bash
# Style and static checks, all of them without a fix: clang-format, clang-tidy,
# buf, ruff, shell syntax, promtool. Tools are the pinned ones of
# tests/requirements.txt.
#
# usage: tests/lint.sh [--changed] [check ...]
#   check      format, tidy, proto, python, shell, prometheus; default: all
#   --changed  clang-tidy looks only at what differs from the main branch, and
#              runs the static analyzer as well
#
# clang-tidy wants the generated headers of build/dev (OCTET_BUILD_DIR), whose
# sources include all that they use.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${OCTET_VENV:-.venv}/bin
build=${OCTET_BUILD_DIR:-build/dev}
changed=0
if [[ ${1:-} == --changed ]]; then changed=1; shift; fi
checks=("$@")
((${#checks[@]})) || checks=(format proto python shell prometheus tidy)

tracked() { git ls-files --cached --others --exclude-standard -- "$@"; }

# Files that a change touches, or all of them.
candidates() {
  if ((changed)); then
    { git diff --name-only --diff-filter=d "$(git merge-base HEAD main)" -- "$@"
      git ls-files --others --exclude-standard -- "$@"; } | sort -u
  else
    tracked "$@"
  fi
}

check_format() {
  tracked '*.h' '*.cc' | xargs "$bin/clang-format" --dry-run --Werror
}

check_tidy() {
  [[ -e $build/compile_commands.json ]] ||
    { echo "no $build/compile_commands.json: build first" >&2; return 1; }
  # A header is looked at through the files that include it. Tests and
  # benchmarks are left to the compiler's warnings: GoogleTest's macros are
  # what clang-tidy would complain about.
  # The analyzer takes as long as all other checks together; it looks at what
  # changes, not every time at the whole tree.
  local without=--checks=-clang-analyzer-*
  if ((changed)); then without=; fi
  # Sources for Arm want Arm's headers. What is deprecated GCC says as well, and
  # not of what libstdc++ does within std::stable_sort.
  candidates 'kernels/*.cc' 'server/*.cc' 'client/*.cc' ':!kernels/*neon*' |
    xargs -r -n 1 -P "$(nproc)" "$bin/clang-tidy" -p "$build" --quiet \
      ${without:+"$without"} \
      --extra-arg=-Wno-unknown-warning-option \
      --extra-arg=-Wno-ignored-optimization-argument \
      --extra-arg=-Wno-deprecated-declarations \
      --extra-arg=-idirafter"$(gcc -print-file-name=include)" 2> >(grep -vE \
        'warnings? generated|Suppressed .* warnings|Use -header-filter' >&2)
}

check_proto() { "$bin/buf" lint proto; }

check_python() {
  tracked '*.py' | xargs "$bin/ruff" check --quiet --config tests/ruff.toml &&
    tracked '*.py' |
    xargs "$bin/ruff" format --quiet --check --config tests/ruff.toml
}

check_shell() { tracked '*.sh' .ci/run | xargs -n 1 bash -n; }

check_prometheus() {
  promtool check config --syntax-only deploy/prometheus/prometheus.yml &&
    promtool check rules deploy/prometheus/rules/*.yml &&
    promtool test rules tests/deploy/promtool/*.yml
}

failed=()
for check in "${checks[@]}"; do
  start=$SECONDS
  if "check_$check"; then
    echo "lint $check: ok ($((SECONDS - start)) s)"
  else
    echo "lint $check: FAILED ($((SECONDS - start)) s)"
    failed+=("$check")
  fi
done
((${#failed[@]} == 0)) || { echo "lint failed: ${failed[*]}" >&2; exit 1; }
