#!/usr/bin/env bash
# Proves the Dockerfile where there is no Docker and no registry, as root:
# builds it with buildah on a base made by debootstrap, starts octet-server out
# of the resulting root file system as the image's user, and serves a request.
#
# usage: deploy/container/verify.sh
#
# The base stands in for debian:bookworm-slim. It also gets this host's apt
# sources, proxy settings and certificates, so that `apt-get` in the build works
# wherever it works here; the Dockerfile knows nothing of that.
set -euo pipefail
cd "$(dirname "$0")/../.."
((EUID == 0)) || { echo "verify.sh: must run as root" >&2; exit 1; }

revision=0123456789ab  # this tree may have none
base_image=docker.io/library/debian:bookworm-slim
work=$(mktemp -d "${TMPDIR:-/var/tmp}/octet-container.XXXXXX")
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
say() { printf '\n--> %s\n' "$*"; }
buildah() {
  command buildah --root "$work/storage" --runroot "$work/run" "$@"
}

server=
finish() {
  code=$?
  [[ -z $server ]] || kill -KILL "$server" 2> /dev/null || true
  # Nothing of the host may be below what is removed.
  if findmnt -rno TARGET | grep -q "^$work"; then
    findmnt -rno TARGET | grep "^$work" | sort -r | xargs -r umount -l
  fi
  rm -rf --one-file-system "$work"
  exit "$code"
}
trap finish EXIT

make_base() {
  local mirror
  mirror=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list \
    2> /dev/null | sed -nE \
    's/^URIs: *([^ ]+).*/\1/p; s/^deb (\[[^]]*\] )?([^ ]+) .*/\2/p' |
    head -n 1) || true
  debootstrap --variant=minbase --include=ca-certificates bookworm \
    "$work/base" ${mirror:+"$mirror"} > "$work/debootstrap.log" ||
    { tail -n 20 "$work/debootstrap.log" >&2; return 1; }
  rm -rf "$work/base/var/cache/apt/archives/"*.deb
  copy_apt_settings "$work/base"
}

copy_apt_settings() {
  local root=$1 file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources \
      /etc/apt/apt.conf; do
    [[ -e $file ]] && cp "$file" "$root$file"
  done
  if [[ -s $root/etc/apt/sources.list.d/debian.sources &&
        ! -e /etc/apt/sources.list ]]; then
    rm -f "$root/etc/apt/sources.list"
  fi
  # Only what says how to fetch; hooks of other packages have no place there.
  for file in /etc/apt/apt.conf.d/*; do
    if grep -q 'Acquire::' "$file"; then cp "$file" "$root$file"; fi
  done
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
}

import_base() {
  local container
  container=$(buildah from scratch)
  buildah add -q "$container" "$work/base" / > /dev/null
  buildah commit -q --rm "$container" "$base_image" > /dev/null
  rm -rf "$work/base"
}

# config FIELD: a field of the image's configuration, as JSON.
config() {
  buildah inspect --type image octet |
    python3 -c 'import json, sys
print(json.dumps(json.load(sys.stdin)["Docker"]["config"].get(sys.argv[1])))' "$1"
}

expect() {  # expect WHAT ACTUAL WANTED
  [[ $2 == "$3" ]] || { echo "$1 is '$2', not '$3'" >&2; return 1; }
  echo "$1: $2"
}

# A checkpoint of one 3 x 2 matrix, by hand.
make_checkpoint() {
  python3 - "$1" <<'PY'
import json, pathlib, struct, sys
header = json.dumps({"fc.weight": {"dtype": "F32", "shape": [3, 2],
                                   "data_offsets": [0, 24]}}).encode()
folder = pathlib.Path(sys.argv[1])
folder.mkdir()
(folder / "model.safetensors").write_bytes(
    struct.pack("<Q", len(header)) + header + struct.pack("<6f", *range(6)))
(folder / "config.json").write_text('{"model_type": "linear_set"}')
PY
}

# revision ADDRESS: what octet_build_info at that address says.
revision() {
  no_proxy=127.0.0.1 python3 - "$1" <<'PY'
import re, sys, urllib.request
page = urllib.request.urlopen(f"http://{sys.argv[1]}/metrics").read().decode()
print(re.search(r'octet_build_info{.*revision="([^"]*)"', page)[1])
PY
}

serve_one_request() {
  local root=$1 log=$work/server.log
  # As the container's user: no right, no group, no environment of root's.
  chroot "$root" /usr/bin/setpriv --reuid=65532 --regid=65532 --clear-groups \
    --no-new-privs --bounding-set=-all --inh-caps=-all \
    /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin OCTET_DATA_DIR=/data \
    octet-server --grpc-address 127.0.0.1:0 --metrics-address 127.0.0.1:0 \
    2> "$log" &
  server=$!
  for _ in $(seq 200); do
    grep -q 'ready grpc=' "$log" && break
    kill -0 "$server" 2> /dev/null || { cat "$log" >&2; return 1; }
    sleep 0.1
  done
  local address
  address=$(grep -oP 'ready grpc=\K\S+' "$log")
  expect "server's user" "$(stat -c %u "/proc/$server")" 65532

  expect "revision" "$(revision "$(grep -oP 'metrics=\K\S+' "$log")")" \
    "$revision"

  make_checkpoint "$root/tmp/checkpoint"
  local octet=(chroot --userspec=65532:65532 "$root" /usr/local/bin/octet
    --server "$address")
  "${octet[@]}" health
  "${octet[@]}" checkpoint upload /tmp/checkpoint one
  "${octet[@]}" quantize one --bundle one --override 'fc=w8a8_dynamic'
  "${octet[@]}" model load one bundles/one
  "${octet[@]}" matmul one fc --random 4
  expect "owner of what is on the volume" \
    "$(find "$root/data" -type f -printf '%U\n' | sort -u)" 65532
  [[ -n $(find "$root/data" -name octet.json) ]]

  kill -TERM "$server"
  local code=0
  wait "$server" || code=$?
  server=
  expect "exit code after SIGTERM" "$code" 0
}

say "Making a base image with debootstrap"
make_base
# The host's compiler cache spares compiling the same files again.
echo 'cache_dir = /ccache' > "$work/base/etc/ccache.conf"
import_base

say "Building the Dockerfile"
cache=$(ccache --get-config cache_dir 2> /dev/null) || cache=$work/ccache
mkdir -p "$cache"
# Docker's format: OCI's has no room for a health check.
buildah bud -q --format docker --pull-never --layers=false -t octet \
  --build-arg OCTET_REVISION="$revision" \
  --volume "$cache:/ccache" -f Dockerfile . \
  > "$work/build.log" 2>&1 || { tail -n 60 "$work/build.log" >&2; exit 1; }

say "Looking at the image"
expect User "$(config User)" '"65532:65532"'
expect Volumes "$(config Volumes)" '{"/data": {}}'
expect ExposedPorts "$(config ExposedPorts)" '{"8001/tcp": {}, "8002/tcp": {}}'
expect Healthcheck "$(config Healthcheck | grep -o '"octet", "health"')" \
  '"octet", "health"'
expect Entrypoint "$(config Entrypoint)" '["octet-server"]'

say "Serving a request from its root file system"
container=$(buildah from --pull-never octet)
root=$(buildah mount "$container")
expect "owner of /data" "$(stat -c %u "$root/data")" 65532
if chroot "$root" ldd /usr/local/bin/octet-server /usr/local/bin/octet |
    grep 'not found'; then
  exit 1
fi
if [[ -e $root/usr/bin/c++ || -d $root/src ]]; then
  echo "the compiler or the sources are still in the image" >&2
  exit 1
fi
serve_one_request "$root"

say "Sizes"
du -sh --apparent-size "$root" | sed "s,$root,image,"
ls -l --block-size=M "$root/usr/local/bin" | awk 'NR > 1 {print $5, $9}'
echo "container: ok"
