"""Ctrl-C at any moment is an interrupt, whatever a library makes of it.

C libraries that are interrupted while they load raise an error of their own instead, and may
abort the process when Python then cleans up.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_seen: list[int] = []
_others: list[Callable[[sys.UnraisableHookArgs], object]] = [sys.__unraisablehook__]


def watch() -> None:
    """Remember interrupts from now on, unless the caller ignores them, as `nohup` may."""
    _seen.clear()
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _remember)
    if sys.unraisablehook is not _unraisable:
        _others[:] = [sys.unraisablehook]
        sys.unraisablehook = _unraisable


def heed_termination() -> None:
    """Take SIGTERM, as a scheduler sends it, for an interrupt from now on."""
    signal.signal(signal.SIGTERM, _remember)


def _remember(number: int, frame: FrameType | None) -> None:
    _seen.append(number)
    signal.default_int_handler(number, frame)


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Say nothing of an interrupt that came where Python can raise nothing; `heed` raises it."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        _others[0](unraisable)


def heed() -> None:
    """Raise an interrupt that has been lost: in a callback Python prints it and goes on.

    Raises:
        KeyboardInterrupt: If one has come.
    """
    if _seen:
        raise KeyboardInterrupt


def was_interrupted() -> bool:
    """Whether an interrupt has come, whatever became of it."""
    return bool(_seen)


def leave() -> NoReturn:
    """End at once with 130, without cleaning up libraries that are half loaded or at work.

    TensorFlow's threads abort a process that ends while they compute.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(130)
