"""What views did in a study, from its own trials and baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tuner.arrays import Bool
from tuner.config import AugmentationConfig
from tuner.errors import StudyError
from tuner.evaluation.comparison import RecallDifference, macro_recall_difference
from tuner.home.records import Record, load_log_prob
from tuner.home.study_folder import StudyFolder
from tuner.search.space import is_own

_LEAST_PAIRS = 3
_SPAN_GAMMA = 5.0  # of the ranges, so that gamma and alpha count alike


class ViewsEffect(NamedTuple):
    """What settings with views reach beyond those without.

    Attributes:
        gain: In macro recall, with its interval over images and settings.
        n_pairs: Settings with views, each beside the likest one without.
        augmentation: What the views were.
    """

    gain: RecallDifference
    n_pairs: int
    augmentation: AugmentationConfig

    @property
    def sentence(self) -> str:
        """The same in words, and what follows from it."""
        gain, strength = self.gain, f"{self.augmentation.strength:g}"
        limits = f"95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
        basis = f"{limits}, {self.n_pairs} pairs of settings"
        points = f"{abs(100 * gain.gain):.1f} points of macro recall here at strength {strength}"
        if gain.high < 0:
            return f"Views cost {points} ({basis}): none, or weaker ones."
        if gain.low > 0:
            return f"Views gain {points} ({basis})."
        change = f"{100 * gain.gain:+.1f} points of macro recall"
        return f"Views change {change} here at strength {strength} ({basis}): no clear difference."


def views_effect(folder: StudyFolder, records: Sequence[Record]) -> ViewsEffect | None:
    """Settings with views against the likest without, on the same images; None with too few.

    Each complete setting with views stands beside the one without that has the same class
    weights and the nearest gamma and alpha. A baseline with a way of its own to show views is
    left out.

    Args:
        folder: The study.
        records: Its records.

    Raises:
        StudyError: If predictions are damaged.
    """
    complete = [
        r
        for r in records
        if r.kind != "confirm" and r.state == "complete" and is_own(r.params, folder.config)
    ]
    plain = [r for r in complete if not r.params.augmentation_multiplier]
    used = [r for r in complete if r.params.augmentation_multiplier]
    pairs = [(r, p) for r in used if (p := _likest(r, plain))]
    if len(pairs) < _LEAST_PAIRS:
        return None
    hits = [[_hits(folder, r) for r in side] for side in zip(*pairs, strict=True)]
    if any(h is None for side in hits for h in side):
        return None
    with_views, without = (np.stack([h for h in side if h is not None]) for side in hits)
    gain = macro_recall_difference(
        with_views,
        without,
        labels=folder.images.labels[folder.images.search],
        n_classes=len(folder.class_names),
    )
    return ViewsEffect(gain, len(pairs), folder.config.augmentation)


def views_sentence(folder: StudyFolder, records: Sequence[Record]) -> str:
    """What views did, in a sentence; empty where too few settings, or damaged ones, say it."""
    try:
        found = views_effect(folder, records)
    except StudyError:  # named by whoever shows the predictions themselves
        return ""
    return found.sentence if found else ""


def _likest(record: Record, others: Sequence[Record]) -> Record | None:
    mine = record.params
    same = [r for r in others if r.params.class_weight_mode == mine.class_weight_mode]

    def distance(other: Record) -> float:
        gamma = (other.params.gamma - mine.gamma) / _SPAN_GAMMA
        return float(np.hypot(gamma, other.params.alpha - mine.alpha))

    return min(same, key=distance, default=None)


def _hits(folder: StudyFolder, record: Record) -> Bool | None:
    """Whether each image was found, bool (n_images,); None where nothing was kept."""
    labels = folder.images.labels[folder.images.search]
    log_prob = load_log_prob(folder.records_path, record.name)
    if log_prob is None or log_prob.shape != (len(labels), len(folder.class_names)):
        return None
    return np.asarray(log_prob.argmax(axis=1) == labels)
