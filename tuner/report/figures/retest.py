"""The retest on fresh seeds and splits: every value of every setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from tuner.home.confirmation import Tried
from tuner.report.figures.axes import (
    LABEL_PT,
    SMALL_PT,
    WIDE_PX,
    Margins,
    axes_with_room,
    names_px,
    quiet,
    text_style,
    write_names,
)
from tuner.report.figures.palette import MUTED, PAPER, PLAIN, WINNER

_LONGEST = 34  # characters of a setting's title


class SeedTable(NamedTuple):
    """Macro recall of each setting at each fresh seed, the best mean first.

    Attributes:
        titles: Of the settings.
        values: One list a setting, one value a seed.
        validation: What the search had said, or None.
        is_within: Whether a setting is within one standard error of the best.
        chosen: Place of the chosen setting, or None.
    """

    titles: list[str]
    values: list[list[float]]
    validation: list[float | None]
    is_within: list[bool]
    chosen: int | None


def seed_table(retest: Sequence[Tried], *, chosen: str) -> SeedTable:
    """From the retest of a confirmation and the chosen key."""
    keys = [row.key for row in retest]
    return SeedTable(
        [row.title for row in retest],
        [row.values for row in retest],
        [row.validation for row in retest],
        [row.is_within for row in retest],
        keys.index(chosen) if chosen in keys else None,
    )


def plot_seeds(table: SeedTable, *, ax: Axes | None = None) -> Axes:
    """Draw every value, the mean, and as a hollow mark what the search had said.

    Args:
        table: From `seed_table`.
        ax: Where to draw; by default axes in a new figure.

    Returns:
        The axes.
    """
    around = Margins(names_px(table.titles, longest=_LONGEST), 62, 18, 42)
    ax = axes_with_room(ax, WIDE_PX, 26 * len(table.titles) + 60, around)
    quiet(ax, grid="x", keeps=())
    ax.set_ylim(len(table.titles) - 0.5, -0.5)
    write_names(ax, "y", table.titles, longest=_LONGEST)
    for y, values in enumerate(table.values):
        colour = WINNER if table.is_within[y] else PLAIN
        spots: dict[str, Any] = {
            "color": colour,
            "alpha": 0.5,
            "markersize": 5,
            "markeredgewidth": 0,
        }
        ax.plot(values, [y] * len(values), "o", **spots)
        mean = float(np.mean(values)) if values else float("nan")
        ax.plot(mean, y, "|", color=colour, markersize=14, markeredgewidth=2.4)
        if (said := table.validation[y]) is not None:
            ax.plot(said, y, "D", markerfacecolor=PAPER, markeredgecolor=MUTED, markersize=4.5)
        style = text_style(["0"], colour=colour)
        style |= {"va": "center", "transform": ax.get_yaxis_transform()}
        style["fontweight"] = "bold" if y == table.chosen else "normal"
        ax.text(1.02, y, f"{mean:.3f}", **style)
    ax.set_xlabel("macro recall", fontsize=LABEL_PT, color=MUTED)
    ax.annotate(
        "mean",
        (1.02, 1),
        xycoords="axes fraction",
        xytext=(0, 5),
        textcoords="offset points",
        fontsize=SMALL_PT,
        color=MUTED,
    )
    return ax
