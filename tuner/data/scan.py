"""SHA-256 and decode test of every listed file: once, in threads, remembered between runs."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tuner.data.decoding.gray import Span
from tuner.data.decoding.picture import Decoded
from tuner.data.images import decode, read_bytes
from tuner.errors import DataError
from tuner.files import write_whole
from tuner.versions import versions_of

_SAVE_EVERY_S = 30.0  # what a kill can cost


@dataclass(frozen=True)
class Scanned:
    """What opening a file showed.

    Attributes:
        sha256: Of its bytes, hexadecimal; empty when they could not be read.
        reason: Why it is no usable picture; empty when it is one.
        span: What its gray of more than 8 bits uses, where the file does not say.
        n_pages: Pages or frames, of which the first is the picture.
        is_flat: Whether all its pixels have one value.
        window: Which of several windows of a DICOM file is shown.
        mended: In what tuner 1 read it wrongly.
        patient: Hash of a DICOM file's PatientID; empty without any.
    """

    sha256: str
    reason: str = ""
    span: Span | None = None
    n_pages: int = 1
    is_flat: bool = False
    window: str = ""
    mended: str = ""
    patient: str = ""


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
        found = decode(data, name=str(path), is_counted=True)
    except DataError as error:
        return Scanned(sha256, error.what.removeprefix("image "))
    patient = hashlib.sha256(found.patient.encode()).hexdigest()[:16] if found.patient else ""
    return Scanned(
        sha256,
        span=found.span,
        n_pages=found.n_pages,
        is_flat=_is_flat(found),
        window=found.window,
        mended=found.mended,
        patient=patient,
    )


def _is_flat(found: Decoded) -> bool:
    """Whether a picture shows nothing; deep gray by its values, of which levels are few."""
    if found.span is not None:
        return found.span.low == found.span.high
    pixels = np.asarray(found.rgb.getextrema())  # (3, 2): lowest and highest of each channel
    return bool((pixels[:, 0] == pixels[:, 1]).all())


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
    """First line of a cache: another Pillow, or a package more, may read what these cannot."""
    digest = hashlib.sha256(body.encode()).hexdigest()
    return json.dumps({"index": 2, "decoders": _decoders(), "sha256": digest})


@functools.cache
def _decoders() -> dict[str, str]:
    """Versions of what reads files."""
    names = ("pillow", "tifffile", "imagecodecs", "pydicom", "pillow-heif", "pillow-jxl-plugin")
    return versions_of(names)


def _load(cache: Path) -> _Known:
    """Results remembered; none when the file is missing, of another Pillow, or damaged."""
    try:
        header, _, body = cache.read_text(encoding="utf-8").partition("\n")
        if header != _header(body):
            return {}
        rows = map(json.loads, body.splitlines())
        return {
            path: ((size, mtime, ctime), _scanned(sha256, reason, more))
            for path, size, mtime, ctime, sha256, reason, more in rows
        }
    except (OSError, ValueError, TypeError):
        return {}


def _scanned(sha256: str, reason: str, more: dict[str, Any]) -> Scanned:
    span = more.pop("span", None)
    return Scanned(sha256, reason, span=None if span is None else Span(*span), **more)


def _more(found: Scanned) -> dict[str, Any]:
    """What was seen besides hash and reason, where it is not as of nearly all files."""
    names = ("span", "n_pages", "is_flat", "window", "mended", "patient")
    usual = Scanned("")
    return {n: getattr(found, n) for n in names if getattr(found, n) != getattr(usual, n)}


def _save(cache: Path, *, known: _Known) -> None:
    """Write all results; a full disk only costs time."""
    body = "".join(
        json.dumps([path, *stamp, result.sha256, result.reason, _more(result)]) + "\n"
        for path, (stamp, result) in sorted(known.items())
    )
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_whole(cache, _header(body) + "\n" + body)
