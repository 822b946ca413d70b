"""Fill the bank: decode and write beside the backbone, so that it never waits."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby, islice
from typing import NamedTuple, TypeVar

import numpy as np

from tuner.arrays import Float32, Int64, UInt8
from tuner.config import AugmentationConfig
from tuner.data.images import read_bytes, read_image_bytes
from tuner.errors import DataError
from tuner.features.bank import FeatureBank
from tuner.features.engines.engine import Engine
from tuner.features.views import affine_matrix, keras_transform, view_parameters
from tuner.features.wanted import ViewOf, Wanted, names_of
from tuner.home.listener import Progress

_CHUNK_ROWS = 512
_BATCHES_AHEAD = 4


OnProgress = Callable[[Progress], None]
_Rows = TypeVar("_Rows", bound=Sequence[ViewOf])


def fill_bank(
    bank: FeatureBank,
    wanted: Sequence[ViewOf],
    make_engine: Callable[[], Engine],
    *,
    image_px: int,
    augmentation: AugmentationConfig,
    batch_size: int,
    on_progress: OnProgress = lambda progress: None,
) -> int:
    """Compute the rows that the bank lacks; after a kill, goes on at the last whole chunk.

    Args:
        bank: Where the rows go.
        wanted: Rows that must be there in the end.
        make_engine: Builds the backbone; called only when a row is missing.
        image_px: Side of the resized image.
        augmentation: Settings of the views.
        batch_size: Rows a pass; every pass is full, the last one padded, because features
            depend on it in their last bit.
        on_progress: Called after each batch.

    Returns:
        Number of rows computed.

    Raises:
        DataError: If a file cannot be read any more, or is not what it was when indexed.
        BankError: If the bank cannot be written.
    """
    chunks = missing_chunks(bank, wanted, augmentation=augmentation, batch_size=batch_size)
    if not chunks:
        return 0
    return fill_chunks(
        bank,
        chunks,
        make_engine(),
        image_px=image_px,
        augmentation=augmentation,
        batch_size=batch_size,
        on_progress=on_progress,
    )


def missing_chunks(
    bank: FeatureBank,
    wanted: Sequence[ViewOf],
    *,
    augmentation: AugmentationConfig,
    batch_size: int,
) -> list[Wanted]:
    """The rows that the bank lacks, as the chunks in which they are written.

    Whoever computes a chunk, and with whatever others, its features are the same.
    """
    rows = Wanted.of(wanted)
    missing = np.flatnonzero(bank.lacks(rows.names(augmentation)))
    file = rows.file_number()
    # The same view of the same bytes once, at its first place.
    _, first = np.unique(
        file[missing] * (rows.view.max(initial=0) + 1) + rows.view[missing], return_index=True
    )
    missing = missing[np.sort(first)]
    # A chunk is a whole number of batches, so that only the last one of each part is padded.
    chunk_rows = batch_size * max(1, _CHUNK_ROWS // batch_size)
    return [chunk for part in _parts(rows, missing, file) for chunk in _slices(part, chunk_rows)]


def fill_chunks(
    bank: FeatureBank,
    chunks: Sequence[Sequence[ViewOf]],
    engine: Engine,
    *,
    image_px: int,
    augmentation: AugmentationConfig,
    batch_size: int,
    on_progress: OnProgress = lambda progress: None,
) -> int:
    """Compute and write chunks (`missing_chunks`); returns the number of rows computed."""
    total, start, done = sum(map(len, chunks)), time.monotonic(), 0
    batches = (part for chunk in chunks for part in _slices(chunk, batch_size))
    decoders = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")
    writer = ThreadPoolExecutor(1, thread_name_prefix="write")
    try:
        depth = max(_BATCHES_AHEAD, engine.in_flight)
        pixels = _batches(batches, decoders, batch_size, image_px, augmentation, depth)
        passes = _passes(engine, pixels)
        written: Future[None] | None = None
        for chunk in chunks:
            blocks = []
            for features in islice(passes, -(-len(chunk) // batch_size)):
                blocks.append(features)
                done += len(features)
                on_progress(Progress(done, total, time.monotonic() - start))
            if written:
                written.result()
            names = names_of(chunk, augmentation)
            written = writer.submit(bank.add, names, np.concatenate(blocks))
        if written:
            written.result()
    finally:
        # After an error or Ctrl-C: what has been computed is written, nothing more is read.
        decoders.shutdown(cancel_futures=True)
        writer.shutdown()
    return done


def _parts(rows: Wanted, missing: Int64, file: Int64) -> tuple[Wanted, Wanted]:
    """Images before views, whose batches alone are resampled; all views of a file together."""
    # By place among all rows, not the missing ones: chunks then are the same after a kill.
    view, place = rows.view[missing], file[missing]
    views = np.flatnonzero(view > 0)
    views = views[np.lexsort((view[views], place[views]))]
    return rows.take(missing[view == 0]), rows.take(missing[views])


class _Batch(NamedTuple):
    pixels: UInt8
    transforms: Float32 | None
    n_rows: int


def _batches(
    batches: Iterable[Sequence[ViewOf]],
    pool: ThreadPoolExecutor,
    batch_size: int,
    image_px: int,
    augmentation: AugmentationConfig,
    depth: int,
) -> Iterator[_Batch]:
    """Full batches of pixels, read `depth` batches ahead of the backbone."""
    reads = _ahead((_start_reads(part, pool, image_px) for part in batches), depth)
    for part in reads:
        pixels = np.zeros((batch_size, image_px, image_px, 3), dtype=np.uint8)
        transforms = np.zeros((batch_size, 8), dtype=np.float32)
        for i, (row, read) in enumerate(part):
            pixels[i] = read.result()
            if row.view:
                found = view_parameters(row.sha256, row.view, augmentation=augmentation)
                transforms[i] = keras_transform(affine_matrix(found, image_px=image_px))
        yield _Batch(pixels, transforms if part[0][0].view else None, len(part))


_Read = tuple[ViewOf, "Future[UInt8]"]


def _start_reads(part: Sequence[ViewOf], pool: ThreadPoolExecutor, image_px: int) -> list[_Read]:
    """Reading under way for each row; neighbouring views of one file share one read."""
    reads: list[_Read] = []
    for _, views in groupby(part, key=lambda row: row.path):
        same = list(views)
        reads += zip(same, [pool.submit(read_pixels, same[0], image_px)] * len(same), strict=True)
    return reads


def read_pixels(row: ViewOf, image_px: int) -> UInt8:
    """Pixels of a file that still is the one that was indexed, uint8 (image_px, image_px, 3).

    Raises:
        DataError: If it cannot be read, or its bytes have changed.
    """
    # Otherwise the bank would give the new picture's features under the old one's name to
    # every later study.
    data = read_bytes(row.path)
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise DataError(
            "image has changed since it was indexed",
            where=str(row.path),
            do="start the same command again: it is looked at anew",
        )
    return read_image_bytes(data, name=str(row.path), image_px=image_px, rule=row.rule)


def _passes(engine: Engine, batches: Iterable[_Batch]) -> Iterator[Float32]:
    """Features of each batch; some stay in flight while the next is put together."""
    in_flight: deque[tuple[Callable[[], Float32], int]] = deque()
    for batch in batches:
        in_flight.append((engine.start(batch.pixels, batch.transforms), batch.n_rows))
        if len(in_flight) >= engine.in_flight:
            wait, n_rows = in_flight.popleft()
            yield wait()[:n_rows]
    for wait, n_rows in in_flight:
        yield wait()[:n_rows]


def _ahead(items: Iterator[list[_Read]], depth: int) -> Iterator[list[_Read]]:
    """The same items, with `depth` of them started before they are needed."""
    started = deque(islice(items, depth))
    while started:
        yield started.popleft()
        started.extend(islice(items, 1))


def _slices(items: _Rows, size: int) -> Iterator[_Rows]:
    for start in range(0, len(items), size):
        yield items[start : start + size]  # type: ignore[misc]  # a slice is of the same kind
