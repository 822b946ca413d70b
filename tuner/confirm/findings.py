"""What a confirmation has found, as it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tuner.arrays import Float64, Int64
from tuner.confirm.decision import Choice, Judgement
from tuner.confirm.retest import Retest
from tuner.evaluation.calibration import calibration
from tuner.evaluation.comparison import exact_mcnemar, holm
from tuner.evaluation.intervals import wilson_interval
from tuner.evaluation.metrics import confusion_matrix, macro_recall
from tuner.home.confirmation import (
    Calibrated,
    ClassGain,
    Compared,
    Optimism,
    Tested,
    Tried,
)
from tuner.home.free import FREE_TITLES, RULE, TUNED
from tuner.home.records import Record


def retest_table(
    fresh: Retest,
    choice: Choice,
    predicted: Mapping[str, Int64],
    labels: Int64,
    *,
    taus: Mapping[str, float],
) -> list[Tried]:
    """Every setting and free baseline on the fresh splits, the best mean first."""
    known = {setting.name: setting for setting in fresh.settings}
    rows = []
    for key, standing in choice.standings.items():
        record = known.get(key)
        rows.append(
            Tried(
                key=key,
                title=_title(key, known, taus),
                setting=str(record.params) if record else None,
                kind=record.kind if record else "adjusted" if "+" in key else "free",
                validation=record.scores["macro_recall"] if record else None,
                values=_macro_recalls(predicted[key], labels),
                mean=standing.mean,
                behind=standing.behind,
                behind_standard_error=standing.behind_standard_error,
                is_within=standing.is_within,
            )
        )
    return sorted(rows, key=lambda row: -row.mean)


def _title(key: str, known: Mapping[str, Record], taus: Mapping[str, float]) -> str:
    if key in known:
        return known[key].title
    setting, plus, kind = key.rpartition("+")
    if kind == RULE:
        return f"{known[setting].title}, decision rule"
    name = FREE_TITLES[kind] + (f" to {taus[key]:g}" if kind == TUNED else "")
    return f"{known[setting].title}, {name}" if plus else name


def _macro_recalls(predicted: Int64, labels: Int64) -> list[float]:
    """Macro recall of each seed's predictions, (n_seeds, n_images)."""
    n_classes = int(max(labels.max(), predicted.max())) + 1  # a shipped test may lack the last
    return [macro_recall(confusion_matrix(labels, p, n_classes=n_classes)) for p in predicted]


def model_table(
    fresh: Retest,
    log_prob: Mapping[str, Float64],
    labels: Int64,
    *,
    taus: Mapping[str, float],
) -> list[Tested]:
    """Each model on the test: mean over seeds, and the model of the study seed in detail."""
    known = {setting.name: setting for setting in fresh.settings}
    found = []
    for key, table in log_prob.items():
        predicted = table.argmax(axis=2)
        matrix = confusion_matrix(labels, predicted[0], n_classes=table.shape[2])
        low, high = wilson_interval(np.diag(matrix), matrix.sum(axis=1))
        values = _macro_recalls(predicted, labels)
        found.append(
            Tested(
                key=key,
                title=_title(key, known, taus),
                macro_recall=float(np.mean(values)),
                values=values,
                matrix=matrix.tolist(),
                recall_interval=np.stack([low, high], axis=1).tolist(),
                calibration=Calibrated(**calibration(table[0], labels)._asdict()),
            )
        )
    return found


def comparison_table(
    judgement: Judgement, chosen: str, log_prob: Mapping[str, Float64], labels: Int64
) -> list[Compared]:
    """The chosen setting against every other model; classes by the study seed's models."""
    return [
        Compared(
            model=chosen,
            against=key,
            gain=difference.gain,
            low=difference.low,
            high=difference.high,
            is_clear=difference.is_clear,
            warning=difference.warning,
            classes=_class_tests(log_prob[chosen][0], log_prob[key][0], labels),
        )
        for key, difference in judgement.comparisons.items()
    ]


def _class_tests(a: Float64, b: Float64, labels: Int64) -> list[ClassGain]:
    """Exact McNemar of each class for two models of one seed, Holm over the classes."""
    hit_a, hit_b = a.argmax(axis=1) == labels, b.argmax(axis=1) == labels
    n_classes = a.shape[1]
    gained = np.bincount(labels[hit_a & ~hit_b], minlength=n_classes)
    lost = np.bincount(labels[hit_b & ~hit_a], minlength=n_classes)
    p = exact_mcnemar(gained, lost)
    columns = zip(gained.tolist(), lost.tolist(), p.tolist(), holm(p).tolist(), strict=True)
    return [ClassGain(gained=g, lost=n, p=p_, p_holm=p_holm) for g, n, p_, p_holm in columns]


def optimism(
    best: Record | None, table: Sequence[Tried], models: Sequence[Tested]
) -> Optimism | None:
    """How much better the search's winner looked than it is; None if it failed the retest."""
    name = best.name if best else ""
    row = next((row for row in table if row.key == name), None)
    model = next((model for model in models if model.key == name), None)
    if row is None or row.validation is None or model is None:
        return None
    return Optimism(
        validation=row.validation,
        retest=row.mean,
        test=model.macro_recall,
        difference=row.validation - model.macro_recall,
    )
