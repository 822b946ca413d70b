"""What is left of the sealed test without the images that training has all but seen.

A test image with a near-duplicate among the images that models were trained on is answered from
memory: its recall says nothing of new images.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tuner.arrays import Float64, Int64
from tuner.confirm.decision import mean_macro_recall
from tuner.confirm.sealed import SealedImages
from tuner.confirm.verdict import gain_in_words
from tuner.evaluation.comparison import macro_recall_difference
from tuner.home.baselines import PLAIN
from tuner.home.confirmation import Verdict, WithoutTwins


def without_twins(
    log_prob: Mapping[str, Float64], test: SealedImages, leaking: Int64, *, chosen: str
) -> WithoutTwins | None:
    """The chosen model on the images left, against plain cross-entropy; None when all are.

    Args:
        log_prob: By model, (n_seeds, n_test, n_classes).
        test: The sealed images.
        leaking: Images with a near-duplicate on another side of the split, by their number in
            the table of images.
        chosen: Key of the model.
    """
    is_left = ~np.isin(test.images, leaking)
    if is_left.all():
        return None
    n_classes = log_prob[chosen].shape[2]
    support = np.bincount(test.labels[is_left], minlength=n_classes)
    present, labels = np.unique(test.labels[is_left], return_inverse=True)
    recall = difference = None
    if len(present):
        is_hit = {
            key: log_prob[key][:, is_left].argmax(axis=2) == test.labels[is_left]
            for key in (chosen, PLAIN)
        }
        recall = mean_macro_recall(is_hit[chosen], labels=labels, n_classes=len(present))
        if chosen != PLAIN:
            difference = macro_recall_difference(
                is_hit[chosen],
                is_hit[PLAIN],
                labels=labels,
                n_classes=len(present),
                groups=None if test.groups is None else test.groups[is_left],
            )
    return WithoutTwins(
        n_left_out=int((~is_left).sum()),
        support=support.tolist(),
        n_classes=len(present),
        macro_recall=recall,
        gain=difference.gain if difference else None,
        low=difference.low if difference else None,
        high=difference.high if difference else None,
    )


def distrusted(verdict: Verdict, left: WithoutTwins, *, macro_recall: float) -> Verdict:
    """The verdict with what it cannot be trusted for in front.

    A setting is called better only where the images left say so, too.

    Args:
        verdict: On the whole test.
        left: What is left of it.
        macro_recall: Of the chosen model on the whole test.
    """
    n_left = sum(left.support)
    n_test = n_left + left.n_left_out
    twins = "has a near-twin" if left.n_left_out == 1 else "have a near-twin"
    warning = (
        f"This test cannot be trusted: {left.n_left_out:,} of its {n_test:,} images {twins} "
        "among those that the models were trained on, and recall looks better than it is."
    )
    sentence = " ".join([warning, _of_those_left(left, n_left, macro_recall), verdict.sentence])
    holds = left.low is not None and left.low > 0
    return Verdict(sentence=sentence, is_better=verdict.is_better and holds)


def _of_those_left(left: WithoutTwins, n_left: int, macro_recall: float) -> str:
    if left.macro_recall is None:
        return "No image is left without them."
    images = "image is" if n_left == 1 else "images are"
    n_gone = len(left.support) - left.n_classes
    classes = f" of {left.n_classes} of {len(left.support)} classes" if n_gone else ""
    gain = ""
    if left.gain is not None and left.low is not None and left.high is not None:
        told = gain_in_words(left.gain, left.low, left.high)
        gain = f", {told} over plain cross-entropy"
    return (
        f"Without them {n_left:,} {images} left{classes}: macro recall "
        f"{left.macro_recall:.3f} instead of {macro_recall:.3f}{gain}."
    )
