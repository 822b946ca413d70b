#!/usr/bin/env bash
# One would expect `import openvino` to load a library. It also sends a message to Google Analytics
# ("ov", "import", "general_import", with a lasting client number), unless the file
# ~/intel/openvino_telemetry says 0, or a variable of a known CI is set; it asks nobody, and leaves
# ~/intel/openvino_ga_cid and ~/intel/stats behind. The message is sent by a process that is forked
# out of a thread of the importing one: with JAX or TensorFlow at work in it, Python warns that such
# a fork may wait for ever. With the package `openvino_telemetry` out of reach at the import,
# OpenVINO takes a stand-in that does nothing.
# Source: openvino/tools/ovc/__init__.py, `init_ovc_telemetry('OpenVINO')`, and
# openvino_telemetry/backend/backend_ga4.py, `send`; seen with openvino 2026.4.1 and
# openvino-telemetry 2025.2.0.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet openvino==2026.4.1 openvino-telemetry==2025.2.0 numpy
cat > "$place/see.py" <<'PY'
import multiprocessing.process
import sys
import time

started = []
start = multiprocessing.process.BaseProcess.start


def noted(self):
    started.append(self._args[0].full_url.partition("?")[0])
    self._target, self._args = len, ((),)  # nothing leaves this machine for a finding
    return start(self)


multiprocessing.process.BaseProcess.start = noted
if sys.argv[1] == "without":
    sys.modules["openvino_telemetry"] = None
import openvino  # noqa: E402, F401

time.sleep(2)
print(*started)
PY
see() {
    mkdir "$place/home-$1"
    env -i HOME="$place/home-$1" PATH="$PATH" "$place/venv/bin/python" "$place/see.py" "$1"
    find "$place/home-$1" -type f -printf '%P\n' | sort
}
as_installed=$(see with) without=$(see without)
echo "an import as installed:" $as_installed
echo "without the package of reports:" $without
case "$as_installed" in
*google-analytics.com*intel/openvino_ga_cid*) ;;
*) echo "this has changed"; exit 1 ;;
esac
[ -z "$without" ] || { echo "this has changed"; exit 1; }
