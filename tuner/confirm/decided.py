"""A decision rule for the chosen setting: fitted before the test is opened, judged on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.arrays import Int64
from tuner.confirm.sealed import SealedImages
from tuner.decision.demands import Demands
from tuner.decision.fit import demands_as_plain, fit_to
from tuner.decision.judged import Standing, as_plain, change, standing
from tuner.decision.rule import DecisionRule
from tuner.evaluation.cost import Estimate
from tuner.home.free import rule_key
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder
from tuner.text import interval_words


def rule_of(folder: StudyFolder, setting: Record, demands: Demands) -> DecisionRule:
    """The rule that the study's own folds give a setting, as `tuner export` fits it.

    Raises:
        StudyError: If the setting has no predictions.
        ExportError: If no decision meets the floors.
    """
    return fit_to(folder, setting, demands)[1].rule


def judge_rule(
    rule: DecisionRule,
    demands: Demands,
    log_prob: Mapping[str, NDArray[np.floating]],
    test: SealedImages,
    *,
    setting: str,
    class_names: list[str],
) -> dict[str, Any]:
    """What the rule came to on the sealed test, as `Confirmation.decision` keeps it.

    Args:
        rule: Fitted before the test was opened.
        demands: What it was fitted to.
        log_prob: By model, (n_seeds, n_test, n_classes), the rule's own scores among them.
        test: The sealed images.
        setting: Name of the record that it is a rule for.
        class_names: In class order.

    Returns:
        Plain values: ``of``, ``costs``, ``recall_floors``, ``rule``, ``before``, ``after``,
        ``change`` and ``sentence``, of the models of the study seed.
    """
    before, after = (log_prob[key][0].argmax(axis=1) for key in (setting, rule_key(setting)))

    def stands(predicted: Int64) -> Standing:
        return standing(predicted, test.labels, demands, class_names, groups=test.groups)

    then, now = stands(before), stands(after)
    difference = change(before, after, test.labels, demands, groups=test.groups)
    return {
        "of": setting,
        **demands_as_plain(demands, class_names),
        "rule": rule.as_plain(),
        "before": as_plain(then),
        "after": as_plain(now),
        "change": as_plain(difference),
        "sentence": sentence(then, now, difference, n_images=len(test.labels)),
    }


def sentence(
    before: Standing, after: Standing, difference: Estimate | None, *, n_images: int
) -> str:
    """What a rule came to on the sealed test, in words."""
    parts = []
    if before.cost and after.cost and difference:
        kind = "is cheaper" if difference.high < 0 else "is no cheaper, as far as this can tell"
        if difference.low > 0:
            kind = "is dearer"
        parts.append(
            f"On the {n_images:,} images of the sealed test the decision rule {kind}: "
            f"{interval_words(*after.cost)} an image, {interval_words(*before.cost)} without it; "
            f"{interval_words(*difference, '+.3g')} with its 95 % interval."
        )
    for row in after.recall:
        if "floor" in row:
            found = f"{row['found']} of {row['of']}, {row['low']:.2f} to {row['high']:.2f}"
            word = "meets" if row["recall"] >= row["floor"] else "misses"
            by_chance = (
                ", as chance may have it" if row["low"] < row["floor"] <= row["high"] else ""
            )
            parts.append(
                f"Recall of {row['class']} {word} its floor of {row['floor']:g}{by_chance}: "
                f"{row['recall']:.3f} ({found})."
            )
    return " ".join(parts)
