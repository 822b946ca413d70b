"""Recall of each class: the compared settings side by side, and what the winner gains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from tuner.arrays import Bool, Float64, Int64
from tuner.evaluation.intervals import wilson_interval
from tuner.report.figures.axes import (
    LABEL_PT,
    SMALL_PT,
    WIDE_PX,
    Margins,
    axes_with_room,
    legend_above,
    names_px,
    quiet,
    text_style,
    write_names,
)
from tuner.report.figures.palette import BALANCED, COMPARED, FAINT, INK, MUTED, PAPER, WINNER
from tuner.text import elided, minus, one_line, visible

_LONGEST = 24  # characters of a class name
_LONGEST_TITLE = 40  # characters of a setting's
_LONGEST_HEAD = 12  # characters above the counts
_ROW_PX = (30, 22)  # of a class, and where there are many
_MANY = 15


class RecallTable(NamedTuple):
    """Recall of every class under several settings, the rarest class first.

    Attributes:
        class_names: In the order of the rows.
        support: Images of each class, int64 (n_classes,).
        titles: Of the settings, the one in question first.
        found: Images found, int64 (n_settings, n_classes).
        low: Lower ends of Wilson's 95 % intervals, float64 (n_settings, n_classes).
        high: Upper ends, likewise.
    """

    class_names: list[str]
    support: Int64
    titles: list[str]
    found: Int64
    low: Float64
    high: Float64

    @property
    def recall(self) -> Float64:
        """Float64 of shape (n_settings, n_classes); 0 where there are no images."""
        return np.asarray(self.found / np.maximum(self.support, 1), dtype=np.float64)


class GainTable(NamedTuple):
    """Images of each class that one setting finds and another misses, the rarest class first.

    Attributes:
        class_names: In the order of the rows.
        support: Images of each class, int64 (n_classes,).
        gained: Found by the first alone, int64 (n_classes,); None without predictions.
        lost: Found by the second alone, int64 (n_classes,); None without predictions.
        net: Difference of the images found, int64 (n_classes,).
    """

    class_names: list[str]
    support: Int64
    gained: Int64 | None
    lost: Int64 | None
    net: Int64

    @property
    def gain(self) -> Float64:
        """Difference in recall, float64 (n_classes,); 0 where there are no images."""
        return np.asarray(self.net / np.maximum(self.support, 1), dtype=np.float64)

    @property
    def words(self) -> list[str]:
        """Images gained and lost in each row, ``+3 −1 of 16``."""
        if self.gained is None or self.lost is None:
            nets = zip(self.net, self.support, strict=True)
            return [minus(f"{net:+d} of {n}") for net, n in nets]
        rows = zip(self.gained, self.lost, self.support, strict=True)
        return [f"+{gained} −{lost} of {n}" for gained, lost, n in rows]


def recall_table(
    matrices: Sequence[ArrayLike], class_names: Sequence[str], *, titles: Sequence[str]
) -> RecallTable:
    """Recall with intervals from confusion matrices, rows true, over the same images.

    Args:
        matrices: Counts of shape (n_classes, n_classes), one for each setting.
        class_names: In class order.
        titles: Of the settings.
    """
    counts = np.array([np.asarray(matrix) for matrix in matrices], dtype=np.int64)
    support = counts[0].sum(axis=1)
    order = np.argsort(support, kind="stable")
    found = counts.diagonal(axis1=1, axis2=2)[:, order]
    low, high = wilson_interval(found, np.broadcast_to(support[order], found.shape))
    names = [class_names[k] for k in order]
    return RecallTable(names, support[order], list(titles), found, low, high)


def gain_table(
    matrix: ArrayLike,
    against: ArrayLike,
    class_names: Sequence[str],
    *,
    is_right: Bool | None = None,
    labels: Int64 | None = None,
) -> GainTable:
    """What one setting finds beyond another.

    Args:
        matrix: Counts of the setting in question, (n_classes, n_classes), rows true.
        against: Counts of the other.
        class_names: In class order.
        is_right: Whether each image is found by the one and by the other, bool (2, n_images).
        labels: Class of each image, int64 (n_images,).
    """
    ours, theirs = np.asarray(matrix, np.int64), np.asarray(against, np.int64)
    support = ours.sum(axis=1)
    order = np.argsort(support, kind="stable")
    gained = lost = None
    if is_right is not None and labels is not None:
        n = len(class_names)
        gained = np.bincount(labels[is_right[0] & ~is_right[1]], minlength=n)[order]
        lost = np.bincount(labels[is_right[1] & ~is_right[0]], minlength=n)[order]
    net = (ours.diagonal() - theirs.diagonal())[order]
    return GainTable([class_names[k] for k in order], support[order], gained, lost, net)


def plot_recall(table: RecallTable, *, ax: Axes | None = None) -> Axes:
    """Draw recall per class with Wilson intervals; "k of n" of the first setting is beside it.

    Args:
        table: From `recall_table`; at most four settings are drawn.
        ax: Where to draw; by default axes in a new figure.

    Returns:
        The axes.

    Example:
        >>> ax = plot_recall(recall_table([[[8, 2], [1, 3]]], ["a", "b"], titles=["#3"]))
        >>> [text.get_text() for text in ax.get_yticklabels()]
        ['b', 'a']
    """
    words = [f"{k} of {n}" for k, n in zip(table.found[0], table.support, strict=True)]
    ax = _rows(ax, table.class_names, words, top_px=34 if ax is None else 72)
    titles = [
        elided(visible(one_line(title)), longest=_LONGEST_TITLE)
        for title in table.titles[: len(COMPARED)]
    ]
    drawn = list(zip(COMPARED, titles, strict=False))
    offsets = np.linspace(-0.27, 0.27, len(drawn)) if len(drawn) > 1 else [0.0]
    for i, ((colour, marker), title) in enumerate(drawn):
        y = np.arange(len(table.class_names)) + offsets[i]
        ax.hlines(y, table.low[i], table.high[i], color=colour, linewidth=1.3, alpha=0.55)
        ax.plot(
            table.recall[i],
            y,
            linestyle="none",
            marker=marker,
            markersize=6 if i == 0 else 5.5 if marker == "^" else 4.5,
            color=colour,
            markeredgecolor=PAPER,
            markeredgewidth=0.7,
            label=title,
            clip_on=False,
        )
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    is_short = len(table.titles[0]) <= _LONGEST_HEAD
    _beside(ax, words, head=table.titles[0] if is_short else "found")
    legend_above(ax, titles)
    return ax


def plot_gain(table: GainTable, *, ax: Axes | None = None) -> Axes:
    """Draw the difference in recall per class; beside it the images gained and lost.

    Args:
        table: From `gain_table`.
        ax: Where to draw; by default axes in a new figure.

    Returns:
        The axes.
    """
    words, gain = table.words, table.gain
    ax = _rows(ax, table.class_names, words, top_px=24)
    y = np.arange(len(gain))
    ax.barh(y, gain, height=0.62, color=[WINNER if g >= 0 else BALANCED for g in gain])
    ax.axvline(0, color=MUTED, linewidth=0.8)
    reach = max(0.05, 1.1 * float(np.abs(gain).max(initial=0)))
    ax.set_xlim(-reach, reach)
    ax.xaxis.set_major_locator(MaxNLocator(5, symmetric=True))
    ax.xaxis.set_major_formatter(
        lambda value, _: minus(f"{value:+.2g}") if abs(value) > 1e-9 else "0"
    )
    _beside(ax, words, head="images")
    return ax


def _rows(
    ax: Axes | None, class_names: Sequence[str], words: Sequence[str], *, top_px: float
) -> Axes:
    """Axes with a row for each class, its name at the left and room for words at the right."""
    right = 14 + names_px(words, longest=_LONGEST)
    around = Margins(names_px(class_names, longest=_LONGEST), right, top_px, 26)
    row_px = _ROW_PX[len(class_names) > _MANY]
    ax = axes_with_room(ax, WIDE_PX, row_px * len(class_names) + top_px + 26, around)
    quiet(ax, grid="x", keeps=())
    ax.set_ylim(len(class_names) - 0.5, -0.5)
    write_names(ax, "y", class_names, longest=_LONGEST)
    for edge in np.arange(0.5, len(class_names) - 1):
        ax.axhline(edge, color=FAINT, linewidth=0.5)
    return ax


def _beside(ax: Axes, texts: Sequence[str], *, head: str) -> None:
    """A column of texts at the right, under a small heading."""
    style: dict[str, Any] = {"va": "center", "textcoords": "offset points"}
    style["xycoords"] = ax.get_yaxis_transform()
    for y, text in enumerate(texts):
        ax.annotate(text, (1, y), xytext=(9, 0), fontsize=LABEL_PT, color=INK, **style)
    style |= {"xycoords": "axes fraction", "va": "baseline"}
    head_style = text_style([head], size_pt=SMALL_PT, colour=MUTED)
    ax.annotate(head, (1, 1), xytext=(9, 6), **style, **head_style)
