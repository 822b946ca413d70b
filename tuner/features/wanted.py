"""Rows to extract: which view of which file, in arrays however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from tuner.arrays import Int64, Ints
from tuner.columns import Column, digests_of, hashes_of, sortable, texts_of
from tuner.config import AugmentationConfig
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.image_table import ImageTable
from tuner.features.bank_index import RowNames
from tuner.features.views import view_ending, view_key


class ViewOf(NamedTuple):
    """One row to extract: a file, its hash, the view, and how the file is read."""

    path: Path
    sha256: str
    view: int
    rule: PixelRule = EACH_FILE

    def key(self, augmentation: AugmentationConfig) -> str:
        """Its name in the bank."""
        return view_key(self.sha256, self.view, augmentation=augmentation, rule=self.rule)


class Wanted(Sequence[ViewOf]):
    """Rows to extract, of files that are read alike.

    Args:
        root: Folder that the paths are relative to.
        paths: Of the files.
        sha256: Of the files.
        rule: How they are read.
        image: Number of each row's file, int64 (n_rows,).
        view: View of each row, integers (n_rows,).
    """

    __slots__ = ("image", "paths", "root", "rule", "sha256", "view")

    def __init__(
        self,
        root: Path,
        *,
        paths: Column,
        sha256: Column,
        rule: PixelRule,
        image: Int64,
        view: Ints,
    ) -> None:
        self.root, self.paths, self.sha256, self.rule = root, paths, sha256, rule
        self.image, self.view = image, view

    @classmethod
    def of(cls, rows: Sequence[ViewOf]) -> Wanted:
        """Rows given one by one.

        Raises:
            ValueError: If they are not read alike.
        """
        if isinstance(rows, Wanted):
            return rows
        if len({row.rule for row in rows}) > 1:
            raise ValueError("files of several pixel rules in one call")
        return cls(
            Path(),
            paths=texts_of([str(row.path) for row in rows]),
            sha256=hashes_of([row.sha256 for row in rows]),
            rule=rows[0].rule if rows else EACH_FILE,
            image=np.arange(len(rows)),
            view=np.array([row.view for row in rows], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.image)

    @overload
    def __getitem__(self, row: int) -> ViewOf: ...
    @overload
    def __getitem__(self, row: slice) -> Wanted: ...
    def __getitem__(self, row: int | slice) -> ViewOf | Wanted:
        if isinstance(row, slice):
            return self.take(row)
        image = int(self.image[row])
        path = self.root / self.paths[image]
        return ViewOf(path, self.sha256[image], int(self.view[row]), self.rule)

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent elsewhere, some rows do not take all files with them."""
        used, image = np.unique(self.image, return_inverse=True)
        columns = (self.paths.take(used), self.sha256.take(used))
        return _rebuilt, (self.root, *columns, self.rule, image, self.view)

    def take(self, rows: Any) -> Wanted:
        """Some of them, by number, mask or slice."""
        return Wanted(
            self.root,
            paths=self.paths,
            sha256=self.sha256,
            rule=self.rule,
            image=self.image[rows],
            view=self.view[rows],
        )

    def names(self, augmentation: AugmentationConfig) -> RowNames:
        """Their names in the bank."""
        endings = [
            view_ending(view, augmentation=augmentation, rule=self.rule)
            for view in range(int(self.view.max(initial=0)) + 1)
        ]
        return RowNames(digests_of(self.sha256), self.view, endings, file=self.image)

    def file_number(self) -> Int64:
        """Number of each row's file, by where its content is named first, int64 (n_rows,)."""
        first_row = np.full(len(self.paths), len(self), dtype=np.int64)
        first_row[self.image[::-1]] = np.arange(len(self))[::-1]  # what is written last stays
        used = np.flatnonzero(first_row < len(self))
        _, same = np.unique(sortable(digests_of(self.sha256.take(used))), return_inverse=True)
        first = np.full(len(used), len(self), dtype=np.int64)
        np.minimum.at(first, same, first_row[used])
        first_row[used] = first[same]
        return first_row[self.image]


def of_table(
    table: ImageTable, images: Int64, view: Ints | None = None, *, root: Path | None = None
) -> Wanted:
    """Images of a table, by number, as rows to extract.

    Args:
        table: The images.
        images: The image of each row, int64 (n_rows,).
        view: The view of each, integers (n_rows,); None for the images themselves.
        root: Where they lie; by default where the table says.
    """
    return Wanted(
        table.root if root is None else root,
        paths=table.paths,
        sha256=table.sha256,
        rule=table.rule,
        image=np.asarray(images, dtype=np.int64),
        view=np.zeros(len(images), dtype=np.int64) if view is None else view,
    )


def names_of(rows: Sequence[ViewOf], augmentation: AugmentationConfig) -> RowNames:
    """Names of rows in the bank, whoever lists them."""
    return Wanted.of(rows).names(augmentation)


def _rebuilt(
    root: Path, paths: Column, sha256: Column, rule: PixelRule, image: Int64, view: Ints
) -> Wanted:
    return Wanted(root, paths=paths, sha256=sha256, rule=rule, image=image, view=view)
