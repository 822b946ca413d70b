#!/usr/bin/env bash
# One would expect `tf.convert_to_tensor` of a large float32 NumPy array, eagerly and on a processor,
# to copy it once at most: memory for the array and for the tensor. It holds the array three times
# while it converts, and when the array is deleted still two times: the second copy is let go only by
# the next operation that the process runs, however trivial, not by Python's garbage collector. An
# array that begins at a multiple of 64 bytes fares no better. By DLPack it is not copied at all.
# Source: documentation of tf.convert_to_tensor and of tf.experimental.dlpack.from_dlpack, which say
# nothing of it; seen with tensorflow-cpu 2.21.0 on Linux.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 numpy==2.4.6
cd "$place"
cat > see.py <<'PY'
import gc
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

MIB = 512


def held():
    """Memory of this process beside what it had at first, in arrays."""
    kib = int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])
    return (kib - first) / 1024 / MIB


def peak():
    kib = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    return (kib - first) / 1024 / MIB


first = 0
first = round(held() * 1024 * MIB)
spare = np.empty(MIB * 2**20 + 64, dtype=np.uint8)
start = -spare.ctypes.data % 64
array = spare[start : start + MIB * 2**20].view(np.float32)
array[:] = 1
if sys.argv[1] == "convert":
    tensor = tf.convert_to_tensor(array)
else:
    tensor = tf.experimental.dlpack.from_dlpack(array.__dlpack__())
most = peak()
del array, spare
after = held()
gc.collect()
collected = held()
assert float(tensor[7]) == 1.0
in_use = held()
seen = most, after, collected, in_use
print(sys.argv[1], "copies at the peak, without the array, after gc, after an operation:", end=" ")
print(*np.round(seen, 1))
expected = {"convert": (3, 2, 2, 1), "dlpack": (1, 1, 1, 1)}[sys.argv[1]]
sys.exit(any(abs(a - b) > 0.3 for a, b in zip(seen, expected)))
PY
"$place/venv/bin/python" -c "import numpy, tensorflow as tf; print('tensorflow', tf.__version__, 'numpy', numpy.__version__)" 2>/dev/null
for how in convert dlpack; do
  "$place/venv/bin/python" see.py "$how" 2>/dev/null || { echo "changed: $how"; exit 1; }
done
