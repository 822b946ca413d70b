"""Figures of a study, each from a small table, without pyplot and its global state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike, NDArray

from tuner.evaluation.metrics import class_table
from tuner.report.labels import drawable, elided, font_families, short_labels, width_em
from tuner.report.stamps import stamp

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_RATES_UP_TO = 15  # classes: above it counts only, …
_COUNTS_UP_TO = 30  # … and above this the colours and the margin alone
_MAP = "Blues"  # one hue, even in lightness: safe for colour-blind readers and in print
_NORM_POWER = 0.6  # a few per cent of a class are to be seen, too
_WHITE_FROM = 0.38  # row rate from which white text is easier to read than black
_DPI = 100
_GRAY = "0.35"


def plot_confusion_matrix(
    matrix: ArrayLike,
    class_names: Sequence[str],
    *,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw a confusion matrix: colour is the share of the true class, so rare classes show.

    Cells hold counts and row rates up to 15 classes, counts up to 30, nothing above; zeros
    off the diagonal stay empty. The margin says how many images of each class were found.

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
    counts = np.asarray(matrix, dtype=np.int64)
    if counts.shape != (len(class_names), len(class_names)):
        raise ValueError(f"matrix of shape {counts.shape} for {len(class_names)} class names")
    layout = _layout(class_names)
    ax = _new_axes(layout) if ax is None else ax
    recall, support = class_table(counts).recall, counts.sum(axis=1)
    rates = counts / np.maximum(support, 1)[:, None]
    norm = PowerNorm(_NORM_POWER, vmin=0, vmax=1)
    edges = np.arange(len(counts) + 1) - 0.5
    ax.pcolormesh(edges, edges, rates, cmap=_MAP, norm=norm, antialiased=False)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(edges[-1], edges[0])
    _write_labels(ax, layout)
    _write_cells(ax, counts, rates, layout=layout)
    shown = range(0, len(counts), layout.every)
    margin = [f"{recall[k]:4.0%}   {counts[k, k]} of {support[k]}" for k in shown]
    _write_margin(ax, margin, rows=list(shown), layout=layout)
    _write_title(ax, title, f"macro recall {recall.mean():.3f} · worst class {recall.min():.3f}")
    return ax


def confusion_matrix_image(
    matrix: ArrayLike, class_names: Sequence[str], title: str
) -> NDArray[np.uint8]:
    """The confusion matrix as pixels, the same size for all matrices of a study.

    Args:
        matrix: Counts of shape (n_classes, n_classes), rows true, columns predicted.
        class_names: In class order; any text.
        title: Above the figure.

    Returns:
        uint8 of shape (height, width, 3).
    """
    figure = plot_confusion_matrix(matrix, class_names, title=title).figure
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


@dataclass(frozen=True)
class _Layout:
    """What depends on the class names alone.

    Attributes:
        labels: Short, distinct, drawable names.
        cell_in: Side of a cell, in inches.
        names_in: Room for the labels, in inches.
        label_pt: Font size of labels and margin.
        count_pt: Font size in the cells; 0 when they stay empty.
        has_rates: Whether cells hold row rates beside counts.
        is_steep: Whether labels below the matrix stand upright.
        every: Classes that share a label where there is no room for all.
    """

    labels: list[str]
    cell_in: float
    names_in: float
    label_pt: float
    count_pt: float
    has_rates: bool
    is_steep: bool
    every: int


def _layout(class_names: Sequence[str]) -> _Layout:
    n = len(class_names)
    labels = short_labels(class_names, longest=18)
    has_rates = n <= _RATES_UP_TO
    cell_in = max(0.58, 2.8 / n) if has_rates else 0.36 if n <= _COUNTS_UP_TO else 0.19
    cell_in = min(cell_in, 11 / n)
    label_pt = 9.0 if cell_in > 0.17 else 7.5
    widest_in = max(width_em(label) for label in labels) * label_pt / 72
    return _Layout(
        labels=labels,
        cell_in=cell_in,
        names_in=widest_in + 0.2,
        label_pt=label_pt,
        count_pt=8.5 if has_rates else 6.5 if n <= _COUNTS_UP_TO else 0.0,
        has_rates=has_rates,
        is_steep=widest_in > cell_in * 0.95,
        every=int(np.ceil(0.12 / cell_in)),
    )


def _new_axes(layout: _Layout) -> Axes:
    side = layout.cell_in * len(layout.labels)
    left, right, top = layout.names_in + 0.3, 1.5, 0.65
    bottom = (layout.names_in if layout.is_steep else 0.25) + 0.3
    width, height = left + side + right, bottom + side + top
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    return figure.add_axes((left / width, bottom / height, side / width, side / height))


def _write_labels(ax: Axes, layout: _Layout) -> None:
    places = np.arange(0, len(layout.labels), layout.every)
    labels = [layout.labels[k] for k in places]
    style: dict[str, Any] = {
        "fontsize": layout.label_pt,
        "family": font_families(labels),
        "parse_math": False,  # names may hold dollars
    }
    ax.set_xticks(places, labels, rotation=90 if layout.is_steep else 0, **style)
    ax.set_yticks(places, labels, **style)
    ax.tick_params(length=0)
    ax.set_xlabel("predicted", fontsize=layout.label_pt, color=_GRAY)
    ax.set_ylabel("true", fontsize=layout.label_pt, color=_GRAY)
    for spine in ax.spines.values():
        spine.set_edgecolor("0.7")


def _write_cells(ax: Axes, counts: IntArray, rates: FloatArray, *, layout: _Layout) -> None:
    if not layout.count_pt:
        return
    shown = np.argwhere((counts > 0) | np.eye(len(counts), dtype=bool))
    texts = [f"{counts[i, j]}" for i, j in shown]
    if layout.has_rates:
        texts = [f"{text}\n{rates[i, j]:.0%}" for text, (i, j) in zip(texts, shown, strict=True)]
    longest = len(str(counts.max()))
    stamp(
        ax,
        texts,
        at=shown[:, ::-1],
        size_pt=layout.count_pt * min(1, 4 / longest),
        colours=["white" if rates[i, j] >= _WHITE_FROM else "black" for i, j in shown],
    )


def _write_margin(
    ax: Axes, texts: Sequence[str], *, rows: Sequence[float], layout: _Layout
) -> None:
    """Texts to the right of the matrix, each at a row, under the word "recall"."""
    aside = ScaledTranslation(0.1, 0, ax.figure.dpi_scale_trans)
    style: dict[str, Any] = {"size_pt": layout.label_pt, "is_centred": False}
    stamp(
        ax,
        texts,
        at=[(1, row) for row in rows],
        colours=["black"] * len(texts),
        offset_transform=ax.get_yaxis_transform() + aside,
        **style,
    )
    above = aside + ScaledTranslation(0, 0.1, ax.figure.dpi_scale_trans)
    stamp(
        ax,
        ["recall"],
        at=[(1, 1)],
        colours=[_GRAY],
        offset_transform=ax.transAxes + above,
        **style,
    )


def _write_title(ax: Axes, title: str, summary: str) -> None:
    """The title over one line of summary, from the left edge of the matrix."""
    figure = ax.get_figure(root=True)
    room_in = (1 - ax.get_position().x0) * (figure.get_figwidth() if figure else 6)
    text = elided(drawable(title), longest=max(8, int(room_in / 0.105)))
    lines = [(summary, 4, 9, "normal", _GRAY), (text, 18, 11, "bold", "black")]
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
