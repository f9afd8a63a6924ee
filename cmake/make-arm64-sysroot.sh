#!/usr/bin/env bash
# Makes a Debian 12 arm64 root with everything the arm64-qemu preset links.
# usage: cmake/make-arm64-sysroot.sh DIRECTORY   (needs mmdebstrap)
set -euo pipefail
root=${1:?usage: $0 DIRECTORY}
packages=libgrpc++-dev,libprotobuf-dev,libabsl-dev,libdnnl-dev
packages+=,prometheus-cpp-dev,libgtest-dev,libgmock-dev,libbenchmark-dev
packages+=,nlohmann-json3-dev,libcli11-dev,libspdlog-dev,libssl-dev
packages+=,libarchive-dev,libisal-dev,libc6-dev,libstdc++-12-dev
# gRPC's CMake files want the plugins beside them, though the host's are run.
packages+=,protobuf-compiler-grpc,ocl-icd-opencl-dev
# Under another name until it is whole.
part=$root.part
rm -rf "$part"
mkdir -p "$(dirname "$root")"
mmdebstrap --arch=arm64 --variant=extract --include="$packages" \
  bookworm "$part"
# Absolute links inside a root lead out of it; make them relative.
find "$part" -type l -lname '/*' -print0 | while IFS= read -r -d '' link; do
  ln -sfnr "$part$(readlink "$link")" "$link"
done
mv "$part" "$root"
