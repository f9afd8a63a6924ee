#!/usr/bin/env bash
# A venv with PyTorch, transformers and compressed-tensors, without CUDA.
#
# usage: make_venv.sh FOLDER
#
# PyPI's PyTorch for Linux is linked with NVIDIA's libraries, 3 GB of them, and
# does not start without, though on a CPU none of their functions is called. So
# each that is missing is made here, beside PyTorch's own: a library of that
# name and symbol version, whose functions return 0. The CUDA runtime and CUPTI,
# which are called when PyTorch starts, are the real ones: 15 MB.
set -euo pipefail
venv=$1
wanted=$(dirname "$0")/requirements.txt
cmp -s "$wanted" "$venv/installed.txt" && exit

/usr/bin/python3 -m venv --clear "$venv"
"$venv/bin/pip" install --quiet --no-deps -r "$wanted"

packages=$(echo "$venv"/lib/python3*/site-packages)
libraries=("$packages"/torch/lib/*.so)
known=$packages/torch/lib$(printf ':%s' "$packages"/nvidia/*/lib)
missing=$(LD_LIBRARY_PATH=$known ldd "${libraries[@]}" 2> /dev/null |
  awk '/not found/ && !/libcuda\.so/ {print $1}' | sort -u)
# "cublasCreate_v2@libcublas.so.13", or without a version
symbols=$(nm -D --undefined-only "${libraries[@]}" | awk '/ U / {print $2}' |
  grep -E '^(cu(blas|dnn|fft|sparse|solver|File)|nccl|nvrtc|nvshmem)' | sort -u)
versions=$(readelf -V --wide "${libraries[@]}" 2> /dev/null |
  awk '/File:/ {file = $5} / Name:/ {print file, $3}' | sort -u)
for library in $missing; do
  version=$(awk -v file="$library" '$1 == file {print $2}' <<< "$versions")
  if [[ -n $version ]]; then
    wanted_here=$(grep "@$version\$" <<< "$symbols")
  else
    wanted_here=$(grep -v @ <<< "$symbols")
  fi
  sed 's/@.*//; s/.*/long &(void) { return 0; }/' <<< "$wanted_here" |
    gcc -w -shared -fPIC -x c - "-Wl,-soname,$library" \
      -Wl,--version-script=<(echo "$version { global: *; };") \
      -o "$packages/torch/lib/$library"
done
"$venv/bin/python" -c 'import compressed_tensors, torch, transformers; torch.ones(2) + 1'
cp "$wanted" "$venv/installed.txt"
