"""What the head of the page says of a study in words and a few large numbers."""

from __future__ import annotations

from typing import NamedTuple

from tuner.home.free import FreeBaseline
from tuner.report.figures.labels import short_title
from tuner.report.page.contents import Contents
from tuner.report.page.templates import bdi, fixed


class Tile(NamedTuple):
    """A large number: what it is of, and a note beside it."""

    title: str
    value: str
    note: str


def headline(contents: Contents) -> list[Tile]:
    """A few large numbers: of the sealed test, or of the search as long as there is no test."""
    best = contents.best
    if contents.confirmation:
        models = contents.tested[:3]
        return [Tile(m.title, fixed(m.macro_recall), "sealed test") for m in models]
    if best is None:
        return []
    others = (contents.baseline, contents.plain)
    shown = {r.name: r for r in (best, *others) if r is not None}
    scores = {r.name: contents.score(r.matrix) for r in shown.values()}
    tiles = [
        Tile(short_title(r), fixed(r.scores["macro_recall"]), f"± {fixed(scores[r.name].error)}")
        for r in shown.values()
    ]
    worst = scores[best.name].worst
    k = best.recall.index(min(best.recall))
    return [*tiles, Tile("worst class", fixed(worst, 2), bdi(contents.class_names[k]))]


def rival(contents: Contents) -> FreeBaseline | None:
    """The best free baseline, where it does as well as the winner: no search was needed."""
    best = contents.best
    found = max(contents.free or [], key=lambda baseline: baseline.value, default=None)
    if found is None or best is None or best.value is None or found.value < best.value:
        return None
    return found


def sentence(contents: Contents) -> str:
    """What the search has found, in one sentence; nothing without a winner."""
    best, plain, baseline = contents.best, contents.plain, contents.baseline
    if best is None:
        return ""
    if not best.is_feasible:
        return (
            f"No setting meets the recall floor; {best.title} comes nearest, with a worst class "
            f"of {best.scores['min_recall']:.2f}."
        )
    if best.kind == "baseline":
        return f"No trial does better on the validation folds than a baseline: {best.title}."
    if baseline is None:
        return f"On the validation folds {best.title} does best; there is no baseline."
    gain = best.scores["macro_recall"] - baseline.scores["macro_recall"]
    error = contents.score(baseline.matrix).error
    beside = "" if gain > error else ", which is within one standard error"
    other, rest = f"the best baseline ({short_title(baseline)})", ""
    if baseline is plain:
        other = "plain cross-entropy"
    elif plain is not None:
        rest = f"; plain cross-entropy {plain.scores['macro_recall']:.3f}"
    return (
        f"On the validation folds {best.title} ({best.params}) reaches "
        f"{best.scores['macro_recall']:.3f} macro recall, {other} "
        f"{baseline.scores['macro_recall']:.3f}{beside}{rest}."
    )
