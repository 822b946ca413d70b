"""How the best trials learned, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tuner.home.baselines import PLAIN as CROSS_ENTROPY
from tuner.home.records import Record
from tuner.report.figures.axes import (
    LABEL_PT,
    PANEL_PX,
    SMALL_PT,
    Margins,
    axes_with_room,
    quiet,
    text_style,
)
from tuner.report.figures.labels import short_labels
from tuner.report.figures.palette import INK, MUTED, PLAIN, WINNER

_BEST = 5  # trials
_EARLY = 3  # epochs


class Curve(NamedTuple):
    """One line: `title`, `values` per epoch, and whether it is the first or the baseline."""

    title: str
    values: list[float]
    is_first: bool
    is_baseline: bool


class CurveTable(NamedTuple):
    """One quantity over epochs.

    Attributes:
        quantity: What it is, in words.
        curves: The winner, the next trials, then plain cross-entropy.
    """

    quantity: str
    curves: list[Curve]


def curve_table(
    records: Sequence[Record], first: Record, key: str, *, quantity: str, row: int | None = None
) -> CurveTable:
    """Gather a curve of the winner, the next best trials and plain cross-entropy.

    Args:
        records: All records of the study.
        first: The winner.
        key: Name within `Record.curves`.
        quantity: What it is, in words.
        row: Class, for curves that have a value for each.
    """
    complete = [r for r in records if r.kind == "trial" and r.state == "complete"]
    others = sorted(complete, key=lambda r: (r.violation, -(r.value or 0.0)))
    plain = [r for r in records if r.name == CROSS_ENTROPY]
    chosen = [first, *[r for r in others if r.name != first.name][: _BEST - 1]]
    chosen += [r for r in plain if r.name != first.name]
    curves = []
    for record in chosen:
        values = record.curves.get(key) or []
        numbers = [float("nan") if v is None else v for v in values if row is None]
        numbers = [float(v[row]) for v in values] if row is not None else numbers
        is_baseline = record.name == CROSS_ENTROPY
        if numbers:
            curves.append(Curve(record.title, numbers, record.name == first.name, is_baseline))
    return CurveTable(quantity, curves)


def plot_curves(table: CurveTable, *, ax: Axes | None = None) -> Axes:
    """Draw a quantity over epochs: the winner strong, the next thin, cross-entropy dashed.

    Args:
        table: From `curve_table`.
        ax: Where to draw; by default axes in a new figure.

    Returns:
        The axes.
    """
    ax = axes_with_room(ax, PANEL_PX, 230, Margins(46, 34, 24, 38))
    quiet(ax, grid="y", keeps=("bottom",))
    for curve in reversed(table.curves):
        epochs = np.arange(1, len(curve.values) + 1)
        colour = PLAIN if curve.is_baseline and not curve.is_first else WINNER
        (line,) = ax.plot(
            epochs,
            curve.values,
            color=colour,
            linewidth=2.2 if curve.is_first else 1.4 if curve.is_baseline else 1.0,
            alpha=1 if curve.is_first or curve.is_baseline else 0.4,
        )
        if curve.is_baseline and not curve.is_first:
            line.set_dashes((4, 2))
        if curve.is_first:
            ax.plot(epochs[-1], curve.values[-1], "o", color=colour, markersize=4, clip_on=False)
            ax.annotate(
                curve.title if len(curve.title) < 6 else "",
                (epochs[-1], curve.values[-1]),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=SMALL_PT,
                color=INK,
            )
    ax.set_xlim(left=1 if any(len(c.values) > 1 for c in table.curves) else 0.5)
    late = [value for curve in table.curves for value in curve.values[_EARLY:]]
    if late:
        # The first epochs are far off; the room belongs to where curves differ.
        low, high = float(np.nanmin(late)), float(np.nanmax(late))
        pad = max(0.01, 0.08 * (high - low))
        ax.set_ylim(low - pad, high + pad)
    ax.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    ax.set_xlabel("epoch", fontsize=LABEL_PT, color=MUTED)
    (title,) = short_labels([table.quantity], longest=40)
    ax.set_title(title, loc="left", **text_style([title]))
    return ax
