"""Tables of a confirmation, from the content of ``confirmation.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from tuner.cli.show.tables import plain_table, rarest
from tuner.cli.show.terminal import short, short_names

_CLASSES_SHOWN = 12
_TITLE = 44


def retest_table(done: Mapping[str, Any]) -> Table:
    """Mean over the fresh seeds, the spread, and how far behind the best."""
    table = _table("setting", "search", "retest", "± seeds", "behind the best", "")
    for row in done["retest"]:
        is_chosen = row["key"] == done["chosen"]
        searched = row["validation"]
        behind = f"{row['behind']:.3f} ±{row['behind_standard_error']:.3f}"
        table.add_row(
            _named(row),
            "" if searched is None else f"{searched:.3f}",
            f"{row['mean']:.3f}",
            f"{np.std(row['values'], ddof=1):.3f}" if len(row["values"]) > 1 else "",
            behind if row["behind"] else "",
            _mark(row["key"], done),
            style="bold" if is_chosen else "",
        )
    return table


def test_table(done: Mapping[str, Any]) -> Table:
    """Every model on the test, and the chosen one's gain over it."""
    gains = {row["against"]: row for row in done["test"]["comparisons"]}
    rows = {row["key"]: row for row in done["retest"]}
    table = _table("model", "macro recall", "gain of the chosen one", "95 % interval", "")
    for model in sorted(done["test"]["models"], key=lambda model: -model["macro_recall"]):
        key, gain = model["key"], gains.get(model["key"])
        table.add_row(
            _named(rows.get(key, model)),
            f"{model['macro_recall']:.3f}",
            f"{gain['gain']:+.3f}" if gain else "",
            f"{gain['low']:+.3f} to {gain['high']:+.3f}" if gain else "",
            _mark(key, done),
            style="bold" if key == done["chosen"] else "",
        )
    return table


def class_comparison(done: Mapping[str, Any], class_names: Sequence[str]) -> Table:
    """Recall of each class as k of n, the chosen model beside plain cross-entropy."""
    models = {model["key"]: model for model in done["test"]["models"]}
    plain, chosen = models["baseline-cross_entropy"], models[done["chosen"]]
    is_plain = plain is chosen
    table = _table("class", "cross-entropy", *([] if is_plain else [chosen["title"], "Holm p"]))
    tests: list[dict[str, Any]] = next(
        (
            row["classes"]
            for row in done["test"]["comparisons"]
            if row["against"] == "baseline-cross_entropy"
        ),
        [],
    )
    names = short_names(class_names, 28)
    support = np.array(done["test"]["support"])
    for k in rarest(support)[:_CLASSES_SHOWN]:
        cells = [_found(plain, k)]
        if not is_plain:
            cells += [_found(chosen, k), f"{tests[k]['p_holm']:.2g}"]
        table.add_row(Text(names[k]), *cells)
    if len(support) > _CLASSES_SHOWN:
        table.add_row(f"… {len(support) - _CLASSES_SHOWN} more frequent classes: tuner report")
    return table


def calibration_table(done: Mapping[str, Any]) -> Table:
    """Balanced NLL, ECE and Brier score of the trained models."""
    table = _table("model", "balanced NLL", "ECE", "Brier")
    rows = {row["key"]: row for row in done["retest"]}
    for model in done["test"]["models"]:
        if model["key"].startswith(("baseline-", "trial-")):
            values = model["calibration"]
            table.add_row(
                _named(rows.get(model["key"], model)),
                *(f"{values[key]:.3f}" for key in ("balanced_nll", "ece", "brier")),
            )
    return table


def _found(model: Mapping[str, Any], k: int) -> str:
    """``12 of 16 (0.51 to 0.90)``."""
    row, (low, high) = model["matrix"][k], model["recall_interval"][k]
    return f"{row[k]} of {sum(row)} ({low:.2f} to {high:.2f})"


def _named(row: Mapping[str, Any]) -> Text:
    setting = f"  {row['setting']}" if row.get("setting") and row["kind"] == "trial" else ""
    return Text(short(row["title"] + setting, _TITLE))


def _mark(key: str, done: Mapping[str, Any]) -> str:
    marks = {
        "chosen": done["chosen"],
        "best free": done["best_free"],
        "winner of the search": done["search_winner"],
    }
    return ", ".join(mark for mark, marked in marks.items() if marked == key)


def _table(*heads: str) -> Table:
    table = plain_table()
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if 0 < i < len(heads) and head else "left")
    return table
