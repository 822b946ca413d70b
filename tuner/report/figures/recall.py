"""Recall of each class: the compared settings side by side, and what the winner gains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory
from numpy.typing import ArrayLike, NDArray

from tuner.evaluation.intervals import wilson_interval
from tuner.report.figures.axes import (
    LABEL_PT,
    SMALL_PT,
    WIDE_PX,
    Margins,
    names_px,
    new_axes,
    quiet,
    text_style,
    write_names,
)
from tuner.report.figures.labels import drawable, elided
from tuner.report.figures.palette import BALANCED, COMPARED, FAINT, INK, MUTED, PAPER, WINNER

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_TIGHT_PX = 600
_LONGEST, _LONGEST_TIGHT = 24, 12  # characters of a class name
_LONGEST_HEAD = 12  # characters above the counts
_HEAD_PX = 24  # above a figure without a legend
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
    support: IntArray
    titles: list[str]
    found: IntArray
    low: FloatArray
    high: FloatArray

    @property
    def recall(self) -> FloatArray:
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
    support: IntArray
    gained: IntArray | None
    lost: IntArray | None
    net: IntArray


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
    is_right: NDArray[np.bool_] | None = None,
    labels: IntArray | None = None,
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


def plot_recall(table: RecallTable, *, room_px: float = WIDE_PX, ax: Axes | None = None) -> Axes:
    """Draw recall per class with Wilson intervals; "k of n" of the first setting is beside it.

    Args:
        table: From `recall_table`; at most four settings are drawn.
        room_px: Width of a new figure, in pixels.
        ax: Where to draw; by default axes in a new figure.

    Returns:
        The axes.

    Example:
        >>> ax = plot_recall(recall_table([[[8, 2], [1, 3]]], ["a", "b"], titles=["#3"]))
        >>> [text.get_text() for text in ax.get_yticklabels()]
        ['b', 'a']
    """
    words = [f"{k} of {n}" for k, n in zip(table.found[0], table.support, strict=True)]
    ax = _rows(table.class_names, words, room_px, top=34) if ax is None else ax
    _frame(ax, table.class_names, room_px)
    is_tight = room_px < _TIGHT_PX
    drawn = list(zip(COMPARED, table.titles, strict=False))
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
            label=drawable(elided(title, longest=18 if is_tight else 40)),
            clip_on=False,
        )
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    is_short = len(table.titles[0]) <= _LONGEST_HEAD
    _beside(ax, words, head=table.titles[0] if is_short else "found")
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        # On a phone the whole width is needed, from the figure's edge.
        bbox_transform=blended_transform_factory(
            ax.figure.transSubfigure if is_tight else ax.transAxes, ax.transAxes
        ),
        ncols=2 if is_tight else 4,
        frameon=False,
        borderaxespad=2.4 if is_tight else 0.4,
        handletextpad=0.1,
        columnspacing=1.2,
        labelcolor=INK,
        fontsize=SMALL_PT if is_tight else LABEL_PT,
    )
    return ax


def plot_gain(table: GainTable, *, room_px: float = WIDE_PX, ax: Axes | None = None) -> Axes:
    """Draw the difference in recall per class; beside it the images gained and lost.

    Args:
        table: From `gain_table`.
        room_px: Width of a new figure, in pixels.
        ax: Where to draw; by default axes in a new figure.

    Returns:
        The axes.
    """
    words = gain_words(table)
    ax = _rows(table.class_names, words, room_px, top=24) if ax is None else ax
    _frame(ax, table.class_names, room_px)
    gain = table.net / np.maximum(table.support, 1)
    y = np.arange(len(gain))
    ax.barh(y, gain, height=0.62, color=[WINNER if g >= 0 else BALANCED for g in gain])
    ax.axvline(0, color=MUTED, linewidth=0.8)
    reach = max(0.05, 1.1 * float(np.abs(gain).max(initial=0)))
    ax.set_xlim(-reach, reach)
    ax.xaxis.set_major_locator(MaxNLocator(5, symmetric=True))
    ax.xaxis.set_major_formatter(
        lambda value, _: f"{value:+.2g}".replace("-", "−") if abs(value) > 1e-9 else "0"
    )
    _beside(ax, words, head="images")
    return ax


def gain_words(table: GainTable) -> list[str]:
    """Images gained and lost in each row, ``+3 −1 of 16``."""
    if table.gained is None or table.lost is None:
        return [
            f"{net:+d} of {n}".replace("-", "−")
            for net, n in zip(table.net, table.support, strict=True)
        ]
    rows = zip(table.gained, table.lost, table.support, strict=True)
    return [f"+{gained} −{lost} of {n}" for gained, lost, n in rows]


def _rows(class_names: Sequence[str], words: Sequence[str], room_px: float, *, top: float) -> Axes:
    """Axes with a row for each class and room for words at its right."""
    right = 14 + names_px(words, longest=_LONGEST)
    is_tight = room_px < _TIGHT_PX
    row_px = _ROW_PX[len(class_names) > _MANY]
    left = names_px(class_names, longest=_LONGEST_TIGHT if is_tight else _LONGEST)
    top = top + 26 if is_tight and top > _HEAD_PX else top
    return new_axes(room_px, row_px * len(class_names) + top + 26, Margins(left, right, top, 26))


def _frame(ax: Axes, class_names: Sequence[str], room_px: float) -> None:
    quiet(ax, grid="x", keeps=())
    ax.set_ylim(len(class_names) - 0.5, -0.5)
    longest = _LONGEST_TIGHT if room_px < _TIGHT_PX else _LONGEST
    write_names(ax, "y", class_names, longest=longest)
    for edge in np.arange(0.5, len(class_names) - 1):
        ax.axhline(edge, color=FAINT, linewidth=0.5)


def _beside(ax: Axes, texts: Sequence[str], *, head: str) -> None:
    """A column of texts at the right, under a small heading."""
    style: dict[str, Any] = {"va": "center", "textcoords": "offset points"}
    style["xycoords"] = ax.get_yaxis_transform()
    for y, text in enumerate(texts):
        ax.annotate(text, (1, y), xytext=(9, 0), fontsize=LABEL_PT, color=INK, **style)
    style |= {"xycoords": "axes fraction", "va": "baseline"}
    head_style = text_style([head], size_pt=SMALL_PT, colour=MUTED)
    ax.annotate(head, (1, 1), xytext=(9, 6), **style, **head_style)
