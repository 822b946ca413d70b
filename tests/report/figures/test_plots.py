"""The tables behind the figures, and what the figures show of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import recall_score

from tests.report.made_study import confirm
from tuner.config import resolve_alpha
from tuner.home.confirmation import load_confirmation
from tuner.home.records import winner
from tuner.report.figures.confusion import plot_confusion_matrix
from tuner.report.figures.curves import curve_table, plot_curves
from tuner.report.figures.heat_map import heat_map_table, plot_heat_map
from tuner.report.figures.history import history_table, plot_history
from tuner.report.figures.hyperparameters import (
    bound_words,
    hyperparameter_table,
    plot_hyperparameter,
)
from tuner.report.figures.recall import gain_table, plot_gain, plot_recall, recall_table
from tuner.report.figures.retest import plot_seeds, seed_table
from tuner.setting import Setting

MATRIX = [[80, 15, 5], [2, 16, 2], [1, 0, 9]]
PLAIN = [[90, 5, 5], [6, 12, 2], [5, 0, 5]]
NAMES = ["common", "less", "rare"]


def texts_of(ax):
    """All texts in the axes."""
    return [text.get_text() for text in ax.texts]


def test_recalls_are_those_of_scikit_learn_the_rarest_first():
    """The table's recall is scikit-learn's, turned round by support."""
    pairs = [(i, j) for i in range(3) for j in range(3) for _ in range(MATRIX[i][j])]
    y_true, y_pred = np.array(pairs).T
    table = recall_table([MATRIX, PLAIN], NAMES, titles=["#3", "plain"])
    assert table.class_names == ["rare", "less", "common"]
    np.testing.assert_allclose(table.recall[0][::-1], recall_score(y_true, y_pred, average=None))
    assert (table.low <= table.recall).all()
    assert (table.recall <= table.high).all()


def test_recall_is_drawn_with_k_of_n():
    """Beside each class stands how many images its recall rests on."""
    ax = plot_recall(recall_table([MATRIX, PLAIN], NAMES, titles=["#3", "plain"]))
    assert [t for t in texts_of(ax) if " of " in t] == ["9 of 10", "16 of 20", "80 of 100"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["#3", "plain"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["rare", "less", "common"]


def test_gains_count_images_that_only_one_finds():
    """Gained minus lost is the difference of the diagonals, and both are given."""
    labels = np.repeat([0, 1, 2], [4, 3, 2])
    ours = np.array([1, 1, 0, 0, 1, 1, 1, 1, 1], dtype=bool)
    theirs = np.array([1, 0, 1, 1, 1, 0, 0, 1, 0], dtype=bool)

    def matrix(is_right):
        found = np.bincount(labels[is_right], minlength=3)
        return np.diag(found) + np.roll(np.diag(np.bincount(labels) - found), 1, axis=1)

    table = gain_table(
        matrix(ours), matrix(theirs), NAMES, is_right=np.stack([ours, theirs]), labels=labels
    )
    np.testing.assert_array_equal(table.gained - table.lost, table.net)
    assert table.gained.tolist() == [1, 2, 1]
    assert table.lost.tolist() == [0, 0, 2]
    words = [t for t in texts_of(plot_gain(table)) if " of " in t]
    assert words == ["+1 −0 of 2", "+2 −0 of 3", "+1 −2 of 4"]


def test_a_gain_without_predictions_is_the_net_one():
    """From matrices alone only the difference of the counts is known, and only that is said."""
    table = gain_table(MATRIX, PLAIN, NAMES)
    assert table.gained is None
    assert next(t for t in texts_of(plot_gain(table)) if " of " in t) == "+4 of 10"


def test_the_heat_map_holds_every_record_with_a_matrix(make):
    """Baselines come first, then complete trials and pruned ones, each by falling objective."""
    records = make(4, trials=14).records()
    table = heat_map_table(records, [f"class {k}" for k in range(4)])
    by_title = {r.title: r for r in records}
    shown = [by_title[title] for title in table.titles]
    assert sorted(r.name for r in shown) == sorted(r.name for r in records if r.matrix)
    kinds = [(r.kind == "trial", r.state == "pruned") for r in shown]
    assert kinds == sorted(kinds)
    values = [r.value for r in shown if r.kind == "trial" and r.state == "complete"]
    assert values == sorted(values, reverse=True)
    np.testing.assert_allclose(table.recall[:, -1], shown[-1].recall[::-1])
    ax = plot_heat_map(table)
    cells = np.concatenate([np.ravel(c.get_array()) for c in ax.collections])
    assert len(cells) == table.recall.size
    assert cells.min() >= 0
    assert cells.max() <= 1


def test_history_keeps_the_best_so_far_of_complete_trials(make):
    """A pruned trial never becomes the best, however high it was."""
    records = make(trials=14).records()
    table = history_table(records, metric="macro_recall")
    best = -1.0
    for number, value, is_complete, so_far in zip(
        table.numbers, table.values, table.is_complete, table.best, strict=True
    ):
        best = max(best, value) if is_complete else best
        assert so_far == pytest.approx(best) or (np.isnan(so_far) and best < 0), number
    assert table.failed == [12]
    assert list(table.baselines) == ["cross-entropy", "balanced weights", "published recipe"]
    said = " ".join(texts_of(plot_history(table)))
    assert all(f"{value:.3f}" in said for value in table.baselines.values())


@pytest.mark.parametrize(
    ("params", "name", "bound", "words"),
    [
        (Setting(4.9, 0.5, 3, "none"), "gamma", "upper", "the last allowed"),
        (Setting(0.1, 0.5, 3, "none"), "gamma", "lower", "the last allowed"),
        (Setting(2.0, 0.97, 3, "none"), "alpha", "upper", "the last allowed"),
        (Setting(2.0, 0.06, 3, "none"), "alpha", "lower", "widen search.alpha"),
        (Setting(2.0, 0.5, 8, "none"), "augmentation_multiplier", "upper", "the last allowed"),
        (Setting(2.0, 0.5, 7, "none"), "augmentation_multiplier", "", ""),
        (Setting(2.0, 0.5, 3, "none"), "gamma", "", ""),
        (Setting(2.0, 0.5, 3, "none"), "class_weight_mode", "", ""),
    ],
)
def test_a_best_value_at_a_bound_is_flagged(make, params, name, bound, words):
    """Within 5 % of the range counts; whether the bound can move is said."""
    folder = make(trials=3)
    best = max((r for r in folder.records() if r.kind == "trial"), key=lambda r: r.value or 0)
    records = [replace(best, params=params, state="complete")]
    table = hyperparameter_table(records, name, config=folder.config, n_classes=3)
    assert table.at_bound == bound
    assert words in bound_words(table)
    assert ("best at the bound" in texts_of(plot_hyperparameter(table))) == bool(bound)


def test_bounds_are_those_of_the_search(make):
    """With alpha left open the range is the one that the number of classes decides."""
    folder = make(trials=1)
    records = folder.records()
    for n_classes in (2, 3):
        found = hyperparameter_table(records, "alpha", config=folder.config, n_classes=n_classes)
        assert (found.low, found.high) == resolve_alpha(folder.config, n_classes)


def test_curves_are_the_winner_the_next_and_cross_entropy(make):
    """At most five trials and the baseline; a class's own curve is its column."""
    records = make(trials=14).records()
    best = winner(records)
    table = curve_table(records, best, "val/recall", quantity="recall of $x$\n", row=1)
    assert table.curves[0].title == best.title
    assert [c.is_baseline for c in table.curves] == [False] * 5 + [True]
    assert table.curves[0].values == [row[1] for row in best.curves["val/recall"]]
    ax = plot_curves(table)
    assert len(ax.lines) == len(table.curves) + 1  # and the winner's end


def test_every_seed_of_the_retest_is_drawn(make):
    """All values and the mean of each setting, in the order of the retest."""
    folder = make(trials=14)
    confirm(folder)
    found = load_confirmation(folder)
    table = seed_table(found.retest, chosen=found.chosen)
    ax = plot_seeds(table)
    assert [t.get_text() for t in ax.get_yticklabels()] == [r.title for r in found.retest]
    drawn = np.concatenate([line.get_xdata() for line in ax.lines])
    assert {v for row in found.retest for v in row.values} <= set(drawn)
    means = [f"{row.mean:.3f}" for row in found.retest]
    assert [t for t in texts_of(ax) if t != "mean"] == means


def test_the_axes_given_are_drawn_on(make):
    """Every figure can be one of several in a larger one."""
    folder = make(trials=6)
    records = folder.records()
    confirm(folder)
    found = load_confirmation(folder)
    config = folder.config
    tables = [
        (plot_recall, recall_table([MATRIX], NAMES, titles=["#3"])),
        (plot_gain, gain_table(MATRIX, PLAIN, NAMES)),
        (plot_heat_map, heat_map_table(records, NAMES)),
        (plot_history, history_table(records, metric="macro_recall")),
        (plot_curves, curve_table(records, winner(records), "objective", quantity="x")),
        (plot_seeds, seed_table(found.retest, chosen=found.chosen)),
        (
            plot_hyperparameter,
            hyperparameter_table(records, "gamma", config=config, n_classes=3),
        ),
    ]
    for plot, table in tables:
        ax = Figure().add_subplot()
        assert plot(table, ax=ax) is ax


@pytest.mark.parametrize("layout", [None, "constrained"])
def test_names_and_numbers_fit_into_a_plain_figure(make, layout):
    """Given axes of a figure of 6x4 inches make room: nothing is cut off, and no text is lost."""
    names = [f"speed limit {10 * k}" for k in range(8)]
    records = make(names, trials=12).records()
    matrix = winner(records).matrix
    baselines = [r for r in records if r.kind == "baseline"]
    titles, matrices = [r.title for r in baselines], [r.matrix for r in baselines]
    plots = [
        lambda ax: plot_confusion_matrix(matrix, names, title="#3", ax=ax),
        lambda ax: plot_recall(recall_table(matrices, names, titles=titles), ax=ax),
        lambda ax: plot_history(history_table(records, metric="macro_recall"), ax=ax),
    ]
    for plot in plots:
        figure = Figure(figsize=(6, 4), layout=layout)
        FigureCanvasAgg(figure)
        ax = plot(figure.add_subplot())
        figure.canvas.draw()
        box = figure.get_tightbbox()
        assert box.x0 >= -0.02
        assert box.y0 >= -0.02
        assert box.x1 <= 6.02
        assert box.y1 <= 4.02
        assert ax.get_position().width > 0.25


def test_a_figure_of_several_keeps_the_places_of_its_axes(make):
    """Axes shrink only where they are too near the figure's edge."""
    figure = Figure(figsize=(20, 8))
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.8, "left": 0.2, "right": 0.8})
    before = [left.get_position().bounds, right.get_position().bounds]
    for ax in (left, right):
        plot_recall(recall_table([MATRIX], NAMES, titles=["#3"]), ax=ax)
    assert [left.get_position().bounds, right.get_position().bounds] == before
