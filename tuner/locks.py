"""Turns between processes, by locks that the system lets go of when their holder dies.

They lie in files, so that processes of other machines wait, too, where the folder is on a file
system that they share.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(
    path: Path, *, waits: bool = True, on_wait: Callable[[], None] = lambda: None
) -> Iterator[bool]:
    """Hold the lock of a file while the block runs.

    Args:
        path: The file; made where it is missing, its folder too.
        waits: Whether to wait for another holder.
        on_wait: Called once before waiting.

    Yields:
        Whether the lock is held; False only when another holds it and `waits` is False.

    Raises:
        OSError: If the file system has no locks or cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        is_held = _try(stream.fileno())
        if not is_held and waits:
            on_wait()
            fcntl.flock(stream, fcntl.LOCK_EX)
            is_held = True
        yield is_held


def _try(stream: int) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
