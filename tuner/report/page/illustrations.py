"""The report's figures: each drawn for a page and for a telephone, with its numbers in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tuner.home.records import Record
from tuner.report.figures.axes import HALF_PX, NARROW_PX, PANEL_PX, WIDE_PX
from tuner.report.figures.confusion import plot_confusion_matrix
from tuner.report.figures.curves import curve_table, plot_curves
from tuner.report.figures.examples import Example, choose_examples, thumbnail
from tuner.report.figures.heat_map import heat_map_table, plot_heat_map
from tuner.report.figures.history import history_table, plot_history
from tuner.report.figures.hyperparameters import (
    SYMBOLS,
    bound_words,
    hyperparameter_table,
    plot_hyperparameter,
)
from tuner.report.figures.recall import (
    RecallTable,
    gain_table,
    gain_words,
    plot_gain,
    plot_recall,
    recall_table,
)
from tuner.report.figures.titles import short_title
from tuner.report.page.contents import Contents
from tuner.report.page.markup import Column, Html, details, element, joined, name, scrolling, table
from tuner.report.page.svg import inline_svg

_CLASSES_SAID = 12  # in a figure's alternative text; all are in the table beside it
_CONFUSIONS = 8
_PIXELATED_BELOW = 48  # pixels

Plot = Callable[..., Axes]


class Illustrator:
    """Draws figures whose identifiers differ within one page."""

    def __init__(self) -> None:
        self._numbers = count()

    def draw(self, plot: Plot, alt: str, *, widths_px: Sequence[float]) -> Html:
        """A figure at one width, or at that of a page and that of a telephone."""
        drawn = []
        for width_px, css in zip(widths_px, ("wide", "narrow"), strict=False):
            figure = plot(room_px=width_px).get_figure(root=True)
            if figure is None:
                raise ValueError("the axes belong to no figure")
            svg = inline_svg(figure, key=f"f{next(self._numbers)}", alt=alt)
            drawn.append(element("div", Html(svg), css=css if len(widths_px) > 1 else "panel"))
        return joined(drawn)

    def figure(self, plot: Plot, *, alt: str, caption: object, numbers: object = "") -> Html:
        """A figure over the whole page with its caption and, when asked for, its numbers."""
        drawn = self.draw(plot, alt, widths_px=(WIDE_PX, NARROW_PX))
        return element("figure", drawn, element("figcaption", caption), numbers)

    def panel(
        self,
        plot: Plot,
        *,
        alt: str,
        caption: object = "",
        widths_px: Sequence[float] = (PANEL_PX,),
    ) -> Html:
        """A small figure that stands beside others."""
        drawn = self.draw(plot, alt, widths_px=widths_px)
        return element("figure", drawn, element("figcaption", caption) if caption else "")


def recall_figure(
    table_: RecallTable, pen: Illustrator, *, caption: object, warning: str = ""
) -> Html:
    """Recall per class with intervals."""
    alt = f"Recall per class of {', '.join(table_.titles)}. " + "; ".join(
        f"{name_}: " + ", ".join(
            f"{t} {table_.found[i, k]} of {table_.support[k]}" for i, t in enumerate(table_.titles)
        )
        for k, name_ in enumerate(table_.class_names[:_CLASSES_SAID])
    )  # fmt: skip
    heads = [Column("class", "text"), *table_.titles]
    rows = [
        [name(name_), *(_interval(table_, i, k) for i in range(len(table_.titles)))]
        for k, name_ in enumerate(table_.class_names)
    ]
    numbers = table(f"Recall with 95 % Wilson intervals. {warning}".strip(), heads, rows)
    said = details("Numbers", scrolling(numbers, label="Recall per class"))
    return pen.figure(
        lambda room_px: plot_recall(table_, room_px=room_px),
        alt=_more(alt, len(table_.class_names)),
        caption=caption,
        numbers=said,
    )


def _interval(table_: RecallTable, i: int, k: int) -> str:
    found, low, high = table_.recall[i, k], table_.low[i, k], table_.high[i, k]
    return f"{found:.2f} ({low:.2f} to {high:.2f})"


def search_recall(contents: Contents, pen: Illustrator) -> Html:
    """Recall of winner and baselines on the validation folds."""
    records = contents.compared
    titles = [short_title(r) for r in records]
    found = recall_table([r.matrix for r in records], contents.class_names, titles=titles)
    caption = (
        "Recall of each class, the rarest first: a mark for each setting, lines are 95 % Wilson "
        f"intervals, counts are those of {titles[0]}."
    )
    return recall_figure(found, pen, caption=caption)


def gain_figure(contents: Contents, pen: Illustrator) -> Html:
    """What the winner gains over plain cross-entropy, class by class."""
    best, plain = contents.best, contents.plain
    if best is None or plain is None or best is plain:
        return element("p", "There is nothing to compare with plain cross-entropy.", css="note")
    rows = contents.folder.images.search
    labels = contents.folder.images.labels[rows]
    is_right = None
    if contents.predictions is not None:
        is_right = np.stack([p.argmax(axis=1) == labels for p in contents.predictions])
    found = gain_table(
        best.matrix, plain.matrix, contents.class_names, is_right=is_right, labels=labels
    )
    words = gain_words(found)
    pairs = list(zip(found.class_names, words, strict=True))
    alt = f"Gain of {best.title} over cross-entropy. " + "; ".join(
        f"{class_name}: {said}" for class_name, said in pairs[:_CLASSES_SAID]
    )
    gain = found.net / np.maximum(found.support, 1)
    cells = [[name(n), f"{g:+.3f}", said] for (n, said), g in zip(pairs, gain, strict=True)]
    numbers = table("Difference in recall.", [Column("class", "text"), "gain", "images"], cells)
    caption = (
        f"Recall of {best.title} minus that of cross-entropy. Beside it: images that only "
        f"{best.title} finds (+) and images that only cross-entropy finds (−)."
    )
    return pen.figure(
        lambda room_px: plot_gain(found, room_px=room_px),
        alt=_more(alt, len(pairs)),
        caption=caption,
        numbers=details("Numbers", numbers),
    )


def confusion_figure(contents: Contents, record: Record, pen: Illustrator) -> Html:
    """A confusion matrix with its most frequent confusions in words."""
    names, labels = contents.class_names, contents.labels
    counts = np.array(record.matrix)
    support = counts.sum(axis=1)
    off = counts - np.diag(counts.diagonal())
    share = off / np.maximum(support, 1)[:, None]
    pairs = [np.unravel_index(i, off.shape) for i in np.argsort(-share, axis=None, kind="stable")]
    pairs = [(int(i), int(j)) for i, j in pairs[:_CONFUSIONS] if off[i, j]]
    found = "; ".join(
        f"{names[k]} {counts[k, k]} of {support[k]}" for k in contents.rarest[:_CLASSES_SAID]
    )
    taken = "; ".join(f"{names[i]} for {names[j]} {off[i, j]}" for i, j in pairs)
    alt = f"Confusion matrix of {record.title}. Found: {found}. Most often taken: {taken or '-'}."
    listed = [
        element(
            "li",
            name(labels[i]),
            " taken for ",
            name(labels[j]),
            ": ",
            element("span", f"{off[i, j]} of {support[i]}", css="whole"),
        )
        for i, j in pairs
    ]
    heads = [Column("true \\ predicted", "text"), *(Column(name(text)) for text in labels)]
    rows = [[name(labels[i]), *(n or "" for n in counts[i].tolist())] for i in range(len(names))]
    whole = scrolling(table("Images, rows true, columns predicted.", heads, rows, css="dense"),
                      label=f"Confusion matrix of {record.title}")  # fmt: skip
    caption = joined([
        element("strong", record.title, f" {record.params}" if record.kind == "trial" else ""),
        ". Rows are true classes, columns predicted ones; the colour is the share of the row. "
        "Most frequent confusions:" if pairs else ". No image is taken for another class.",
        element("ul", *listed, css="confusions") if pairs else "",
    ])  # fmt: skip
    return pen.figure(
        lambda room_px: plot_confusion_matrix(record.matrix, names, room_px=room_px),
        alt=alt,
        caption=caption,
        numbers=details("Numbers", whole),
    )


def history_figure(contents: Contents, pen: Illustrator) -> Html:
    """The objective of every trial in order."""
    found = history_table(contents.records, metric=contents.folder.config.objective.metric)
    n_pruned = int((~found.is_complete).sum())
    n_trials = len(found.numbers) + len(found.failed)
    facts = [f"{n_trials} trials, {n_pruned} pruned, {len(found.failed)} failed"]
    if contents.best is not None and contents.best.value is not None:
        facts.append(f"best {contents.best.title} with {contents.best.value:.3f}")
    facts += [f"{name_} {value:.3f}" for name_, value in found.baselines.items()]
    caption = (
        f"{facts[0]}. Filled: complete; hollow: pruned, at its last report, "
        "a triangle where that lies below the scale; "
        f"{'crosses: failed; ' if found.failed else ''}the line is the best so far."
    )
    return pen.figure(
        lambda room_px: plot_history(found, room_px=room_px),
        alt="Objective over trials: " + "; ".join(facts) + ".",
        caption=caption,
    )


def heat_map_figure(contents: Contents, pen: Illustrator) -> Html:
    """Recall of every class in every setting."""
    found = heat_map_table(contents.records, contents.class_names)
    low, high = float(found.recall.min()), float(found.recall.max())
    best = contents.best
    said = "" if best is None else "; ".join(
        f"{contents.class_names[k]} {best.recall[k]:.2f}" for k in contents.rarest[:_CLASSES_SAID]
    )  # fmt: skip
    n_classes, n_settings = found.recall.shape
    alt = (
        f"Recall of {n_classes} classes in {n_settings} settings, from {low:.2f} to {high:.2f}. "
        f"{best.title if best else ''}: {said}"
    )
    labels = dict(zip(contents.class_names, contents.labels, strict=True))
    heads = [Column("setting", "text"), *(Column(name(labels[n])) for n in found.class_names)]
    rows = [
        [title_, *(f"{r:.2f}" for r in column)]
        for title_, column in zip(found.titles, found.recall.T, strict=True)
    ]
    numbers = scrolling(table("Recall of each class.", heads, rows, css="dense"),
                        label="Recall of every class in every setting")  # fmt: skip
    baselines = [r.title for r in contents.records if r.kind == "baseline" and r.matrix]
    caption = (
        f"Recall of each class (rows, the rarest first) in each setting; pale is "
        f"{found.lowest:.1f}, full is 1. Baselines: {'; '.join(baselines) or 'none'}."
    )
    return pen.figure(
        lambda room_px: plot_heat_map(found, room_px=room_px),
        alt=alt,
        caption=caption,
        numbers=details("Numbers", numbers),
    )


def hyperparameter_figures(contents: Contents, pen: Illustrator) -> Html:
    """The objective against each hyperparameter."""
    panels = []
    for key in SYMBOLS:
        found = hyperparameter_table(
            contents.records,
            key,
            config=contents.folder.config,
            n_classes=len(contents.class_names),
        )
        words = bound_words(found)
        best = ""
        if found.best is not None:
            at: Any = found.x[found.best]
            at = found.choices[int(at)] if found.choices else f"{at:.3g}"
            best = f"the best, {found.y[found.best]:.3f}, at {at}; "
        limits = ", ".join(found.choices) or f"{found.low:g} to {found.high:g}"
        alt = f"{found.metric} of {len(found.x)} trials against {key}: {best}searched {limits}."
        panels.append(
            pen.panel(
                lambda room_px, found=found: plot_hyperparameter(found, room_px=room_px),
                alt=f"{alt} {words}".strip(),
                caption=element("span", words, css="warning") if words else "",
                widths_px=(HALF_PX, NARROW_PX),
            )
        )
    return element("div", *panels, css="panels two")


def curve_figures(contents: Contents, pen: Illustrator) -> Html:
    """Objective, loss and recall of the rarest class over epochs."""
    best = contents.best
    if best is None:
        return Html("")
    rare = contents.rarest[0]
    metric = contents.folder.config.objective.metric.replace("_", " ")
    quantities = [
        ("objective", f"{metric}, best epochs so far", None),
        ("val/balanced_loss", "balanced validation loss", None),
        ("val/recall", f"recall of {contents.class_names[rare]}", rare),
    ]
    panels = []
    for key, quantity, row in quantities:
        found = curve_table(contents.records, best, key, quantity=quantity, row=row)
        if not found.curves:
            continue
        ends = "; ".join(
            f"{c.title} {c.values[-1]:.3f} after {len(c.values)} epochs" for c in found.curves
        )
        panels.append(
            pen.panel(
                lambda room_px, found=found: plot_curves(found, room_px=room_px),
                alt=f"{quantity} over epochs: {ends}.",
            )
        )
    caption = (
        f"Thick: {best.title}; thin: the next best trials; dashed: cross-entropy. A line ends "
        "where the last of its folds stopped."
    )
    return joined([element("div", *panels, css="panels"), element("p", caption, css="note")])


def example_figures(contents: Contents) -> Html:
    """Rare-class images that the winner finds and cross-entropy misses, and the reverse."""
    if contents.predictions is None or contents.best is None:
        text = "There are no out-of-fold predictions of a winner and of cross-entropy to compare."
        return element("p", text, css="note")
    ours, theirs = contents.predictions
    images, best = contents.folder.images, contents.best.title
    found = choose_examples(images, ours, theirs)
    lost = choose_examples(images, theirs, ours)
    return joined(
        [
            _gallery(contents, f"{best} finds, cross-entropy misses", found),
            _gallery(contents, f"cross-entropy finds, {best} misses", lost),
        ]
    )


def _gallery(contents: Contents, heading: str, examples: Sequence[Example]) -> Html:
    tiles = [_tile(contents, example) for example in examples]
    body = element("ul", *tiles, css="gallery") if tiles else element("p", "None.", css="note")
    return joined([element("h3", heading), body])


def _tile(contents: Contents, example: Example) -> Html:
    images, names = contents.folder.images, contents.class_names
    path = images.paths[example.row]
    picture = thumbnail(contents.root, path, sha256=images.sha256[example.row])
    true, other = names[example.true], names[example.predicted[1]]
    chances = f"{example.probability[0]:.2f} against {example.probability[1]:.2f}"
    if picture.address:
        small = max(picture.width, picture.height) < _PIXELATED_BELOW
        shown = element(
            "img",
            src=picture.address,
            alt=f"{true}, missed as {other}; probability of {true} {chances}; {path}",
            width=picture.width,
            height=picture.height,
            css="pixelated" if small else None,
        ).removesuffix("</img>")
    else:
        shown = element("span", picture.reason, css="missing", title=path)
    missed = element("small", "missed as ", name(contents.labels[example.predicted[1]]))
    label = name(contents.labels[example.true])
    return element("li", element("div", Html(shown), css="frame"), label, missed, title=path)


def _more(alt: str, n_classes: int) -> str:
    rest = n_classes - _CLASSES_SAID
    return f"{alt}; and {rest} more in the table below." if rest > 0 else f"{alt}."
