"""Files that are there whole or not at all, and turns between processes.

A file is whole whenever a process is killed or the power fails. A turn is a lock that the system
lets go of when its holder dies; it lies in a file, so that processes of other machines wait, too,
where the folder is on a file system that they share.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import fnmatch
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_LEFTOVER_AGE_S = 24 * 3600.0  # no living process takes that long to write a few megabytes


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; what is written there becomes `path` at the end.

    The temporary name is of this call alone, so that several processes and threads may write
    the same file: the last one wins, and no reader sees a part. When the block raises, `path`
    stays as it was and nothing is left behind.

    Args:
        path: File to write or replace; its folder must be there.

    Yields:
        A path in the same folder at which the block makes a file.

    Raises:
        OSError: If the file cannot be written out or put in its place, naming `path`; or if a
            device or a pipe is there, which a rename would throw away.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "this is no file that can be replaced", str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())  # a rename may reach the disk before what was written
        temporary.replace(path)
    except OSError as error:
        if error.filename in (None, str(temporary), temporary):  # a full disk names no file
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write or replace a file; text is written in UTF-8, line ends as they are.

    Raises:
        OSError: If the file cannot be written; `path` is then as it was.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def listed(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder by name; none where there is no folder.

    `Path.glob` takes a folder that it may not read for an empty one.

    Raises:
        OSError: If the folder is there but cannot be read.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(fnmatch.filter(names, pattern))]


def sweep(folder: Path) -> None:
    """Remove temporary files that killed processes have left in a folder a day ago or earlier."""
    for path in folder.glob(".*.tmp"):
        # Another process may have just renamed it, and one that stays does no harm.
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _LEFTOVER_AGE_S:
                path.unlink()


@contextlib.contextmanager
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
