"""Figures of a study, on axes of the user's or on new ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tuner.study.study import Study
from tuner.study.trial import Trial, trials_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_confusion_matrix(trial: Trial, *, ax: Axes | None = None) -> Axes:
    """Draw a trial's confusion matrix: counts, row rates, and how many of each class were found.

    Args:
        trial: A trial or baseline, as `Study.best_trial` gives it.
        ax: Where to draw; by default axes in a new figure.

    Returns:
        The axes.

    Raises:
        ValueError: If the trial failed before its first epoch.
    """
    from tuner.report.figures.confusion import plot_confusion_matrix as plot

    if not trial.record.matrix:
        raise ValueError(f"{trial.title} has no confusion matrix: {trial.record.reason}")
    record, names = trial.record, trial.class_names
    return _on(ax, lambda ax: plot(record.matrix, names, title=trial.title, ax=ax))


def plot_recall(study: Study, *, ax: Axes | None = None) -> Axes:
    """Draw recall per class with Wilson intervals: the winner beside the baselines.

    Args:
        study: With at least one complete trial or baseline.
        ax: Where to draw; by default axes in a new figure.

    Returns:
        The axes.

    Raises:
        StudyError: If nothing is complete yet.
    """
    from tuner.report.figures.recall import plot_recall as plot
    from tuner.report.figures.recall import recall_table

    best = study.best_trial
    others = [t for t in study.baselines if t.record.matrix and t.name != best.name]
    shown = [best, *others]
    table = recall_table(
        [trial.record.matrix for trial in shown],
        best.class_names,
        titles=[trial.title for trial in shown],
    )
    return _on(ax, lambda ax: plot(table, ax=ax))


def plot_history(study: Study, *, ax: Axes | None = None) -> Axes:
    """Draw the objective of every trial, the best so far, and the baselines as lines.

    Args:
        study: One that has begun.
        ax: Where to draw; by default axes in a new figure.

    Returns:
        The axes.
    """
    from tuner.report.figures.history import history_table
    from tuner.report.figures.history import plot_history as plot

    records = [trial.record for trial in trials_of(study.folder)]
    table = history_table(records, metric=study.config.objective.metric)
    return _on(ax, lambda ax: plot(table, ax=ax))


def _on(ax: Axes | None, draw: Callable[[Axes | None], Axes]) -> Axes:
    """Draw on the given axes, or on new ones that notebooks and `pyplot.show` show."""
    if ax is not None:
        return draw(ax)
    from tuner.environment import prepare_environment

    prepare_environment()
    import matplotlib.pyplot as plt

    alone = draw(None).get_figure(root=True)  # knows its best size, but has no window
    size = None if alone is None else alone.get_size_inches()
    return draw(plt.figure(figsize=size).add_subplot())
