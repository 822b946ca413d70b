"""SHA-256 and decode test of every listed file: once, in threads, remembered between runs."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import PIL

from tuner.data.images import decode_rgb, read_bytes
from tuner.errors import DataError
from tuner.files import write_whole

_SAVE_EVERY_S = 30.0  # what a kill can cost


@dataclass(frozen=True)
class Scanned:
    """What opening a file showed.

    Attributes:
        sha256: Of its bytes, hexadecimal; empty when they could not be read.
        reason: Why it is no usable picture; empty when it is one.
    """

    sha256: str
    reason: str = ""


# Size, modification and change time: a file put in another's place with its size and date
# kept (an unpacked archive) still shows by the last.
_Stamp = tuple[int, int, int]
_Known = dict[str, tuple[_Stamp, Scanned]]


def scan(
    root: Path,
    paths: Sequence[str],
    *,
    cache: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Scanned]:
    """Hash and decode files, each one's bytes read once and dropped at once.

    Files whose size and times are those in `cache` are not opened again.

    Args:
        root: Folder that `paths` are relative to.
        paths: POSIX paths.
        cache: File that remembers results; damaged or missing, it only costs time.
        on_progress: Called with (files done, files in all) in the caller's thread.

    Returns:
        One result for each path, in their order.
    """
    known = _load(cache)
    stamps = {path: _stamp(os.path.join(root, path)) for path in paths}
    todo = [path for path in paths if path not in known or known[path][0] != stamps[path]]
    n_done, saved_at = len(paths) - len(todo), time.monotonic()
    failed: dict[str, Scanned] = {}
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for batch in _batches(todo, size=256):
            found = pool.map(lambda path: _open(root / path), batch)
            for path, result in zip(batch, found, strict=True):
                stamp = stamps[path]
                if stamp is None or not result.sha256:  # may open next time: not remembered
                    failed[path] = result
                else:
                    known[path] = (stamp, result)
                n_done += 1
                if on_progress:
                    on_progress(n_done, len(paths))
            if time.monotonic() - saved_at > _SAVE_EVERY_S:
                _save(cache, known=known)
                saved_at = time.monotonic()
    finally:
        pool.shutdown(cancel_futures=True)
        if todo:
            _save(cache, known=known)
    return [failed[path] if path in failed else known[path][1] for path in paths]


def _open(path: Path) -> Scanned:
    """Hash of a file and whether it decodes whole."""
    sha256 = ""
    try:
        data = read_bytes(path)
        sha256 = hashlib.sha256(data).hexdigest()
        decode_rgb(data, name=str(path))
    except DataError as error:
        return Scanned(sha256, error.what.removeprefix("image "))
    return Scanned(sha256)


def _batches(paths: Iterable[str], *, size: int) -> Iterable[list[str]]:
    """Successive lists of `size` paths: bounds what waits in the pool."""
    left = iter(paths)
    return iter(lambda: list(itertools.islice(left, size)), [])


def _stamp(path: str) -> _Stamp | None:
    """Size and times of a file; None when even those cannot be asked."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _header(body: str) -> str:
    """First line of a cache: another Pillow may read what this one cannot."""
    digest = hashlib.sha256(body.encode()).hexdigest()
    return json.dumps({"index": 1, "pillow": PIL.__version__, "sha256": digest})


def _load(cache: Path) -> _Known:
    """Results remembered; none when the file is missing, of another Pillow, or damaged."""
    try:
        header, _, body = cache.read_text(encoding="utf-8").partition("\n")
        if header != _header(body):
            return {}
        rows = map(json.loads, body.splitlines())
        return {
            path: ((size, mtime, ctime), Scanned(sha256, reason))
            for path, size, mtime, ctime, sha256, reason in rows
        }
    except (OSError, ValueError, TypeError):
        return {}


def _save(cache: Path, *, known: _Known) -> None:
    """Write all results; a full disk only costs time."""
    body = "".join(
        json.dumps([path, *stamp, result.sha256, result.reason]) + "\n"
        for path, (stamp, result) in sorted(known.items())
    )
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_whole(cache, _header(body) + "\n" + body)
