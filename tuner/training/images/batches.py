"""Batches of live images: decoded ahead of the model by threads, views asked for by number."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tuner.arrays import Float32, Int64, Ints, UInt8
from tuner.config import AugmentationConfig
from tuner.errors import TunerError
from tuner.features.extract import read_pixels
from tuner.features.views import affine_matrix, keras_transform, view_parameters
from tuner.features.wanted import ViewOf
from tuner.training.head import Head, RowOrder

_IDENTITY = np.array([1, 0, 0, 0, 1, 0, 0, 0], dtype=np.float32)
_N_DECODERS = os.cpu_count() or 1
_AHEAD = max(4, 2 * _N_DECODERS)  # batches: each thread works on one and finds the next
_KEPT_BYTES = 2 * 2**30  # of decoded pixels: 14,000 images at 224 px


@dataclass(frozen=True, eq=False)
class LiveImages:
    """Images that are decoded, turned into views and passed through the backbone in every step.

    Attributes:
        files: Every image, by place.
        row_place: Place of the image of each row that a head may name, int64 (n_rows,).
        row_view: View of each row, int64 (n_rows,); 0 is the image itself.
        image_px: Side that images are resized to.
        augmentation: Settings of the views.
        backbone: `features.backbone.build_backbone`'s model; only fine-tuning changes it.
        is_fresh: Whether an added row shows another view whenever it comes round; False keeps
            to the views of the feature bank.
        kept: Decoded pixels by place, as many as `_KEPT_BYTES` hold; shared by folds and trials.
        decoders: Threads that read ahead; Pillow decodes outside Python's lock.
    """

    files: Sequence[ViewOf]
    row_place: Int64
    row_view: Int64
    image_px: int
    augmentation: AugmentationConfig
    backbone: Any
    is_fresh: bool = True
    kept: dict[int, UInt8] = field(default_factory=dict, repr=False)
    decoders: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_N_DECODERS, "decode"), repr=False
    )

    def pixels(self, place: int) -> UInt8:
        """Pixels of an image, uint8 (image_px, image_px, 3); may be called by many threads.

        Raises:
            DataError: If the file cannot be read any more, or is not what it was.
        """
        found = self.kept.get(place)
        if found is None:
            found = read_pixels(self.files[place], self.image_px)
            if (len(self.kept) + 1) * found.nbytes <= _KEPT_BYTES:
                self.kept[place] = found
        return found

    def transform(self, place: int, view: int) -> Float32:
        """`keras_transform` of a view, float32 (8,)."""
        if view == 0:
            return _IDENTITY
        drawn = view_parameters(self.files[place].sha256, view, augmentation=self.augmentation)
        return keras_transform(affine_matrix(drawn, image_px=self.image_px))


class Batches(keras.utils.PyDataset):
    """Full batches of ((pixels, transforms), classes, weights) for `Model.fit` and `predict`.

    Args:
        live: Where pixels come from.
        places: Place of each row's image, int64 (n,); the last batch is filled up from the start.
        views: View of each row, int64 (n,).
        y: Class of each row, integers (n,); None where nothing is trained.
        weight: Sample weight of each row, (n,); None where nothing is trained.
        batch_size: Rows in each batch.
    """

    def __init__(
        self,
        live: LiveImages,
        places: Int64,
        views: Int64,
        *,
        y: Ints | None = None,
        weight: NDArray[np.floating] | None = None,
        batch_size: int,
    ) -> None:
        # Not with workers of Keras's own: on JAX its first `fit` looks at a batch in advance and
        # does not give it back to a queue that is running, so that all others move up (3.15).
        super().__init__(workers=1)
        self._live, self._batch_size, self.n_rows = live, batch_size, len(places)
        # Full batches only: features depend on the size of their batch in the last bit.
        filled = np.arange(len(self) * batch_size) % len(places)
        self._places, self._views = places[filled], views[filled]
        self._y = None if y is None else y[filled].astype(np.int32)
        self._weight = None if weight is None else weight[filled].astype(np.float32)
        # TensorFlow turns what a reading thread raises into an error of its own.
        self.error: TunerError | None = None
        self._started: dict[int, Future[tuple[Any, ...]]] = {}

    def __len__(self) -> int:
        return -(-self.n_rows // self._batch_size)

    def __getitem__(self, step: int) -> tuple[Any, ...]:
        """Batch of a step; those that follow are started."""
        for ahead in range(step, min(step + _AHEAD, len(self))):
            if ahead not in self._started:
                self._started[ahead] = self._live.decoders.submit(self._load, ahead)
        try:
            return self._started.pop(step).result()
        except TunerError as error:
            self.error = error
            raise

    def _load(self, step: int) -> tuple[Any, ...]:
        part = slice(step * self._batch_size, (step + 1) * self._batch_size)
        rows = list(zip(self._places[part].tolist(), self._views[part].tolist(), strict=True))
        pixels = np.stack([self._live.pixels(place) for place, _ in rows])
        transforms = np.stack([self._live.transform(place, view) for place, view in rows])
        if self._y is None or self._weight is None:
            return ((pixels, transforms),)
        return (pixels, transforms), self._y[part], self._weight[part]


class Draws:
    """What a head trains on, epoch after epoch, in the row order of the stacked heads.

    Each permutation of the rows shows another view of every added row: its own number plus the
    largest of all for each time that it has come round, so no view is drawn twice.

    Args:
        head: Rows, class weights and the key of the row order.
        live: The images.
        y: Class of each row that a head may name, integers (n_rows,).
    """

    def __init__(self, head: Head, live: LiveImages, y: Ints) -> None:
        self._order = RowOrder(head.rows, head.key)
        self._n_rows, self._taken = head.turns.shape[1], 0
        self._live, self._y, self._class_weight = live, y, np.asarray(head.class_weight)
        self._n_views = int(live.row_view[head.rows].max())

    def epoch(self, *, steps: int, batch_size: int) -> Batches:
        """The next `steps` batches."""
        n = steps * batch_size
        rows, rounds = self._order.take(n), (self._taken + np.arange(n)) // self._n_rows
        self._taken += n
        views = self._live.row_view[rows]
        if self._live.is_fresh:
            views = np.where(views > 0, views + rounds * self._n_views, 0)
        y = self._y[rows]
        return Batches(
            self._live,
            self._live.row_place[rows],
            views,
            y=y,
            weight=self._class_weight[y],
            batch_size=batch_size,
        )
