"""What the heavy work runs on, and why not on the graphics card when there is one."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tuner.arrays import Float32
from tuner.environment import prepare_environment
from tuner.errors import UsageError

_ALIGNMENT = 64  # bytes, of the widest vectors of today's processors


class Device(NamedTuple):
    """Where features and heads are computed.

    Attributes:
        kind: "cpu" or "gpu".
        name: Name of the card, or "CPU".
        backend: Keras backend and its version, e.g. "tensorflow 2.21.0".
        warning: Why a card that is present is not used; empty when all is well.
    """

    kind: str
    name: str
    backend: str
    warning: str = ""

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.name} ({self.backend})"


def find_device() -> Device:
    """Ask the Keras backend for its device; says so when a card is there but unusable."""
    prepare_environment()
    with _native_stderr_held_back():
        return _find_device()


def _find_device() -> Device:
    import keras

    # A keras.json of other projects may say otherwise, and numbers must not depend on it.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise UsageError(
            f"tuner trains on TensorFlow or JAX, but the Keras backend is '{backend}'",
            where="KERAS_BACKEND, or 'backend' in ~/.keras/keras.json",
            do="set KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax",
        )
    if backend == "jax":
        import jax

        label, install = f"jax {jax.__version__}", "pip install 'jax[cuda12]'"
        gpus = [d.device_kind for d in jax.devices() if d.platform in ("gpu", "cuda", "rocm")]
    else:
        import tensorflow as tf

        label, install = f"tensorflow {tf.__version__}", "pip install 'imbalance-tuner[gpu]'"
        gpus = [
            tf.config.experimental.get_device_details(d).get("device_name", "GPU")
            for d in tf.config.list_physical_devices("GPU")
        ]
    if gpus:
        return Device("gpu", str(gpus[0]), label)
    cards = _nvidia_cards()
    warning = (
        f"{cards[0]} is present, but {label} sees no GPU; {install}, or check the driver"
        if cards
        else ""
    )
    return Device("cpu", "CPU", label, warning)


def free_bytes() -> int | None:
    """Memory that is free now where the backend computes; None when nobody tells."""
    if find_device().kind == "gpu":
        try:
            mebibytes = int(_ask_driver("memory.free")[0])
        except (IndexError, ValueError):
            return None
        return mebibytes * 2**20
    try:
        found = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def empty_rows(shape: tuple[int, ...]) -> Float32:
    """An array to be filled that `to_device` can take over as it is, float32 of `shape`."""
    size = 4 * math.prod(shape)
    spare = np.empty(size + _ALIGNMENT, dtype=np.uint8)
    first = -spare.ctypes.data % _ALIGNMENT
    found: Float32 = spare[first : first + size].view(np.float32).reshape(shape)
    return found


def to_device(matrix: Float32) -> Any:
    """A tensor of the backend that on a processor is the same memory.

    TensorFlow's own conversion holds two more copies for a while, and JAX's one.

    Args:
        matrix: float32, best made by `empty_rows`; nobody writes to it any more.
    """
    import keras

    if _computes_on_card():
        return keras.ops.convert_to_tensor(matrix)
    if matrix.ctypes.data % _ALIGNMENT or not matrix.flags.carray:
        copy = empty_rows(matrix.shape)
        copy[...] = matrix
        matrix = copy
    if keras.backend.backend() == "jax":
        import jax

        return jax.dlpack.from_dlpack(matrix)
    import tensorflow as tf

    return tf.experimental.dlpack.from_dlpack(matrix.__dlpack__())


@cache
def _computes_on_card() -> bool:
    """Asked once: to ask holds back stderr, and rows out of files come block after block."""
    return find_device().kind == "gpu"


def has_card() -> bool:
    """Whether the driver lists a card; no backend is loaded for it."""
    return bool(_nvidia_cards())


def _nvidia_cards() -> list[str]:
    """Cards that the driver lists; empty without a driver that works."""
    return _ask_driver("name")


def _ask_driver(what: str) -> list[str]:
    """A line for each card; empty without a driver that works."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode:  # a broken driver is explained on stdout, where names are expected
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


@contextmanager
def _native_stderr_held_back() -> Iterator[None]:
    """Keep what C++ libraries print while they load; show it only if loading fails.

    TensorFlow logs a page before it reads TF_CPP_MIN_LOG_LEVEL, and complains of missing CUDA
    libraries on machines without a card. What matters of it is in `Device.warning`.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, os.fdopen(os.dup(2), "wb") as real:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            real.write(held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(real.fileno(), 2)
