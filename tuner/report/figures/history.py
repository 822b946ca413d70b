"""How the search went: the objective of every trial, the best so far, the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tuner.arrays import Bool, Float64, Int64
from tuner.home.records import Record
from tuner.report.figures.axes import (
    LABEL_PT,
    SMALL_PT,
    WIDE_PX,
    Margins,
    axes_with_room,
    legend_above,
    mark_below,
    quiet,
    size_px_of,
)
from tuner.report.figures.labels import short_title
from tuner.report.figures.palette import BALANCED, COMPARED, MUTED, PAPER, WINNER

_DASHES = ((5, 2), (5, 2, 1, 2), (1.5, 1.5))
_LINE_PT = 11.0  # distance of labels


class HistoryTable(NamedTuple):
    """Objective over trials in the order of their numbers.

    Attributes:
        metric: Name of the objective.
        numbers: Of the trials with a value, int64 (n_trials,).
        values: Their objectives, float64 (n_trials,).
        is_complete: False for pruned ones, bool (n_trials,).
        best: Best complete and feasible value up to each trial, float64 (n_trials,); nan before.
        failed: Numbers of the failed trials.
        baselines: Value of each baseline by title.
    """

    metric: str
    numbers: Int64
    values: Float64
    is_complete: Bool
    best: Float64
    failed: list[int]
    baselines: dict[str, float]


def history_table(records: Sequence[Record], *, metric: str) -> HistoryTable:
    """Gather the objective of every trial.

    Args:
        records: All records of the study.
        metric: Name of the objective.
    """
    trials = sorted((r for r in records if r.kind == "trial"), key=lambda r: r.number or 0)
    shown = [r for r in trials if r.value is not None and r.state != "failed"]
    best, so_far = [], float("nan")
    for record in shown:
        if record.state == "complete" and record.is_feasible:
            so_far = float(np.fmax(so_far, record.value or 0.0))
        best.append(so_far)
    baselines = [r for r in records if r.kind == "baseline" and r.value is not None]
    return HistoryTable(
        metric,
        np.array([r.number or 0 for r in shown], dtype=np.int64),
        np.array([r.value for r in shown], dtype=np.float64),
        np.array([r.state == "complete" for r in shown], dtype=bool),
        np.array(best, dtype=np.float64),
        [r.number or 0 for r in trials if r.state == "failed"],
        {short_title(r): r.value or 0.0 for r in baselines},
    )


def plot_history(table: HistoryTable, *, ax: Axes | None = None) -> Axes:
    """Draw the objective of every trial, the best so far, and the baselines as lines.

    Args:
        table: From `history_table`.
        ax: Where to draw, with a legend; by default axes in a new figure, which names the
            baselines at its right.

    Returns:
        The axes.
    """
    has_legend = ax is not None
    around = Margins(50, 12, 60, 40) if has_legend else Margins(50, 176, 12, 40)
    ax = axes_with_room(ax, WIDE_PX, 302, around)
    quiet(ax, grid="y", keeps=("bottom",))
    ax.step(table.numbers, table.best, where="post", color=WINNER, linewidth=1.4)
    filled: dict[str, Any] = {
        "color": WINNER,
        "markeredgecolor": PAPER,
        "markeredgewidth": 0.7,
        "markersize": 5,
    }
    hollow: dict[str, Any] = {
        "markerfacecolor": "none",
        "markeredgecolor": MUTED,
        "markersize": 4.5,
    }
    for is_shown, style in ((table.is_complete, filled), (~table.is_complete, hollow)):
        ax.plot(table.numbers[is_shown], table.values[is_shown], "o", **style)
    crosses: dict[str, Any] = {"color": BALANCED, "markersize": 6, "markeredgewidth": 1.4}
    crosses |= {"transform": ax.get_xaxis_transform(), "clip_on": False}
    ax.plot(table.failed, [0.03] * len(table.failed), "x", **crosses)
    _limit(ax, table)
    _draw_levels(ax, table.baselines, has_legend=has_legend)
    ax.set_xlabel("trial", fontsize=LABEL_PT, color=MUTED)
    ax.set_ylabel(table.metric.replace("_", " "), fontsize=LABEL_PT, color=MUTED)
    return ax


def _limit(ax: Axes, table: HistoryTable) -> None:
    numbers = [*table.numbers, *table.failed] or [0]
    ax.set_xlim(min(numbers) - 0.7, max(numbers) + 0.7)
    ax.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    # Early pruned trials lie far below; the room belongs to those that competed.
    competed = [*table.values[table.is_complete], *table.baselines.values()]
    values = competed or list(table.values) or [0.0, 1.0]
    low, high = min(values), max(values)
    pad = max(0.02, 0.25 * (high - low))
    lowest = max(low - 3 * pad, min([low, *table.values]) - pad / 2)
    ax.set_ylim(max(0.0, lowest), min(1.02, high + pad))
    mark_below(ax, table.numbers, table.values)


def _draw_levels(ax: Axes, levels: Mapping[str, float], *, has_legend: bool) -> None:
    """Baselines as lines, named at the right end or in a legend."""
    titles = [f"{title} {value:.3f}" for title, value in levels.items()]
    shifts = _apart(ax, list(levels.values()))
    for i, (text, value) in enumerate(zip(titles, levels.values(), strict=True)):
        colour = COMPARED[1 + i % 3][0]
        ax.axhline(value, color=colour, linewidth=1.2, dashes=_DASHES[i % 3], label=text)
        if not has_legend:
            at: Any = ("axes fraction", "data")
            style: dict[str, Any] = {"textcoords": "offset points", "va": "center"}
            style |= {"color": colour, "fontsize": SMALL_PT}
            ax.annotate(text, (1, value), xycoords=at, xytext=(8, shifts[i]), **style)
    if has_legend and levels:
        legend_above(ax, titles, size_pt=SMALL_PT, gap=0.5)


def _apart(ax: Axes, values: Sequence[float]) -> list[float]:
    """Shifts in points that keep the labels of near values from lying on each other."""
    height_pt = size_px_of(ax)[1] * 72 / 96
    low, high = ax.get_ylim()
    heights = [(value - low) / (high - low) * height_pt for value in values]
    shifts, lowest = [0.0] * len(values), -np.inf
    for i in np.argsort(heights, kind="stable"):
        place = max(heights[i], lowest + _LINE_PT)
        shifts[i], lowest = place - heights[i], place
    return shifts
