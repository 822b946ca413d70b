"""The sealed test without the images that training has all but seen."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.confirm.sealed import SealedImages
from tuner.confirm.twins import distrusted, without_twins
from tuner.evaluation.comparison import macro_recall_difference
from tuner.home.baselines import PLAIN
from tuner.home.confirmation import Verdict

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
TEST = SealedImages(
    images=np.arange(10, 18), labels=LABELS, groups=None, features=np.zeros((8, 1), np.float32)
)


def answers(*hits: int) -> np.ndarray:
    """Log probabilities of two seeds whose hits these are, (2, 8, 2)."""
    predicted = np.where(np.array(hits, bool), LABELS, 1 - LABELS)
    return np.log(np.stack([np.eye(2)[predicted] * 0.8 + 0.1] * 2))


def test_without_leaks_nothing_is_left_out():
    """Images that leak outside the test do not matter to it."""
    told = {PLAIN: answers(1, 1, 1, 1, 1, 1, 1, 1)}
    assert without_twins(told, TEST, np.array([3, 4]), chosen=PLAIN) is None


def test_recall_and_gain_are_those_of_the_images_left():
    """The chosen model is right on the leaking ones only; what is left says so."""
    told = {PLAIN: answers(0, 0, 1, 1, 0, 1, 1, 1), "trial-00003": answers(1, 1, 1, 0, 1, 1, 1, 0)}
    left = without_twins(told, TEST, np.array([10, 11, 14]), chosen="trial-00003")
    assert left.n_left_out == 3
    assert left.support == [2, 3]
    assert left.macro_recall == pytest.approx((1 / 2 + 2 / 3) / 2)
    is_left = ~np.isin(TEST.images, [10, 11, 14])
    hits = {k: t[:, is_left].argmax(axis=2) == LABELS[is_left] for k, t in told.items()}
    by_hand = macro_recall_difference(
        hits["trial-00003"], hits[PLAIN], labels=LABELS[is_left], n_classes=2
    )
    assert (left.gain, left.low, left.high) == (by_hand.gain, by_hand.low, by_hand.high)
    verdict = distrusted(Verdict(sentence="It is.", is_better=True), left, macro_recall=0.75)
    assert verdict.sentence.startswith("This test cannot be trusted: 3 of its 8 images have")
    assert (
        "Without them 5 images are left: macro recall 0.583 instead of 0.750" in verdict.sentence
    )
    assert verdict.sentence.endswith("It is.")
    assert not verdict.is_better


def test_a_class_without_an_image_left_is_said():
    """Its recall is not counted as 0, and that it is missing is told."""
    told = {PLAIN: answers(1, 1, 1, 1, 1, 1, 1, 1)}
    left = without_twins(told, TEST, np.arange(14, 18), chosen=PLAIN)
    assert (left.n_classes, left.support, left.macro_recall) == (1, [4, 0], 1.0)
    assert left.gain is None
    said = distrusted(Verdict(sentence="", is_better=False), left, macro_recall=1.0).sentence
    assert "4 images are left of 1 of 2 classes" in said


def test_a_test_that_leaks_wholly_is_said():
    """Nothing can be computed of no image."""
    told = {PLAIN: answers(1, 1, 1, 1, 1, 1, 1, 1)}
    left = without_twins(told, TEST, TEST.images, chosen=PLAIN)
    said = distrusted(Verdict(sentence="", is_better=False), left, macro_recall=1.0).sentence
    assert "No image is left without them." in said
