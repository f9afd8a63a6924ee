#!/usr/bin/env bash
# The tests of the project, on a bare Debian 12, as root or with sudo.
#
# usage: tests/run.sh [part ...]       default: all, which is the first six
#   unit       release build, unit tests
#   onednn3    what asks oneDNN, built against 3.x instead of Debian's 2.6
#   emulated   the kernels for AVX-512 and AVX-VNNI, computed with AVX2, where the
#              CPU lacks them
#   asan       the unit tests under AddressSanitizer and UBSan
#   lint       formatters and quick checks; the house's own tests
#   e2e        the built server and clients, from outside (pytest)
# and, not in `all`, which has to stay under 40 minutes on two cores:
#   container  builds the image and serves a request from it
#   tidy       clang-tidy over everything
#   fuzz       every fuzz target, OCTET_FUZZ_SECONDS (10) each
#   interop    transformers and compressed-tensors load our bundles, and we what
#              they save; installs PyTorch, 0.5 GB to download
#   arm        cross build; kernels and server on emulated Arm CPUs.
#              OCTET_ARM64_SYSROOT is made where it is not set
#   perf-analyzer  NVIDIA's load generator drives the server
#   scale      quantizes a checkpoint of OCTET_SCALE_MB (2000) within bounded
#              memory, on all cores
#   tsan       pool, scheduler and metrics under ThreadSanitizer; not rpc, whose
#              mutexes are Debian's Abseil, which it cannot see through
#   soak       mixed load on a server with AddressSanitizer,
#              OCTET_SOAK_SECONDS (600)
#   bench      measures the numbers in README, what measuring itself costs, and
#              Octet beside its rivals at some shapes
#   bench-linear, bench-forward  all shapes (tests/benchmarks)
#   bench-serving  throughput and latency under load, beside rivals
#   bench-wire     calls beside an empty call and a raw echo
#   bench-quality  what plans cost MiniLM's embeddings, and rivals'. With
#              OCTET_STS=sts-dev.csv of the STS benchmark, also what they cost
#              of its Spearman correlation
set -euo pipefail
cd "$(dirname "$0")/.."

export DEBIAN_FRONTEND=noninteractive
# What the tests need beyond deploy/apt/build.txt.
test_packages=(
  buildah            # container
  ca-certificates
  chromium           # the report's page is looked at
  clang-14           # fuzz
  debootstrap        # container
  fortunes           # texts for calibration
  git
  openssl            # certificates
  libbenchmark-dev
  libclang-rt-14-dev # fuzz
  libomp-14-dev      # fuzz: OpenMP for clang, as oneDNN wants it
  libgmock-dev
  libgtest-dev
  libsimde-dev       # emulated
  prometheus         # with promtool
  python3-venv
)

# What `arm` needs beyond both.
arm_packages=(g++-aarch64-linux-gnu mmdebstrap qemu-user-static)

as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }

install_packages() {
  mapfile -t packages < deploy/apt/build.txt
  packages+=("${test_packages[@]}")
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Status}\n' "${packages[@]}" \
    2> /dev/null | grep -c '^installed$') || true
  ((installed < ${#packages[@]})) || return 0
  as_root apt-get update -qq
  as_root apt-get install -y -qq --no-install-recommends "${packages[@]}" \
    > /dev/null
}

install_python() {
  if ! cmp -s tests/requirements.txt .venv/installed.txt; then
    /usr/bin/python3 -m venv --clear .venv
    .venv/bin/pip install --quiet --no-deps -r tests/requirements.txt
    cp tests/requirements.txt .venv/installed.txt
  fi
}

# build_release [target ...]; default: everything
build_release() {
  cmake --preset release
  cmake --build --preset release ${1:+--target "$@"}
}

part_unit() {
  build_release
  ctest --preset release -j "$(nproc)"
}

# install_onednn3 FOLDER: makes its include/ and lib/.
install_onednn3() {
  cmp -s tests/requirements-onednn3.txt "$1/installed.txt" && return
  rm -rf "$1"
  .venv/bin/pip install --quiet --no-deps --ignore-installed --prefix "$1" \
    -r tests/requirements-onednn3.txt
  cp tests/requirements-onednn3.txt "$1/installed.txt"
}

part_onednn3() {
  local root=$PWD/build/onednn3
  install_onednn3 "$root"
  cmake --preset release -B build/release-onednn3 \
    -DOCTET_ONEDNN_ROOT="$root" -DOCTET_BUILD_BENCHMARKS=OFF
  cmake --build build/release-onednn3 --target octet_kernels_onednn_test
  OCL_ICD_FILENAMES=$root/lib/libintelocl.so \
    build/release-onednn3/tests/kernels/octet_kernels_onednn_test
}

part_emulated() {
  if grep -qw avx512_vnni /proc/cpuinfo; then
    echo "this CPU has AVX512-VNNI: nothing to emulate"
    return
  elif ! grep -qw avx2 /proc/cpuinfo; then
    echo "NOTHING IS EMULATED: this CPU lacks AVX2"
    return
  fi
  cmake --preset release -B build/emulated -DOCTET_EMULATE_AVX512=ON \
    -DOCTET_BUILD_BENCHMARKS=OFF
  cmake --build build/emulated --target octet_kernels_test \
    octet_kernels_float_test octet_kernels_no_allocation_test
  build/emulated/tests/kernels/octet_kernels_test \
    --gtest_filter='-*scalar*:*avx2*'
  build/emulated/tests/kernels/octet_kernels_no_allocation_test
  build/emulated/tests/kernels_float/octet_kernels_float_test
}

part_asan() {
  cmake --preset asan-ubsan -DOCTET_BUILD_BENCHMARKS=OFF
  cmake --build --preset asan-ubsan
  UBSAN_OPTIONS=print_stacktrace=1 ctest --preset asan-ubsan -j "$(nproc)"
}

part_fuzz() { tests/fuzz/run.sh "${OCTET_FUZZ_SECONDS:-10}"; }

part_lint() {
  .venv/bin/pytest -q tests/house
  tests/lint.sh format proto python shell prometheus
}

part_tidy() {
  cmake --preset dev
  cmake --build --preset dev --target octet_proto  # for generated headers
  tests/lint.sh tidy
}

part_container() { as_root deploy/container/verify.sh; }

part_e2e() {
  build_release octet-server octet
  OCTET_SERVER_BINARY=$PWD/build/release/bin/octet-server \
    .venv/bin/pytest -q tests/client/python
  .venv/bin/pytest -m "not heavy" tests/deploy tests/e2e
}

part_interop() {
  build_release octet-server octet
  tests/interop/make_venv.sh .venv-interop
  .venv/bin/pytest tests/e2e/test_compressed_tensors.py -m heavy
}

part_arm() {
  if [[ -z ${OCTET_ARM64_SYSROOT:-} ]]; then
    export OCTET_ARM64_SYSROOT=$PWD/build/arm64-sysroot
    [[ -d $OCTET_ARM64_SYSROOT ]] ||
      cmake/make-arm64-sysroot.sh "$OCTET_ARM64_SYSROOT"
  fi
  cmake --preset arm64-qemu -DOCTET_BUILD_BENCHMARKS=OFF
  cmake --build --preset arm64-qemu --target octet-server octet \
    octet_kernels_test octet_kernels_float_test
  ctest --preset arm64-qemu -j "$(nproc)" -R '^arm\.|VectorsInRegisters'
  build_release octet-server
  .venv/bin/pytest -s tests/e2e/test_arm.py
}

part_perf-analyzer() {
  build_release octet-server
  tests/perf_analyzer/make_venv.sh .venv-perf
  .venv/bin/pytest tests/e2e/test_perf_analyzer.py -m heavy
}

part_scale() {
  build_release octet-server octet
  OCTET_SCALE_MB="${OCTET_SCALE_MB:-2000}" \
    .venv/bin/pytest -s --timeout 3600 tests/e2e/test_scale.py
}

part_tsan() {
  local tests=build/tsan/tests
  cmake --preset tsan -DOCTET_BUILD_BENCHMARKS=OFF
  cmake --build --preset tsan \
    --target octet_kernels_test serving_test telemetry_test
  "$tests/kernels/octet_kernels_test" --gtest_filter='ThreadPool*:*Invariance*'
  "$tests/server/serving/serving_test"
  "$tests/server/telemetry/telemetry_test"
}

part_soak() {
  cmake --preset asan-ubsan -DOCTET_BUILD_BENCHMARKS=OFF
  cmake --build --preset asan-ubsan --target octet-server
  OCTET_BUILD_DIR=build/asan-ubsan \
    OCTET_SOAK_SECONDS="${OCTET_SOAK_SECONDS:-600}" \
    .venv/bin/pytest -s tests/e2e/test_soak.py
}

# The rivals, in a venv of their own.
build_benchmarks() {
  local venv=$PWD/.venv-bench
  local wanted=(tests/requirements-onednn3.txt
    tests/benchmarks/requirements.txt
    tests/benchmarks/requirements-onednn32.txt)
  if ! cmp -s <(cat "${wanted[@]}") "$venv/installed.txt"; then
    /usr/bin/python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --no-deps \
      -r "${wanted[0]}" -r "${wanted[1]}"
    "$venv/bin/pip" install --quiet --no-deps --ignore-installed \
      --prefix "$venv/onednn-3.2" -r "${wanted[2]}"
    cat "${wanted[@]}" > "$venv/installed.txt"
  fi
  cmake --preset release "-DOCTET_ONEDNN_ROOTS=$venv;$venv/onednn-3.2"
  cmake --build --preset release
}

part_bench() {
  build_benchmarks
  .venv/bin/pip install --quiet --no-deps --no-build-isolation ./client/python
  .venv/bin/python tests/benchmarks/readme_numbers.py
  .venv-bench/bin/python tests/benchmarks/compare_linear.py --quick
  build/release/tests/benchmarks/kernels/octet_kernels_phase_benchmark
  .venv-bench/bin/python tests/benchmarks/compare_forward.py --quick
}

part_bench-linear() {
  build_benchmarks
  .venv-bench/bin/python tests/benchmarks/compare_linear.py
}

part_bench-forward() {
  build_benchmarks
  .venv-bench/bin/python tests/benchmarks/compare_forward.py
}

part_bench-serving() {
  build_benchmarks
  tests/perf_analyzer/make_venv.sh .venv-perf
  .venv/bin/python tests/benchmarks/compare_serving.py
}

part_bench-wire() {
  build_release octet_wire_server octet_wire_client
  .venv/bin/python tests/benchmarks/compare_wire.py
}

part_bench-quality() {
  build_benchmarks
  .venv/bin/python tests/benchmarks/compare_quality.py \
    ${OCTET_STS:+--sts "$OCTET_STS"}
}

all=(unit onednn3 emulated asan lint e2e)
parts=("$@")
if ((${#parts[@]} == 0)) || [[ ${parts[0]} == all ]]; then
  parts=("${all[@]}")
fi
for part in "${parts[@]}"; do
  declare -F "part_$part" > /dev/null ||
    { echo "no part '$part'; there are:" $(compgen -A function part_ |
        sed s/^part_//) "and all (${all[*]})" >&2; exit 2; }
done

[[ " ${parts[*]} " != *" arm "* ]] || test_packages+=("${arm_packages[@]}")
install_packages
install_python

# The runners' own summaries stay the last thing that is printed.
failed=()
for part in "${parts[@]}"; do
  printf '\n==> %s\n' "$part"
  start=$SECONDS
  # Outside of any condition, so that errexit holds inside.
  set +e
  (set -e; "part_$part")
  code=$?
  set -e
  ((code == 0)) || failed+=("$part")
  [[ $part == "${parts[-1]}" ]] ||
    printf '==> %s: %s after %d s\n' "$part" \
      "$( ((code == 0)) && echo ok || echo FAILED)" $((SECONDS - start))
done
if ((${#failed[@]})); then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
