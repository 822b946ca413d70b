"""The report's tables of the search: winner and baselines, free baselines, trials, classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tuner.evaluation.intervals import macro_recall_standard_error
from tuner.home.records import Record
from tuner.report.figures.titles import short_title
from tuner.report.page.contents import Contents
from tuner.report.page.markup import Column, Html, Rate, element, joined, name, table

_RARE_SHOWN = 3  # classes in the table of all trials


def with_error(matrix: Sequence[Sequence[int]] | Any) -> Html:
    """Macro recall of a confusion matrix with its standard error."""
    counts = np.asarray(matrix, dtype=np.int64)
    recall = counts.diagonal() / np.maximum(counts.sum(axis=1), 1)
    error = macro_recall_standard_error(counts)
    return joined([f"{recall.mean():.3f} ", element("span", f"±{error:.3f}", css="error")])


def k_of_n(matrix: Any, k: int) -> Rate:
    """Images of class `k` found, with a bar as long as the recall."""
    found, n = int(matrix[k][k]), int(np.sum(matrix[k]))
    text = joined([str(found), element("span", f" of {n}", css="of")])
    return Rate(text, found / n if n else 0.0)


def worst(matrix: Any, labels: Sequence[str]) -> Html:
    """Lowest recall and its class."""
    counts = np.asarray(matrix, dtype=np.int64)
    recall = counts.diagonal() / np.maximum(counts.sum(axis=1), 1)
    k = int(recall.argmin())
    return joined([f"{recall[k]:.2f} ", element("small", name(labels[k]))])


def winner_table(contents: Contents) -> Html:
    """The winner beside the baselines: macro recall, worst class, and every class as k of n."""
    records = contents.compared
    failed = [r for r in contents.records if r.kind == "baseline" and not r.matrix]
    columns = [Column("", "text"), *(Column(short_title(r)) for r in records)]
    columns += [Column(short_title(r), "wide") for r in failed]
    blanks = ["failed"] + [""] * (len(contents.class_names) + 2)

    def row(head: object, cells: Sequence[object], at: int) -> list[object]:
        return [head, *cells, *(blanks[at] for _ in failed)]

    rows = [
        row("macro recall", [with_error(r.matrix) for r in records], 0),
        row("worst class", [worst(r.matrix, contents.labels) for r in records], 1),
        row("accuracy", [f"{r.scores['accuracy']:.3f}" for r in records], 1),
    ]
    for k in contents.rarest:
        cells = [k_of_n(r.matrix, k) for r in records]
        rows.append(row(name(contents.labels[k]), cells, 1))
    css = ["strong", "", "after", *[""] * len(contents.rarest)]
    caption = (
        "Validation folds, pooled out-of-fold predictions: images found of each class, the "
        "rarest class first; ± is one standard error of the images alone."
    )
    return table(caption, columns, rows, css="compare", row_css=css)


def free_table(contents: Contents) -> Html:
    """Corrections that need no training, on the same validation folds."""
    found = contents.free or {}
    shown = contents.rarest[:_RARE_SHOWN]
    rows = []
    best = contents.best.scores.get("macro_recall", 0.0) if contents.best else 0.0
    for baseline in found.get("baselines", []):
        matrix = baseline["matrix"]
        counts = np.asarray(matrix)
        recall = float((counts.diagonal() / np.maximum(counts.sum(axis=1), 1)).mean())
        rows.append(
            [
                baseline["title"],
                with_error(matrix),
                f"{recall - best:+.3f}".replace("-", "−"),
                worst(matrix, contents.labels),
                *(k_of_n(matrix, k) for k in shown),
            ]
        )
    heads = [Column("", "text"), "macro recall", "to the winner", Column("worst class", "wide")]
    heads += [Column(name(contents.labels[k]), "wide") for k in shown]
    caption = "Baselines that cost nothing, on the same out-of-fold predictions."
    return table(caption, heads, rows)


def trials_table(contents: Contents) -> Html:
    """Every baseline and trial: setting, objective, rarest classes, how it ended."""
    shown = contents.rarest[:_RARE_SHOWN]
    metric = contents.folder.config.objective.metric.replace("_", " ")
    heads = [Column("", "text"), Column("setting", "text"), metric]
    heads += [Column(name(contents.labels[k]), "wide") for k in shown]
    heads += [Column("epochs", "wide"), Column("time", "wide"), Column("", "text")]
    rows = [_trial_row(r, shown) for r in contents.records]
    css = [
        "strong" if r is contents.best else "dim" if r.state != "complete" else ""
        for r in contents.records
    ]
    caption = "All settings that were trained, in order; recall of the rarest classes."
    return table(caption, heads, rows, css="trials", row_css=css)


def _trial_row(record: Record, shown: Sequence[int]) -> list[object]:
    recall = [f"{record.recall[k]:.2f}" if record.matrix else "" for k in shown]
    ended: str = "" if record.state == "complete" else record.state
    if record.reason:
        ended += f": {record.reason}"
    if record.state == "complete" and not record.is_feasible:
        ended = "below recall_floor"
    return [
        short_title(record),
        str(record.params),
        "" if record.value is None else f"{record.value:.3f}",
        *recall,
        len(record.curves.get("objective", [])) or "",
        f"{record.ended_s - record.started_s:.1f} s",
        ended,
    ]


def class_table(contents: Contents) -> Html:
    """Images of every class, in the search and sealed."""
    search, test = contents.counts
    total = search + test
    rows = [
        [name(contents.class_names[k]), Rate(f"{total[k]:,}", total[k] / total.max()),
         f"{search[k]:,}", f"{test[k]:,}"]
        for k in reversed(contents.rarest)
    ]  # fmt: skip
    caption = "Images of each class; the sealed test is seen by no search."
    heads = [Column("class", "text"), "images", "search", "sealed test"]
    return table(caption, heads, rows, css="half")
