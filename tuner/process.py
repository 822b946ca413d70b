"""This process's memory, and processes of their own for what only TensorFlow does."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import subprocess
import sys


def give_back_memory() -> None:
    """Return what was freed to the system, models too: Keras's are rings."""
    gc.collect()
    give_back_freed()


def give_back_freed() -> None:
    """Return what was freed to the system: glibc keeps what lies between what is still used."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def run_on_tensorflow(module: str, *words: str, **environment: str) -> str:
    """Run ``python -m MODULE WORDS`` with Keras on TensorFlow, whatever this process has.

    Args:
        module: Its name; found wherever this process finds modules.
        words: Its arguments.
        environment: What else is set for it.

    Returns:
        The last line that it said of its failure; empty where it succeeded.
    """
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    # `-m` alone would look for modules in the current folder first, whatever lies there.
    own = {"KERAS_BACKEND": "tensorflow", "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            env=os.environ | own | environment,
            capture_output=True,
            text=True,
            check=False,
        )
    except (OSError, TypeError) as error:  # inside of another program there may be no Python
        return f"no process can be started: {error}"
    if not done.returncode:
        return ""
    return done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
