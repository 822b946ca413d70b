"""The objective against each hyperparameter, and whether the best sits at a bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from tuner.arrays import Bool, Float64
from tuner.config import StudyConfig, searched
from tuner.home.records import Record, winner
from tuner.report.figures.axes import (
    HALF_PX,
    LABEL_PT,
    Margins,
    axes_with_room,
    mark_below,
    quiet,
)
from tuner.report.figures.palette import MUTED, PAPER, PLAIN, WARNING, WINNER
from tuner.setting import HYPERPARAMETERS

SYMBOLS = {name: h.symbol for name, h in HYPERPARAMETERS.items()}

_NEAR = 0.05  # share of the range from which a value sits at its bound


class HyperparameterTable(NamedTuple):
    """Objective of every trial against one hyperparameter.

    Attributes:
        name: Of the hyperparameter.
        metric: Of the objective.
        x: Values, float64 (n_trials,); places among `choices` where there are any.
        y: Objectives, float64 (n_trials,).
        is_complete: False for pruned trials, bool (n_trials,).
        best: Place of the best feasible complete trial, or None.
        low: Lower bound of the search; 0 with choices.
        high: Upper bound of the search; the last place with choices.
        choices: Names of a categorical hyperparameter, else empty.
        at_bound: The bound at which the best trial sits, or "".
        can_widen: Whether a study file may move that bound.
    """

    name: str
    metric: str
    x: Float64
    y: Float64
    is_complete: Bool
    best: int | None
    low: float
    high: float
    choices: tuple[str, ...]
    at_bound: Literal["", "lower", "upper"]
    can_widen: bool


def hyperparameter_table(
    records: Sequence[Record], name: str, *, config: StudyConfig, n_classes: int
) -> HyperparameterTable:
    """Gather the trials' values of a hyperparameter and their objectives.

    Args:
        records: All records of the study.
        name: One of `SYMBOLS`.
        config: The study.
        n_classes: Decides the range of alpha where the study leaves it open.
    """
    trials = [r for r in records if r.kind == "trial" and r.value is not None]
    trials = [r for r in trials if r.state != "failed"]
    asked, choices = searched(config, n_classes)[name], ()
    values: list[Any] = [r.params.as_dict()[name] for r in trials]
    if HYPERPARAMETERS[name].kind == "choice":
        choices = asked
        values = [choices.index(value) if value in choices else -1 for value in values]
        asked = (0, len(choices) - 1)
    low, high = asked
    found = winner([r for r in trials if r.kind == "trial"])
    best = trials.index(found) if found else None
    at = "" if best is None or choices else _bound(values[best], low, high, name=name)
    widest = HYPERPARAMETERS[name].bounds
    can_widen = bool(at) and (low > widest[0] if at == "lower" else high < widest[1])
    return HyperparameterTable(
        name,
        config.objective.metric,
        np.array(values, dtype=np.float64),
        np.array([r.value for r in trials], dtype=np.float64),
        np.array([r.state == "complete" for r in trials], dtype=bool),
        best,
        float(low),
        float(high),
        choices,
        at,
        can_widen,
    )


def _bound(value: float, low: float, high: float, *, name: str) -> Literal["", "lower", "upper"]:
    if low == high:  # fixed
        return ""
    near = 0.0 if _is_whole(name) else _NEAR * (high - low)
    if value <= low + near:
        return "lower"
    return "upper" if value >= high - near else ""


def _is_whole(name: str) -> bool:
    return HYPERPARAMETERS[name].kind == "whole"


def bound_words(table: HyperparameterTable) -> str:
    """What to think of a best value at a bound, or ""."""
    if not table.at_bound:
        return ""
    bound = table.low if table.at_bound == "lower" else table.high
    text = f"the best sits at the {table.at_bound} bound, {bound:g}"
    return f"{text}: widen search.{table.name}" if table.can_widen else f"{text}, the last allowed"


def plot_hyperparameter(table: HyperparameterTable, *, ax: Axes | None = None) -> Axes:
    """Draw the objective against a hyperparameter; a best value at a bound is flagged.

    Args:
        table: From `hyperparameter_table`.
        ax: Where to draw; by default axes in a new figure.

    Returns:
        The axes.
    """
    ax = axes_with_room(ax, HALF_PX, 230, Margins(46, 12, 22, 40))
    quiet(ax, grid="y", keeps=("bottom",))
    x, y = table.x + _beside_each_other(table), table.y
    complete = table.is_complete
    ax.plot(
        x[~complete],
        y[~complete],
        "o",
        markerfacecolor="none",
        markeredgecolor=PLAIN,
        markersize=4.5,
    )
    style: dict[str, Any] = {"markeredgecolor": PAPER, "markeredgewidth": 0.7}
    ax.plot(x[complete], y[complete], "o", color=WINNER, alpha=0.75, markersize=5, **style)
    if table.best is not None:
        colour = WARNING if table.at_bound else WINNER
        at = ([x[table.best]], [y[table.best]])
        ax.plot(*at, "*", color=colour, markersize=13, zorder=3, **style)
    _ticks(ax, table, x)
    if table.at_bound:
        bound = table.low if table.at_bound == "lower" else table.high
        ax.axvline(bound, color=WARNING, linewidth=1.2, dashes=(3, 2))
        side = {"lower": (0, "left"), "upper": (1, "right")}[table.at_bound]
        ax.annotate(
            "best at the bound",
            (side[0], 1),
            xycoords="axes fraction",
            xytext=(0, 5),
            textcoords="offset points",
            ha=side[1],
            color=WARNING,
            fontsize=LABEL_PT,
        )
    ax.set_xlabel(table.name.replace("_", " "), fontsize=LABEL_PT, color=MUTED)
    return ax


def _ticks(ax: Axes, table: HyperparameterTable, x: Float64) -> None:
    span = table.high - table.low
    pad = 0.5 if table.choices else 0.04 * span or 0.5
    ax.set_xlim(table.low - pad, table.high + pad)
    if table.choices:
        ax.set_xticks(range(len(table.choices)), [c.replace("_", "\n") for c in table.choices])
    elif _is_whole(table.name):
        ax.set_xticks(range(int(table.low), int(table.high) + 1))
    complete = table.y[table.is_complete]
    values = complete if len(complete) else table.y
    if len(values):
        low, high = float(values.min()), float(values.max())
        pad = max(0.01, 0.15 * (high - low))
        # Pruned trials far below are at the edge; the room belongs to those that competed.
        ax.set_ylim(max(0.0, low - 4 * pad, float(table.y.min()) - pad), high + pad)
        mark_below(ax, x, table.y)


def _beside_each_other(table: HyperparameterTable) -> Float64:
    """Small shifts, so that trials of the same choice or whole number do not hide each other."""
    shift = np.zeros(len(table.x))
    if not table.choices and not _is_whole(table.name):
        return shift
    width = 0.5 if table.choices else 0.3
    for value in np.unique(table.x):
        same = np.flatnonzero(table.x == value)
        same = same[np.argsort(table.y[same], kind="stable")]
        shift[same] = width * ((np.arange(len(same)) * 0.618) % 1 - 0.5) if len(same) > 1 else 0
    if table.best is not None:
        shift[table.best] = 0.0
    return shift
