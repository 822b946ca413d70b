"""Tables that people see: classes, studies, the winner beside the baselines, the sealed test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from tuner.arrays import Int64
from tuner.cli.show.terminal import short, short_names
from tuner.study import ImageTable, Record, macro_recall_standard_error
from tuner.study import class_table as recall_of

_BAR_WIDTH = 24
_RESULT_ROWS = 8  # of classes in the result
_WIDE = 100


def rarest(counts: Int64) -> list[int]:
    """Classes, the rarest first; in class order where they are equally rare."""
    return [int(k) for k in np.argsort(counts, kind="stable")]


def class_table(images: ImageTable) -> Table:
    """Images per class: in all, for the search, sealed for the test."""
    table = plain_table()
    for column in ("class", "images", "search", "test", ""):
        table.add_column(column, justify="left" if column in ("class", "") else "right")
    names = short_names(images.class_names, 28)
    counts, search, test = images.counts, images.search_counts, images.test_counts
    for k in np.argsort(-counts, kind="stable"):
        bar = "█" * max(1, round(_BAR_WIDTH * counts[k] / counts.max()))
        table.add_row(
            Text(names[k]),
            f"{counts[k]:,}",
            f"{search[k]:,}",
            f"{test[k]:,}",
            Text(bar, style="cyan"),
        )
    return table


def result_table(
    records: Sequence[Record], best: Record, class_names: Sequence[str], *, width: int
) -> Table:
    """The winner beside the baselines, with the recall of the rarest classes as k of n.

    Args:
        records: All records of the study.
        best: The winner, one of them.
        class_names: Class names in class order.
        width: Cells of the terminal.
    """
    others = [r for r in records if r.kind == "baseline" and r.name != best.name]
    support = np.array(best.matrix).sum(axis=1)
    chosen = rarest(support)[:_RESULT_ROWS]
    table = plain_table()
    table.add_column("")
    table.add_column(Text(f"winner\n{best.title}", style="bold"), justify="right", style="bold")
    for record in others:
        table.add_column(Text(record.title), justify="right")
    worst_names = short_names(class_names, 12)
    columns = [_result_cells(record, worst_names, chosen) for record in [best, *others]]
    names = short_names(class_names, 16 if width < _WIDE else 34)
    heads = ["macro recall", "worst class", "", *(names[k] for k in chosen)]
    for head, *cells in zip(heads, *columns, strict=True):
        table.add_row(Text(head), *(Text(cell) for cell in cells))
    return table


def _result_cells(record: Record, names: Sequence[str], chosen: Sequence[int]) -> list[str]:
    """Macro recall, the worst class with its name below, and the chosen classes."""
    if not record.matrix:
        return ["failed", *[""] * (len(chosen) + 2)]
    matrix = np.array(record.matrix)
    worst = int(np.argmin(record.recall))
    return [
        f"{record.scores['macro_recall']:.3f} ±{macro_recall_standard_error(matrix):.3f}",
        f"{record.recall[worst]:.2f}",
        names[worst],
        *(f"{matrix[k, k]} of {matrix[k].sum()}" for k in chosen),
    ]


def status_table(studies: Sequence[Mapping[str, Any]]) -> Table:
    """One line per study, from the facts that ``tuner status --json`` prints."""
    table = plain_table()
    for column in ("study", "trials", "state", "best"):
        table.add_column(column)
    table.add_column("objective", justify="right")
    for facts in studies:
        best = facts["best"] or {}
        failed = f", {facts['failed']} failed" if facts["failed"] else ""
        value = best.get("value")
        table.add_row(
            Text(short(facts["study"], 24)),
            f"{facts['finished']} of {facts['trials']}{failed}",
            facts["state"],
            Text(best.get("title", "")),
            "" if value is None else f"{facts['metric']} {value:.3f}",
        )
    return table


def sealed_table(matrix: Int64, class_names: Sequence[str]) -> Table:
    """Recall of each class on the sealed test, as k of n, the rarest first."""
    table = plain_table()
    table.add_column("class")
    table.add_column("recall", justify="right")
    table.add_column("found", justify="right")
    recall, support = recall_of(matrix).recall, matrix.sum(axis=1)
    names = short_names(class_names, 40)
    for k in rarest(support):
        found = f"{matrix[k, k]} of {support[k]}"
        table.add_row(Text(names[k]), f"{recall[k]:.2f}", found)
    error = macro_recall_standard_error(matrix)
    table.add_row("macro recall", f"{recall.mean():.3f}", f"±{error:.3f}", style="bold")
    return table


def openings(n_times: int) -> str:
    """How often the sealed test has been opened, in words."""
    return f"opened {n_times} time{'s' if n_times > 1 else ''}" if n_times else "still sealed"


def plain_table() -> Table:
    """A table without lines, as all of them are."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
