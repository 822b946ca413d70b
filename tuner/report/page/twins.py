"""Near-duplicates on the page: what the split parts, and pictures under two labels."""

from __future__ import annotations

from typing import NamedTuple

from tuner.data.near_duplicates.leaks import side_name
from tuner.home.near_duplicates import Pair, parted_pairs
from tuner.report.labels import Doubt, judges, labels_to_check
from tuner.report.page.contents import Contents
from tuner.report.page.examples import Picture, thumbnail

_PAIRS_SHOWN = 12
_DOUBTS_SHOWN = 24


class Side(NamedTuple):
    """One image of a pair.

    Attributes:
        path: Below the folder of the data.
        picture: Small, or why there is none.
        label: Its class.
        side: Of the split.
    """

    path: str
    picture: Picture
    label: str
    side: str


class Twins(NamedTuple):
    """Two near-duplicates as they are shown.

    Attributes:
        sides: Both images.
        likeness: How far their pixels agree, 0 to 1.
        said: What the folds think, in words; empty where they were not asked.
    """

    sides: tuple[Side, Side]
    likeness: float
    said: str


def parted(contents: Contents) -> list[Twins]:
    """The likest pairs that the split parts."""
    pairs = parted_pairs(contents.folder)[:_PAIRS_SHOWN]
    return [_twins(contents, pair, "") for pair in pairs]


def doubts(contents: Contents) -> tuple[list[Twins], int]:
    """Pictures under two labels, the most doubtful first, each pair once; and how many pairs."""
    once: dict[tuple[int, int], Doubt] = {}
    for one in labels_to_check(contents.folder, judges(contents.records)):
        once.setdefault((min(one.image, one.twin), max(one.image, one.twin)), one)
    shown = [
        _twins(contents, Pair(one.image, one.twin, one.likeness), _said(contents, one))
        for one in list(once.values())[:_DOUBTS_SHOWN]
    ]
    return shown, len(once)


def _twins(contents: Contents, pair: Pair, said: str) -> Twins:
    images = contents.folder.images

    def side(image: int) -> Side:
        path = images.paths[image]
        picture = thumbnail(contents.root, path, sha256=images.sha256[image], rule=images.rule)
        label = contents.class_names[images.labels[image]]
        return Side(path, picture, label, side_name(images, image))

    return Twins((side(pair.first), side(pair.second)), pair.likeness, said)


def _said(contents: Contents, one: Doubt) -> str:
    titles = {record.name: record.title for record in contents.records}
    names = contents.class_names
    labels = contents.folder.images.labels
    own, other = names[labels[one.image]], names[labels[one.twin]]
    return "; ".join(
        f"{titles.get(key, key)}: {own} {one.own[key]:.2f}, {other} {one.other[key]:.2f}"
        for key in one.own
    )
