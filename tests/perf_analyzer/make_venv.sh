#!/usr/bin/env bash
# A venv with NVIDIA's perf_analyzer and the libraries it is linked with.
#
# usage: make_venv.sh FOLDER
#
# FOLDER/perf_analyzer starts it. libb64 comes from Debian, unpacked into the
# folder, so that nothing of the machine changes.
set -euo pipefail
venv=$1
wanted=$(dirname "$0")/requirements.txt
cmp -s "$wanted" "$venv/installed.txt" && exit

/usr/bin/python3 -m venv --clear "$venv"
"$venv/bin/pip" install --quiet --no-deps -r "$wanted"
venv=$(realpath "$venv")
(
  cd "$venv"
  apt-get download -qq libb64-0d 2> /dev/null
  dpkg -x libb64-0d_*.deb debian
)
libraries=$(echo "$venv"/lib/python3*/site-packages/nvidia/cuda_runtime/lib)
libraries+=$(printf ':%s' "$venv"/debian/usr/lib/*/)
cat > "$venv/perf_analyzer" << END
#!/bin/sh
LD_LIBRARY_PATH=$libraries exec "$venv/bin/perf_analyzer" "\$@"
END
chmod +x "$venv/bin/perf_analyzer" "$venv/perf_analyzer"
"$venv/perf_analyzer" --version > /dev/null 2>&1
cp "$wanted" "$venv/installed.txt"
