"""Labels to check: the same picture under two labels, and what the folds think of it.

``labels_to_check.csv`` has one line for each image of such a pair, the most doubtful first. Of
planted wrong labels of a rare class unweighted training finds fewer than half, balanced weights
three of four: where both have spoken, the balanced one orders the list.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tuner.arrays import Float32
from tuner.errors import StudyError
from tuner.home.baselines import BALANCED
from tuner.home.near_duplicates import conflicting_pairs
from tuner.home.records import Record, load_log_prob, winner
from tuner.home.study_folder import StudyFolder

FILE = "labels_to_check.csv"


class Doubt(NamedTuple):
    """An image whose near-duplicate has another label.

    Attributes:
        image: Number in the table of images.
        twin: That of its near-duplicate.
        likeness: How far their pixels agree, 0 to 1.
        own: Out-of-fold probability of the image's own label, by record; none of the sealed test.
        other: That of its twin's label.
        predicted: Class that each predicts.
    """

    image: int
    twin: int
    likeness: float
    own: dict[str, float]
    other: dict[str, float]
    predicted: dict[str, int]

    @property
    def doubt(self) -> float:
        """Probability of the twin's label minus that of its own, by the last of the records."""
        return max((self.other[k] - self.own[k] for k in list(self.own)[-1:]), default=-1.0)


def labels_to_check(folder: StudyFolder, asked: Sequence[Record]) -> list[Doubt]:
    """Images whose near-duplicates have another label, the most doubtful first.

    Those of the sealed test are only named as twins: no model has answered them.

    Args:
        folder: The study.
        asked: `judges` among its records.
    """
    pairs = conflicting_pairs(folder)
    if not pairs:
        return []
    images, known = folder.images, _predictions(folder, asked)
    place = np.full(images.n_images, -1, dtype=np.int64)
    place[images.search] = np.arange(len(images.search))
    found = []
    for pair in pairs:
        for image, twin in ((pair.first, pair.second), (pair.second, pair.first)):
            row = place[image]
            if row < 0:
                continue
            mine, its = images.labels[image], images.labels[twin]
            rows = {key: table[row] for key, table in known.items()}
            found.append(
                Doubt(
                    image,
                    twin,
                    pair.likeness,
                    {key: float(np.exp(values[mine])) for key, values in rows.items()},
                    {key: float(np.exp(values[its])) for key, values in rows.items()},
                    {key: int(values.argmax()) for key, values in rows.items()},
                )
            )
    return sorted(found, key=lambda doubt: (-doubt.doubt, -doubt.likeness, doubt.image))


def judges(records: list[Record]) -> list[Record]:
    """Who is asked: the winner, then cross-entropy with balanced weights."""
    best = winner(records)
    balanced = next((r for r in records if r.name == BALANCED and r.matrix), None)
    return [r for r in (best if best is not balanced else None, balanced) if r is not None]


def labels_csv(folder: StudyFolder, doubts: Sequence[Doubt], asked: Sequence[Record]) -> str:
    """The list as a table with a line for each image of a pair."""
    images, names = folder.images, folder.class_names
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["path", "label", "twin", "twin_label", "twin_is_sealed", "likeness"]
        + [f"{what}: {r.title}" for r in asked for what in ("predicted", "own", "twin's")]
    )
    for one in doubts:
        said = [_said(one, r.name, names) for r in asked]
        writer.writerow(
            [
                images.paths[one.image],
                names[images.labels[one.image]],
                images.paths[one.twin],
                names[images.labels[one.twin]],
                "yes" if images.is_test[one.twin] else "no",
                f"{one.likeness:.3f}",
                *(cell for cells in said for cell in cells),
            ]
        )
    return stream.getvalue()


def _said(one: Doubt, key: str, names: list[str]) -> list[str]:
    if key not in one.own:
        return ["", "", ""]
    return [names[one.predicted[key]], f"{one.own[key]:.3f}", f"{one.other[key]:.3f}"]


def _predictions(folder: StudyFolder, asked: Sequence[Record]) -> Mapping[str, Float32]:
    """Out-of-fold log probabilities of the judges, (n_search_images, n_classes) each."""
    shape = (len(folder.images.search), len(folder.class_names))
    found = {}
    for record in asked:
        try:
            table = load_log_prob(folder.records_path, record.name)
        except StudyError:
            continue
        if table is not None and table.shape == shape:
            found[record.name] = table
    return found
