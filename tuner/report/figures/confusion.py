"""The confusion matrix, from 2 to 200 classes, without pyplot and its global state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_rgba
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike

from tuner.arrays import Float64, Int64, UInt8
from tuner.evaluation.metrics import class_table
from tuner.report.figures.axes import Margins, axes_with_room, size_px_of, write_names
from tuner.report.figures.labels import (
    drawable,
    font_families,
    short_labels,
    width_em,
)
from tuner.report.figures.palette import FAINT, INK, MAP, MUTED, PAPER, TEXT_TURNS_AT
from tuner.report.figures.stamps import LINE, Texts, stamp
from tuner.text import elided, one_line, visible

_RATES_UP_TO = 15  # classes: above it counts only, …
_COUNTS_UP_TO = 30  # … and above this the colours and the margin alone
# One hue in rising opacity: safe for colour-blind readers, in print, on white and on dark.
_MAP = LinearSegmentedColormap.from_list("rate", [to_rgba(MAP, 0), to_rgba(MAP, 1)])
_NORM_POWER = 0.6  # a few per cent of a class are to be seen, too
_PAPER_FROM = TEXT_TURNS_AT ** (1 / _NORM_POWER)  # row rate
_RIGHT_IN = 1.5  # beside the matrix: recall and k of n
_LONGEST = 18  # characters of a class name


def plot_confusion_matrix(
    matrix: ArrayLike, class_names: Sequence[str], *, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw a confusion matrix: colour is the share of the true class, so rare classes show.

    Cells hold counts and row rates up to 15 classes, counts up to 30, nothing above, and less
    where the axes given are small; zeros off the diagonal stay empty. The margin says how many
    images of each class were found.

    Args:
        matrix: Counts of shape (n_classes, n_classes), rows true, columns predicted.
        class_names: In class order; any text.
        title: Above the figure.
        ax: Where to draw; by default axes in a new figure of a size that depends on the
            class names alone.

    Returns:
        The axes; their figure is `ax.figure`.

    Raises:
        ValueError: If the matrix is not square or does not fit the names.

    Example:
        >>> ax = plot_confusion_matrix([[8, 2], [1, 3]], ["common", "rare"])
        >>> [text.get_text() for text in ax.get_yticklabels()]
        ['common', 'rare']
    """
    counts = _checked(matrix, class_names)
    layout = _layout(class_names, most_in=_cell_in(ax, len(counts)))
    is_given = ax is not None
    ax = _axes(ax, layout, has_title=bool(title))
    if is_given:
        layout = _layout(class_names, most_in=_cell_in(ax, len(counts)))
        ax.set_aspect("equal")
    _draw(ax, counts, class_names, title, layout=layout, write=_write)
    return ax


def confusion_matrix_image(matrix: ArrayLike, class_names: Sequence[str], title: str) -> UInt8:
    """The confusion matrix as pixels, the same size for all matrices of a study.

    Args:
        matrix: Counts of shape (n_classes, n_classes), rows true, columns predicted.
        class_names: In class order; any text.
        title: Above the figure.

    Returns:
        uint8 of shape (height, width, 3).
    """
    counts, names = _checked(matrix, class_names), [drawable(name) for name in class_names]
    layout = _layout(names)
    ax = _axes(None, layout, has_title=True)
    _draw(ax, counts, names, drawable(title), layout=layout, write=stamp)
    ax.figure.patch.set(facecolor=PAPER, alpha=1)
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def _checked(matrix: ArrayLike, class_names: Sequence[str]) -> Int64:
    counts = np.asarray(matrix, dtype=np.int64)
    if counts.shape != (len(class_names), len(class_names)):
        raise ValueError(f"matrix of shape {counts.shape} for {len(class_names)} class names")
    return counts


def _draw(
    ax: Axes,
    counts: Int64,
    class_names: Sequence[str],
    title: str,
    *,
    layout: _Layout,
    write: Callable[[Axes, Texts], None],
) -> None:
    """Draw the matrix with all its texts, those of numbers with `write`: `_write` or `stamp`."""
    recall, support = class_table(counts).recall, counts.sum(axis=1)
    rates = counts / np.maximum(support, 1)[:, None]
    norm = PowerNorm(_NORM_POWER, vmin=0, vmax=1)
    edges = np.arange(len(counts) + 1) - 0.5
    ax.pcolormesh(edges, edges, rates, cmap=_MAP, norm=norm, antialiased=False, clip_on=False)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(edges[-1], edges[0])
    _write_labels(ax, class_names, layout)
    rows = range(0, len(counts), layout.every)
    margin = [f"{_percent(recall[k]):>4}   {counts[k, k]} of {support[k]}" for k in rows]
    cells = [_in_cells(ax, counts, rates, layout=layout)] if layout.count_pt else []
    for texts in [*cells, *_beside(ax, margin, rows=rows, size_pt=layout.label_pt)]:
        write(ax, texts)
    present = recall[support > 0]
    summary = f"macro recall {present.mean():.3f} · worst class {present.min():.3f}"
    _write_title(ax, title, summary)


@dataclass(frozen=True)
class _Layout:
    """What depends on the class names and the size alone.

    Attributes:
        n_classes: How many names.
        cell_in: Side of a cell, in inches.
        names_in: Room for the labels, in inches.
        label_pt: Font size of labels and margin.
        count_pt: Font size in the cells; 0 when they stay empty.
        has_rates: Whether cells hold row rates beside counts.
        is_steep: Whether labels below the matrix stand upright.
        every: Classes that share a label where there is no room for all.
    """

    n_classes: int
    cell_in: float
    names_in: float
    label_pt: float
    count_pt: float
    has_rates: bool
    is_steep: bool
    every: int


def _layout(class_names: Sequence[str], *, most_in: float = np.inf) -> _Layout:
    """The layout with cells of a side of `most_in` at most."""
    n = len(class_names)
    labels = short_labels(class_names, longest=_LONGEST)
    cell_in = 0.58 if n <= _RATES_UP_TO else 0.36 if n <= _COUNTS_UP_TO else 0.19
    cell_in = min(max(cell_in, 2.8 / n), 11 / n, most_in)
    label_pt = 9.0 if cell_in > 0.17 else 7.5
    widest_in = max(width_em(label) for label in labels) * label_pt / 72
    has_rates = n <= _RATES_UP_TO and cell_in >= 0.42
    has_counts = n <= _COUNTS_UP_TO and cell_in >= 0.26
    return _Layout(
        n_classes=n,
        cell_in=cell_in,
        names_in=widest_in + 0.2,
        label_pt=label_pt,
        count_pt=8.5 if has_rates else 6.5 if has_counts else 0.0,
        has_rates=has_rates,
        is_steep=widest_in > cell_in * 0.95,
        every=int(np.ceil(0.12 / cell_in)),
    )


def _cell_in(ax: Axes | None, n_classes: int) -> float:
    """Side of a square cell in axes, in inches."""
    return np.inf if ax is None else min(size_px_of(ax)) / 96 / n_classes


def _axes(ax: Axes | None, layout: _Layout, *, has_title: bool) -> Axes:
    side = layout.cell_in * layout.n_classes
    bottom = (layout.names_in if layout.is_steep else 0.25) + 0.3
    around = Margins(layout.names_in + 0.3, _RIGHT_IN, 0.65 if has_title else 0.35, bottom)
    return axes_with_room(
        ax,
        (around.left + side + around.right) * 96,
        (around.bottom + side + around.top) * 96,
        Margins(*(room * 96 for room in around)),
    )


def _write_labels(ax: Axes, class_names: Sequence[str], layout: _Layout) -> None:
    for axis in ("x", "y"):
        write_names(
            ax,
            axis,
            class_names,
            longest=_LONGEST,
            every=layout.every,
            size_pt=layout.label_pt,
            is_steep=layout.is_steep and axis == "x",
        )
    ax.tick_params(length=0)
    ax.set_xlabel("predicted", fontsize=layout.label_pt, color=MUTED)
    ax.set_ylabel("true", fontsize=layout.label_pt, color=MUTED)
    for spine in ax.spines.values():
        spine.set_edgecolor(FAINT)


def _in_cells(ax: Axes, counts: Int64, rates: Float64, *, layout: _Layout) -> Texts:
    shown = np.argwhere((counts > 0) | np.eye(len(counts), dtype=bool))
    texts = [f"{counts[i, j]}" for i, j in shown]
    if layout.has_rates:
        texts = [
            f"{text}\n{_percent(rates[i, j])}" for text, (i, j) in zip(texts, shown, strict=True)
        ]
    size_pt = layout.count_pt * min(1, 4 / len(str(counts.max())))
    colours = [PAPER if rates[i, j] >= _PAPER_FROM else INK for i, j in shown]
    return Texts(texts, shown[:, ::-1], size_pt, colours, True, ax.transData)


def _percent(rate: float) -> str:
    """A rate in whole per cent that says none or all only where it is so."""
    if 0 < rate < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= rate < 1 else f"{rate:.0%}"


def _beside(ax: Axes, texts: Sequence[str], *, rows: Sequence[int], size_pt: float) -> list[Texts]:
    """Texts to the right of the matrix, each at a row, under the word "recall"."""
    aside = ScaledTranslation(0.1, 0, ax.figure.dpi_scale_trans)
    above = aside + ScaledTranslation(0, 0.1, ax.figure.dpi_scale_trans)
    places, inks = [(1, row) for row in rows], [INK] * len(texts)
    return [
        Texts(texts, places, size_pt, inks, False, ax.get_yaxis_transform() + aside),
        Texts(["recall"], [(1, 1)], size_pt, [MUTED], False, ax.transAxes + above),
    ]


def _write(ax: Axes, texts: Texts) -> None:
    """What `stamp` does, in artists that stay text in a page and in a user's figure."""
    for (x, y), text, colour in zip(np.asarray(texts.at), texts.texts, texts.colours, strict=True):
        ax.text(
            x,
            y,
            text,
            color=colour,
            fontsize=texts.size_pt,
            linespacing=LINE,
            ha="center" if texts.is_centred else "left",
            va="center" if "\n" in text else "center_baseline",
            transform=texts.transform,
            parse_math=False,
        )


def _write_title(ax: Axes, title: str, summary: str) -> None:
    """The title over one line of summary, from the left edge of the matrix."""
    figure = ax.get_figure(root=True)
    room_in = (1 - ax.get_position().x0) * (figure.get_figwidth() if figure else 6)
    text = elided(visible(one_line(title)), longest=max(8, int(room_in / 0.105)))
    if width_em(summary) * 9 / 72 > size_px_of(ax)[0] / 96:
        summary = ""  # it would run into "recall"
    lines = [(summary, 4, 9, "normal", MUTED), (text, 18, 11, "bold", INK)]
    for line, height_pt, size_pt, weight, colour in lines:
        ax.annotate(
            line,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, height_pt),
            textcoords="offset points",
            fontsize=size_pt,
            fontweight=weight,
            family=font_families([line]),
            color=colour,
            parse_math=False,
        )
