"""The report's figures: each a table, drawn, with its numbers in words for who cannot see it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from tuner.home.confirmation import Confirmation
from tuner.home.records import Record
from tuner.report.figures.confusion import plot_confusion_matrix
from tuner.report.figures.curves import curve_table, plot_curves
from tuner.report.figures.heat_map import heat_map_table, plot_heat_map
from tuner.report.figures.history import history_table, plot_history
from tuner.report.figures.hyperparameters import (
    SYMBOLS,
    bound_words,
    hyperparameter_table,
    plot_hyperparameter,
)
from tuner.report.figures.labels import short_title
from tuner.report.figures.recall import (
    gain_table,
    plot_gain,
    plot_recall,
    recall_table,
)
from tuner.report.figures.retest import plot_seeds, seed_table
from tuner.report.page.contents import Contents
from tuner.report.page.svg import inline_svg

_CLASSES_SAID = 12  # in a figure's alternative text; all are in the table beside it
_CONFUSIONS = 8
_MODELS = 4  # of the sealed test


class Pen:
    """Writes figures as SVG whose identifiers differ within one page."""

    def __init__(self) -> None:
        self._numbers = count()

    def svg(self, ax: Axes, alt: str) -> Markup:
        """The figure of axes, with what it says for who cannot see it."""
        figure = ax.get_figure(root=True)
        if figure is None:
            raise ValueError("the axes belong to no figure")
        return inline_svg(figure, key=f"f{next(self._numbers)}", alt=alt)


class Drawn(NamedTuple):
    """A table and its figure."""

    table: Any
    svg: Markup


def search_recall(contents: Contents, pen: Pen) -> Drawn:
    """Recall of winner and baselines on the validation folds."""
    records = contents.compared
    return _recall(contents, [r.matrix for r in records], [short_title(r) for r in records], pen)


def sealed_recall(contents: Contents, pen: Pen) -> Drawn:
    """Recall of the models on the sealed test."""
    models = contents.tested[:_MODELS]
    return _recall(contents, [m.matrix for m in models], [m.title for m in models], pen)


def _recall(
    contents: Contents, matrices: Sequence[list[list[int]]], titles: Sequence[str], pen: Pen
) -> Drawn:
    table = recall_table(matrices, contents.class_names, titles=titles)
    said = (
        f"{name}: "
        + ", ".join(
            f"{title} {table.found[i, k]} of {table.support[k]}"
            for i, title in enumerate(table.titles)
        )
        for k, name in enumerate(table.class_names)
    )
    alt = f"Recall per class of {', '.join(table.titles)}. {_listed(said)}"
    return Drawn(table, pen.svg(plot_recall(table), alt))


def _listed(said: Iterable[str]) -> str:
    """What there is to say of each class, as far as one listens to."""
    parts = list(said)
    rest = len(parts) - _CLASSES_SAID
    listed = "; ".join(parts[:_CLASSES_SAID])
    return f"{listed}; and {rest} more in the table below." if rest > 0 else f"{listed}."


def gain_figure(contents: Contents, pen: Pen) -> Drawn | None:
    """What the winner gains over plain cross-entropy, class by class."""
    best, plain = contents.best, contents.plain
    if best is None or plain is None or best is plain:
        return None
    labels = contents.folder.images.labels[contents.folder.images.search]
    is_right = None
    if contents.predictions is not None:
        is_right = np.stack([p.argmax(axis=1) == labels for p in contents.predictions])
    table = gain_table(
        best.matrix, plain.matrix, contents.class_names, is_right=is_right, labels=labels
    )
    pairs = zip(table.class_names, table.words, strict=True)
    said = _listed(f"{name}: {words}" for name, words in pairs)
    return Drawn(
        table, pen.svg(plot_gain(table), f"Gain of {best.title} over cross-entropy. {said}")
    )


class Mistaken(NamedTuple):
    """Images of one class that are taken for another: `n` of `support`."""

    true: int
    predicted: int
    n: int
    support: int


class Confusion(NamedTuple):
    """A record's confusion matrix, and its most frequent confusions."""

    record: Record
    mistaken: list[Mistaken]
    svg: Markup


def confusion_figure(contents: Contents, record: Record, pen: Pen) -> Confusion:
    """A confusion matrix with its most frequent confusions."""
    names, counts = contents.class_names, np.array(record.matrix)
    mistaken = _mistaken(counts)
    found = "; ".join(
        f"{names[k]} {counts[k, k]} of {counts[k].sum()}" for k in contents.rarest[:_CLASSES_SAID]
    )
    taken = "; ".join(f"{names[m.true]} for {names[m.predicted]} {m.n}" for m in mistaken)
    alt = f"Confusion matrix of {record.title}. Found: {found}. Most often taken: {taken or '-'}."
    return Confusion(record, mistaken, pen.svg(plot_confusion_matrix(counts, names), alt))


def _mistaken(counts: Any) -> list[Mistaken]:
    """The most frequent confusions, as shares of the true class."""
    support = counts.sum(axis=1)
    off = counts - np.diag(counts.diagonal())
    share = off / np.maximum(support, 1)[:, None]
    order = np.argsort(-share, axis=None, kind="stable")[:_CONFUSIONS]
    pairs = [(int(i // len(off)), int(i % len(off))) for i in order]
    return [Mistaken(i, j, int(off[i, j]), int(support[i])) for i, j in pairs if off[i, j]]


class History(NamedTuple):
    """The search in order, and how its trials ended in words."""

    table: Any
    facts: str
    svg: Markup


def history_figure(contents: Contents, pen: Pen) -> History:
    """The objective of every trial in order."""
    table = history_table(contents.records, metric=contents.folder.config.objective.metric)
    n_pruned = int((~table.is_complete).sum())
    n_trials = len(table.numbers) + len(table.failed)
    ended = f"{n_trials} trials, {n_pruned} pruned, {len(table.failed)} failed"
    facts = [ended]
    if contents.best is not None and contents.best.value is not None:
        facts.append(f"best {contents.best.title} with {contents.best.value:.3f}")
    facts += [f"{title} {value:.3f}" for title, value in table.baselines.items()]
    alt = "Objective over trials: " + "; ".join(facts) + "."
    return History(table, ended, pen.svg(plot_history(table), alt))


class HeatMap(NamedTuple):
    """Every class in every setting; `order` are the classes of the rows."""

    table: Any
    order: list[int]
    svg: Markup


def heat_map_figure(contents: Contents, pen: Pen) -> HeatMap:
    """Recall of every class in every setting."""
    table = heat_map_table(contents.records, contents.class_names)
    low, high = float(table.recall.min()), float(table.recall.max())
    best = contents.best
    said = "" if best is None else "; ".join(
        f"{contents.class_names[k]} {best.recall[k]:.2f}" for k in contents.rarest[:_CLASSES_SAID]
    )  # fmt: skip
    n_classes, n_settings = table.recall.shape
    alt = (
        f"Recall of {n_classes} classes in {n_settings} settings, from {low:.2f} to {high:.2f}. "
        f"{best.title if best else ''}: {said}"
    )
    order = [contents.class_names.index(name) for name in table.class_names]
    return HeatMap(table, order, pen.svg(plot_heat_map(table), alt))


class Panel(NamedTuple):
    """A small figure, and a warning below it or nothing."""

    svg: Markup
    warning: str


def hyperparameter_figures(contents: Contents, pen: Pen) -> list[Panel]:
    """The objective against each hyperparameter."""
    panels = []
    for key in SYMBOLS:
        table = hyperparameter_table(
            contents.records,
            key,
            config=contents.folder.config,
            n_classes=len(contents.class_names),
        )
        words = bound_words(table)
        best = ""
        if table.best is not None:
            at: Any = table.x[table.best]
            at = table.choices[int(at)] if table.choices else f"{at:.3g}"
            best = f"the best, {table.y[table.best]:.3f}, at {at}; "
        limits = ", ".join(table.choices) or f"{table.low:g} to {table.high:g}"
        alt = f"{table.metric} of {len(table.x)} trials against {key}: {best}searched {limits}."
        panels.append(Panel(pen.svg(plot_hyperparameter(table), f"{alt} {words}".strip()), words))
    return panels


def curve_figures(contents: Contents, pen: Pen) -> list[Markup]:
    """Objective, loss and recall of the rarest class over epochs."""
    best = contents.best
    if best is None:
        return []
    rare = contents.rarest[0]
    quantities = [
        ("objective", f"{contents.metric}, best epochs so far", None),
        ("val/balanced_loss", "balanced validation loss", None),
        ("val/recall", f"recall of {contents.class_names[rare]}", rare),
    ]
    panels = []
    for key, quantity, row in quantities:
        table = curve_table(contents.records, best, key, quantity=quantity, row=row)
        ends = "; ".join(
            f"{c.title} {c.values[-1]:.3f} after {len(c.values)} epochs" for c in table.curves
        )
        if table.curves:
            panels.append(pen.svg(plot_curves(table), f"{quantity} over epochs: {ends}."))
    return panels


def retest_figure(found: Confirmation, pen: Pen) -> Markup:
    """The retest on fresh seeds, setting by setting."""
    table = seed_table(found.retest, chosen=found.chosen)
    means = "; ".join(f"{row.title} {row.mean:.3f}" for row in found.retest)
    return pen.svg(plot_seeds(table), f"Retest, mean macro recall: {means}.")
