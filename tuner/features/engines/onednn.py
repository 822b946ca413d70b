"""oneDNN in TensorFlow: switched on where it helps and TensorFlow leaves it off.

TensorFlow decides when it is imported: on by itself only on processors with the newer vector
instructions. ResNet50 is faster with it on all that have AVX2.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
# As `IsMKLEnabled` of tensorflow/core/util/util.cc looks for them, by their names in Linux.
_BY_ITSELF = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}
_ours = False


def switch_on() -> None:
    """Ask TensorFlow for oneDNN where that helps, if it is not loaded yet; the user's own wins."""
    global _ours
    helps = "avx2" in _flags() and not _BY_ITSELF & _flags()
    if helps and VARIABLE not in os.environ and "tensorflow" not in sys.modules:
        os.environ[VARIABLE] = "1"
        _ours = True


def is_switched_on() -> bool:
    """Whether this process has it on because it was asked for here."""
    return _ours


def state() -> str:
    """What TensorFlow computes with: "on", "off", or "as it comes" where that is not known."""
    if (asked := os.environ.get(VARIABLE, "")) != "":
        return "on" if asked.lower() in ("1", "true") else "off"
    if not _flags():
        return "as it comes"
    return "on" if _BY_ITSELF & _flags() else "off"


def words() -> str:
    """The state, and who decided it."""
    if _ours:
        return f"on ({VARIABLE}=0 leaves it off)"
    return f"{state()} ({VARIABLE})" if VARIABLE in os.environ else state()


@cache
def _flags() -> frozenset[str]:
    """What the processor can do, as Linux names it; empty where nobody tells."""
    try:
        found = re.search(r"^flags\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return frozenset()
    return frozenset(found[1].split()) if found else frozenset()
