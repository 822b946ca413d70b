"""Figures of a study, on axes of the user's or on new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import tuner
from tests.cli.made import make_baseline, make_folder, make_record
from tuner.errors import StudyError
from tuner.study import Study, Trial

PLOTS: dict[str, Callable[..., Axes]] = {
    "confusion_matrix": lambda study, **ax: tuner.plot_confusion_matrix(study.best_trial, **ax),
    "recall": lambda study, **ax: tuner.plot_recall(study, **ax),
    "history": lambda study, **ax: tuner.plot_history(study, **ax),
}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Let no figure outlive its test."""
    yield
    pyplot.close("all")


@pytest.fixture(params=PLOTS)
def plot(request: pytest.FixtureRequest) -> Callable[..., Axes]:
    """One of the three."""
    return PLOTS[request.param]


@pytest.mark.filterwarnings("ignore:Glyph")  # of scripts that this machine has no font for
def test_a_figure_is_drawn_on_the_given_axes(plot: Callable[..., Axes], made: Study) -> None:
    """The axes are returned, hold something, and the others of the figure stay empty."""
    figure = Figure(figsize=(12, 6))
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    assert plot(made, ax=right) is right
    assert right.has_data() or right.patches or right.texts
    assert not left.has_data()
    figure.canvas.draw()


def test_without_axes_there_is_a_figure_of_its_own(plot: Callable[..., Axes], made: Study) -> None:
    """Two calls are two figures."""
    first, second = plot(made), plot(made)
    assert isinstance(first, Axes)
    assert first.figure is not second.figure


def test_the_history_has_a_point_a_trial(made: Study) -> None:
    """Every trial with a value is drawn, the objective's name beside them."""
    ax = tuner.plot_history(made)
    drawn = sum(len(collection.get_offsets()) for collection in ax.collections)
    drawn += sum(
        len(line.get_xdata()) for line in ax.lines if line.get_marker() not in ("", "None")
    )
    assert drawn >= sum(trial.value is not None for trial in made.trials)


def test_what_is_not_there_is_not_drawn(tmp_path: Path) -> None:
    """A failed trial has no matrix, and a study without a complete one no recalls."""
    failed = make_record([], state="failed", value=None, reason="loss is nan")
    with pytest.raises(ValueError, match="#3 has no confusion matrix: loss is nan"):
        tuner.plot_confusion_matrix(Trial(failed, ("a", "b")))
    make_folder(tmp_path, ["a", "b"], records=[failed])
    with pytest.raises(StudyError, match="no complete trial yet"):
        tuner.plot_recall(Study.load("made", home=tmp_path))


def test_a_winning_baseline_stands_once(tmp_path: Path) -> None:
    """The winner is not drawn beside itself."""
    best = make_baseline([[9, 1], [0, 4]], "balanced")
    other = make_baseline([[5, 5], [2, 2]], "cross_entropy")
    make_folder(tmp_path, ["a", "b"], records=[best, other])
    ax = tuner.plot_recall(Study.load("made", home=tmp_path))
    shown = ax.get_legend_handles_labels()[1] or [t.get_text() for t in ax.texts]
    assert sum(best.title in text for text in shown) <= 1
