"""Every class in every setting: recall as colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba

from tuner.arrays import Float64
from tuner.home.records import Record
from tuner.report.figures.axes import (
    SMALL_PT,
    WIDE_PX,
    Margins,
    axes_with_room,
    names_px,
    quiet,
    size_px_of,
    write_names,
)
from tuner.report.figures.labels import width_em
from tuner.report.figures.palette import FAINT, INK, MAP, MUTED, PAPER, TEXT_TURNS_AT

_MAP = LinearSegmentedColormap.from_list("recall", [to_rgba(MAP, 0.03), to_rgba(MAP, 1)])
_LONGEST = 24  # characters of a class name
_CELL_TEXT_PX = 26  # of a cell that has room for a number
_CELL_PX = 64  # at most
_TICK_PX = 30  # for a trial's number
_GAP = 0.6  # between blocks, in cells
_BLOCKS = ("baselines", "trials, best first", "pruned")
_SHORTER = {"baselines": "base", "trials, best first": "trials"}


class HeatMapTable(NamedTuple):
    """Recall of every class in every setting: baselines, then trials, the best first.

    Attributes:
        class_names: Rows, the rarest class first.
        titles: Columns.
        recall: Float64 of shape (n_classes, n_settings).
        blocks: Name and number of columns of each block, from the left.
        lowest: Recall that is palest.
    """

    class_names: list[str]
    titles: list[str]
    recall: Float64
    blocks: list[tuple[str, int]]
    lowest: float


def heat_map_table(records: Sequence[Record], class_names: Sequence[str]) -> HeatMapTable:
    """Gather the recalls of all records that have a confusion matrix; there must be one."""
    shown = [r for r in records if r.matrix and r.kind != "confirm"]
    trials = sorted((r for r in shown if r.kind == "trial"), key=lambda r: -(r.value or 0.0))
    members = (
        [r for r in shown if r.kind == "baseline"],
        [r for r in trials if r.state == "complete"],
        [r for r in trials if r.state != "complete"],
    )
    columns = [record for block in members for record in block]
    order = np.argsort(np.sum(columns[0].matrix, axis=1), kind="stable")
    recall = np.array([r.recall for r in columns]).T[order]
    return HeatMapTable(
        [class_names[k] for k in order],
        [record.title for record in columns],
        recall,
        [(name, len(block)) for name, block in zip(_BLOCKS, members, strict=True) if block],
        float(min(np.floor(10 * recall.min()) / 10, 0.9)),
    )


def plot_heat_map(table: HeatMapTable, *, ax: Axes | None = None) -> Axes:
    """Draw recall as colour, a row for each class and a column for each setting.

    Args:
        table: From `heat_map_table`.
        ax: Where to draw; by default axes in a new figure.

    Returns:
        The axes.
    """
    n_classes = len(table.class_names)
    ax = _axes(ax, table)
    quiet(ax, keeps=("bottom",))
    places = _places(table.blocks)
    ax.set_xlim(-0.5, places[-1] + 0.5)
    ax.set_ylim(n_classes - 0.5, -0.5)
    write_names(ax, "y", table.class_names, longest=_LONGEST)
    cell_px = size_px_of(ax)[0] / (places[-1] + 1)
    shade = (table.recall - table.lowest) / (1 - table.lowest)
    rows, first = np.arange(n_classes + 1) - 0.5, 0
    for name, n in table.blocks:
        left = places[first] - 0.5
        block = shade[:, first : first + n]
        style: dict[str, Any] = {
            "cmap": _MAP,
            "vmin": 0,
            "vmax": 1,
            "antialiased": False,
            "clip_on": False,
        }
        ax.pcolormesh(left + np.arange(n + 1), rows, block, **style)
        _write_above(ax, name, left, room_em=n * cell_px / (SMALL_PT * 96 / 72))
        first += n
    _name_columns(ax, table, places, cell_px)
    if cell_px >= _CELL_TEXT_PX:
        _write_cells(ax, table, places, shade)
    return ax


def _axes(ax: Axes | None, table: HeatMapTable) -> Axes:
    n_classes, n_columns = table.recall.shape
    left = names_px(table.class_names, longest=_LONGEST)
    width = left + 10 + _CELL_PX * (n_columns + _GAP * len(table.blocks))
    row_px = 24 if n_classes <= 20 else 16
    around = Margins(left, 10, 26, 26)
    return axes_with_room(ax, min(WIDE_PX, width), row_px * n_classes + 52, around)


def _places(blocks: Sequence[tuple[str, int]]) -> list[float]:
    """Centre of each column, with gaps between blocks."""
    places: list[float] = []
    for i, (_, n) in enumerate(blocks):
        first = len(places) + i * _GAP
        places += [first + k for k in range(n)]
    return places


def _write_above(ax: Axes, name: str, x: float, *, room_em: float) -> None:
    """The block's name, shorter or not at all where it would run into the next."""
    fitting = (t for t in (name, _SHORTER.get(name, "")) if width_em(t) < room_em + 0.5)
    ax.annotate(
        next(fitting, ""),
        (x, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 5),
        textcoords="offset points",
        fontsize=SMALL_PT,
        color=MUTED,
    )


def _write_cells(ax: Axes, table: HeatMapTable, places: Sequence[float], shade: Float64) -> None:
    style: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": SMALL_PT}
    for (i, j), rate in np.ndenumerate(table.recall):
        colour = PAPER if shade[i, j] >= TEXT_TURNS_AT else INK
        ax.text(places[j], i, f"{rate:.2f}".removeprefix("0"), color=colour, **style)


def _name_columns(ax: Axes, table: HeatMapTable, places: Sequence[float], cell_px: float) -> None:
    """Numbers of trials below, as many as have room; baselines are named in a caption."""
    every = max(1, int(np.ceil(_TICK_PX / cell_px)))
    shown: list[int] = []
    first = 0
    for name, n in table.blocks:
        shown += [] if name == "baselines" else range(first, first + n, every)
        first += n
    ax.set_xticks([places[j] for j in shown], [table.titles[j] for j in shown])
    ax.tick_params(axis="x", labelsize=SMALL_PT, labelcolor=MUTED)
    ax.spines["bottom"].set_edgecolor(FAINT)
