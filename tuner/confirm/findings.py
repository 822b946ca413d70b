"""What a confirmation has found, as plain tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.confirm.decision import Choice, Judgement
from tuner.confirm.retest import Retest
from tuner.evaluation.calibration import calibration
from tuner.evaluation.comparison import RecallDifference, exact_mcnemar, holm
from tuner.evaluation.intervals import wilson_interval
from tuner.evaluation.metrics import confusion_matrix, macro_recall
from tuner.home.free import FREE_TITLES, TUNED
from tuner.home.records import Record

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def retest_table(
    fresh: Retest,
    choice: Choice,
    predicted: Mapping[str, IntArray],
    labels: IntArray,
    *,
    taus: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Every setting and free baseline on the fresh splits, the best mean first."""
    known = {setting.name: setting for setting in fresh.settings}
    rows = []
    for key, standing in choice.standings.items():
        record = known.get(key)
        rows.append(
            {
                "key": key,
                "title": _title(key, known, taus),
                "setting": str(record.params) if record else None,
                "kind": record.kind if record else "adjusted" if "+" in key else "free",
                "validation": record.scores["macro_recall"] if record else None,
                "values": _macro_recalls(predicted[key], labels),
                "mean": standing.mean,
                "behind": standing.behind,
                "behind_standard_error": standing.behind_standard_error,
                "is_within": standing.is_within,
            }
        )
    return sorted(rows, key=lambda row: -row["mean"])


def _title(key: str, known: Mapping[str, Record], taus: Mapping[str, float]) -> str:
    if key in known:
        return known[key].title
    setting, plus, kind = key.rpartition("+")
    name = FREE_TITLES[kind] + (f" to {taus[key]:g}" if kind == TUNED else "")
    return f"{known[setting].title}, {name}" if plus else name


def _macro_recalls(predicted: IntArray, labels: IntArray) -> list[float]:
    """Macro recall of each seed's predictions, (n_seeds, n_images)."""
    n_classes = int(labels.max()) + 1
    return [macro_recall(confusion_matrix(labels, p, n_classes=n_classes)) for p in predicted]


def model_table(
    fresh: Retest,
    log_prob: Mapping[str, FloatArray],
    labels: IntArray,
    *,
    taus: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Each model on the test: mean over seeds, and the model of the study seed in detail."""
    known = {setting.name: setting for setting in fresh.settings}
    found = []
    for key, table in log_prob.items():
        predicted = table.argmax(axis=2)
        matrix = confusion_matrix(labels, predicted[0], n_classes=table.shape[2])
        low, high = wilson_interval(np.diag(matrix), matrix.sum(axis=1))
        values = _macro_recalls(predicted, labels)
        found.append(
            {
                "key": key,
                "title": _title(key, known, taus),
                "macro_recall": float(np.mean(values)),
                "values": values,
                "matrix": matrix.tolist(),
                "recall_interval": np.stack([low, high], axis=1).tolist(),
                "calibration": calibration(table[0], labels)._asdict(),
            }
        )
    return found


def comparison_table(
    judgement: Judgement, chosen: str, log_prob: Mapping[str, FloatArray], labels: IntArray
) -> list[dict[str, Any]]:
    """The chosen setting against every other model; classes by the study seed's models."""
    return [
        {
            "model": chosen,
            "against": key,
            **_interval(difference),
            "classes": _class_tests(log_prob[chosen][0], log_prob[key][0], labels),
        }
        for key, difference in judgement.comparisons.items()
    ]


def _interval(difference: RecallDifference) -> dict[str, Any]:
    return {
        "gain": difference.gain,
        "low": difference.low,
        "high": difference.high,
        "is_clear": difference.is_clear,
        "warning": difference.warning,
    }


def _class_tests(a: FloatArray, b: FloatArray, labels: IntArray) -> list[dict[str, Any]]:
    """Exact McNemar of each class for two models of one seed, Holm over the classes."""
    hit_a, hit_b = a.argmax(axis=1) == labels, b.argmax(axis=1) == labels
    n_classes = a.shape[1]
    gained = np.bincount(labels[hit_a & ~hit_b], minlength=n_classes)
    lost = np.bincount(labels[hit_b & ~hit_a], minlength=n_classes)
    p = exact_mcnemar(gained, lost)
    columns = zip(gained.tolist(), lost.tolist(), p.tolist(), holm(p).tolist(), strict=True)
    return [dict(zip(("gained", "lost", "p", "p_holm"), row, strict=True)) for row in columns]


def optimism(
    best: Record | None, table: Sequence[Mapping[str, Any]], models: Sequence[Mapping[str, Any]]
) -> dict[str, float] | None:
    """How much better the search's winner looked than it is; None if it failed the retest."""
    name = best.name if best else ""
    row = next((row for row in table if row["key"] == name), None)
    model = next((model for model in models if model["key"] == name), None)
    if row is None or model is None:
        return None
    return {
        "validation": row["validation"],
        "retest": row["mean"],
        "test": model["macro_recall"],
        "difference": row["validation"] - model["macro_recall"],
    }
