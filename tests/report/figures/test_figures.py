"""The confusion matrix, from 2 to 200 classes and with any names."""

import gc
import threading

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay

from tuner.report.figures.confusion import confusion_matrix_image, plot_confusion_matrix

ODD = ["😀 emoji", "猫", "x" * 80, "<script>alert(1)</script>", "$a_b$ $$", "new\nline", "\udcff"]


def matrix_of(n, seed=0):
    """Counts with most on the diagonal and one class without images."""
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, 4, (n, n)) + np.diag(rng.integers(5, 900, n))
    matrix[n - 1] = 0
    return matrix


def ink(pixels):
    """Share of pixels that are not white."""
    return float((pixels.min(axis=2) < 250).mean())


@pytest.mark.parametrize("n", [2, 7, 12, 15, 16, 30, 31, 43, 200])
def test_any_number_of_classes_makes_a_picture_of_a_screen_at_most(n):
    """The picture is uint8 RGB, not blank, with white margins, and at most 1,500 pixels wide."""
    pixels = confusion_matrix_image(matrix_of(n), [f"class {k}" for k in range(n)], "a title")
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    assert max(pixels.shape) <= 1500
    assert ink(pixels) > 0.2
    edges = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
    assert min(edge.min() for edge in edges) == 255  # nothing is cut off


@pytest.mark.parametrize("name", ["猫" * 40, "W" * 80, "ab" * 9])
def test_wide_names_are_not_cut_off_at_the_edge(name):
    """Chinese and capital letters have room, too."""
    pixels = confusion_matrix_image(matrix_of(3), [name, "b", name + "c"], "t" * 200)
    assert min(edge.min() for edge in (pixels[:, :2], pixels[:, -2:], pixels[-2:])) == 255


def test_odd_names_are_drawn_without_a_warning():
    """Missing glyphs, dollars, line breaks and lone surrogates neither warn nor fail."""
    pixels = confusion_matrix_image(matrix_of(len(ODD)), ODD, "猫 $x$ \udcff")
    assert ink(pixels) > 0.1


def test_pictures_of_a_study_have_one_size():
    """The size depends on the class names alone, so that MLflow's grid compares."""
    names = [f"class {k}" for k in range(7)]
    shapes = {
        confusion_matrix_image(matrix_of(7, seed) * scale, names, title).shape
        for seed, scale, title in [(0, 1, ""), (1, 5, "#12 γ1.80 α0.40 ×3"), (2, 999, "t" * 300)]
    }
    assert len(shapes) == 1


def test_the_same_matrix_is_the_same_picture_in_any_thread():
    """Nothing global is involved: four threads at once draw equal pixels."""
    names = [f"class {k}" for k in range(7)]
    expected = confusion_matrix_image(matrix_of(7), names, "title")
    found = []

    def work():
        found.append(confusion_matrix_image(matrix_of(7), names, "title"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for pixels in found:
        np.testing.assert_array_equal(pixels, expected)


def test_no_figure_is_left_behind():
    """A study of a hundred trials does not fill the memory with figures."""

    def n_figures():
        gc.collect()
        return sum(isinstance(thing, Figure) for thing in gc.get_objects())

    before = n_figures()
    for seed in range(5):
        confusion_matrix_image(matrix_of(3, seed), ["a", "b", "c"], "title")
    assert n_figures() <= before


def test_colours_are_row_rates_as_scikit_learn_normalises_them():
    """The coloured values are those of scikit-learn's display normalised over true classes."""
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.integers(0, 4, (2, 200))
    names = list("abcd")
    theirs = ConfusionMatrixDisplay.from_predictions(
        y_true, y_pred, normalize="true", ax=Figure().add_subplot()
    )
    counts = np.zeros((4, 4), dtype=int)
    np.add.at(counts, (y_true, y_pred), 1)
    ax = plot_confusion_matrix(counts, names)
    (cells,) = (c for c in ax.collections if c.get_array() is not None)
    np.testing.assert_allclose(np.ravel(cells.get_array()), theirs.confusion_matrix.ravel())
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first class on top


def test_per_cent_say_none_and_all_only_where_it_is_so():
    """One image of a thousand is less than 1 %, and 999 of them are not all."""
    ax = plot_confusion_matrix([[999, 1], [0, 3]], ["common", "rare"])
    drawn = {text.get_text() for text in ax.texts}
    assert {"999\n>99%", "1\n<1%", "3\n100%"} <= drawn


def test_the_axes_given_are_drawn_on():
    """A figure of several matrices can be made; labels are the class names."""
    figure = Figure()
    ax = figure.add_subplot(1, 2, 1)
    assert plot_confusion_matrix([[8, 2], [1, 3]], ["common", "rare"], ax=ax) is ax
    assert [text.get_text() for text in ax.get_xticklabels()] == ["common", "rare"]
    assert {"8\n80%", " 80%   8 of 10"} <= {text.get_text() for text in ax.texts}


@pytest.mark.parametrize("matrix", [[[1, 2]], [[1, 2], [3, 4], [5, 6]], [[1]]])
def test_a_matrix_that_does_not_fit_the_names_is_refused(matrix):
    """A wrong shape is an error that names it, not a wrong picture."""
    with pytest.raises(ValueError, match="for 2 class names"):
        plot_confusion_matrix(matrix, ["a", "b"])
