"""Files that are there whole or not at all, and locks between processes.

A file is whole whenever a process is killed or the power fails. The system lets go of a lock when
its holder dies; a lock lies in a file, so that processes of other machines see it, too, where the
folder is on a file system that they share. No other module renames or locks files.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import glob
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from tuner.text import NOT_POSIX

try:
    import fcntl
except ImportError as error:
    raise ImportError(NOT_POSIX) from error

_STARTER_PATIENCE_S, _ASKER_PATIENCE_S, _RETRY_S = 0.5, 0.05, 0.002
_LEFTOVER_AGE_S = 24 * 3600.0  # no living process takes that long to write a few megabytes
_NAME_BYTES = 180  # of a name kept in a temporary one: file systems take 255 in all


@contextlib.contextmanager
def replacing(path: Path, *, ending: str = "") -> Iterator[Path]:
    """Give a temporary path to write to; what is written there becomes `path` at the end.

    The temporary name is of this call alone, so that several processes and threads may write
    the same file: the last one wins, and no reader sees a part. When the block raises, `path`
    stays as it was and nothing is left behind.

    Args:
        path: File to write or replace; its folder must be there.
        ending: What the temporary name ends in, for writers that look at it.

    Yields:
        A path in the same folder at which the block makes a file.

    Raises:
        OSError: If the file cannot be written out or put in its place, naming `path`; or if a
            device or a pipe is there, which a rename would throw away.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "this is no file that can be replaced", str(path))
    temporary = _temporary(path, ending=ending)
    try:
        yield temporary
        put(temporary, path)
    except OSError as error:
        if error.filename in (None, str(temporary), temporary):  # a full disk names no file
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def put(made: Path, path: Path) -> None:
    """Give a file that is whole, in a folder of the same file system, its name.

    Raises:
        OSError: If it cannot be written out or put in its place.
    """
    with made.open("rb") as stream:
        os.fsync(stream.fileno())  # a rename may reach the disk before what was written
    made.replace(path)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a temporary path to make a folder at; it becomes `path` at the end.

    A kill leaves `path` whole, or for one moment absent: no system call puts a folder in the
    place of another. A power cut may leave files in it that were not yet written out.

    Args:
        path: Folder to make or replace; the one above it must be there.

    Raises:
        OSError: If it cannot be put in its place, as when another process has just been faster.
    """
    made, old = _temporary(path), _temporary(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if _is_left_over(left):
            shutil.rmtree(left, ignore_errors=True)
    try:
        yield made
        if path.exists():
            path.rename(old)
        made.rename(path)
    finally:
        for left in (made, old):
            shutil.rmtree(left, ignore_errors=True)


def write_whole(path: Path, content: str | bytes | Callable[[BinaryIO], object]) -> None:
    """Write or replace a file; text is written in UTF-8, line ends as they are.

    Args:
        path: The file.
        content: What it will hold, or what writes that into an open file.

    Raises:
        OSError: If the file cannot be written; `path` is then as it was.
    """
    with replacing(path) as temporary:
        if callable(content):
            with temporary.open("wb") as stream:
                content(stream)
        else:
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
            if _is_left_over(path):
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
        is_mine = _try(stream, fcntl.LOCK_EX)
        if not is_mine and waits:
            on_wait()
            fcntl.flock(stream, fcntl.LOCK_EX)
            is_mine = True
        yield is_mine


@contextlib.contextmanager
def held(path: Path, *, is_shared: bool = False) -> Iterator[bool]:
    """Hold a file while the block runs, so that others may ask whether anybody does (`is_held`).

    Args:
        path: The file; made where it is missing, its folder too.
        is_shared: Whether others that share it may hold it at the same time.

    Yields:
        Whether it is held; False when another holds it and one of both does not share it.

    Raises:
        OSError: If the file system has no locks or cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        lock = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
        yield _try_patiently(stream, lock, patience_s=_STARTER_PATIENCE_S)


def is_held(path: Path) -> bool:
    """Whether any process holds a file (`held`); nobody who wants to is refused meanwhile.

    Raises:
        OSError: If the file system has no locks or the file cannot be read.
    """
    if not path.exists():
        return False
    # Only a lock can find out about locks. It is let go of at once, and who wants to hold the
    # file tries for longer than anybody asks.
    with _readable(path) as stream:
        return not _try_patiently(stream, _strongest(stream), patience_s=_ASKER_PATIENCE_S)


def _temporary(path: Path, *, ending: str = "") -> Path:
    """A hidden name beside a file or folder, of this call alone; what `sweep` looks for."""
    unique = f"{os.getpid()}-{secrets.token_hex(4)}"
    name = os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])
    return path.with_name(f".{name}.{unique}.tmp{ending}")


def _is_left_over(temporary: Path) -> bool:
    return time.time() - temporary.stat().st_mtime > _LEFTOVER_AGE_S


def _readable(path: Path) -> IO[str]:
    """A file opened, for writing where that is allowed; nothing is written."""
    try:
        return path.open("a")
    except OSError:
        return path.open()


def _strongest(stream: IO[Any]) -> int:
    """The lock that meets every other; on NFS, only a file open for writing may have that."""
    return fcntl.LOCK_EX if stream.writable() else fcntl.LOCK_SH


def _try(stream: IO[Any], lock: int) -> bool:
    try:
        fcntl.flock(stream, lock | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_patiently(stream: IO[Any], lock: int, *, patience_s: float) -> bool:
    """Whether a lock is got within a time that outlasts those who only ask."""
    end_s = time.monotonic() + patience_s
    while not (is_mine := _try(stream, lock)) and time.monotonic() < end_s:
        time.sleep(_RETRY_S)
    return is_mine
