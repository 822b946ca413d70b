"""An exported setting trains again: the folds as recorded, then one head on all their images."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops
from PIL import Image
from sklearn.metrics import confusion_matrix as sk_confusion_matrix

from tests.small_study import Small, small_config
from tuner.data.images import read_image
from tuner.errors import ExportError, TrainingError
from tuner.model.export import Export, build_export, choose_record, compare_matrices
from tuner.model.export_file import load_export as read_export
from tuner.model.export_file import write_export
from tuner.model.reproduce import (
    Plan,
    adjusted_matrix,
    check_model,
    fresh_plan,
    head_answers,
    recorded_plan,
    test_matrix,
    train_final,
    train_folds_again,
)
from tuner.search.study import run_search
from tuner.training.head import initial_weights

test_matrix.__test__ = False  # a function of the program, not a test


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """The small study, searched."""
    place = tmp_path_factory.mktemp("study")
    search = Small(place / "home", place / "data").open("search.trials=2")
    run_search(search)
    return search


@pytest.fixture(scope="module")
def export(search, tmp_path_factory) -> Export:
    """Its winner, written and read."""
    path = tmp_path_factory.mktemp("export") / "best.yaml"
    write_export(build_export(search.folder, choose_record(search.folder)), path)
    return read_export(path)


@pytest.fixture(scope="module")
def final(search, export):
    """The head of the final training."""
    return train_final(export, search.inputs, recorded_plan(export))


def test_the_folds_come_back_as_recorded(search, export):
    """Same machine, backend and engine: the same matrix, cell by cell, and the same plan."""
    again = train_folds_again(export, search.inputs)
    found = compare_matrices(export.matrix, np.array(again.matrix))
    assert found.is_exact
    assert found.found == found.recorded
    assert again.curves == choose_record(search.folder).curves
    assert fresh_plan(again) == recorded_plan(export)


def test_every_complete_trial_comes_back(search):
    """Not the winner alone: baselines and trials are pure functions of their settings."""
    for record in search.folder.records():
        if record.state == "complete":
            content = build_export(search.folder, record)
            export = Export(search.config, record.params, content)
            again = train_folds_again(export, search.inputs)
            assert compare_matrices(export.matrix, np.array(again.matrix)).is_exact


def test_the_final_head_trains_for_as_long_as_the_plan_says(search, export, final):
    """The same plan gives the same weights, another one other weights, none the first ones."""
    again = train_final(export, search.inputs, recorded_plan(export))
    for mine, other in zip(final, again, strict=True):
        np.testing.assert_array_equal(mine, other)
    rates = recorded_plan(export).learning_rates
    longer = train_final(export, search.inputs, Plan([*rates, rates[-1]]))
    assert any((mine != other).any() for mine, other in zip(final, longer, strict=True))
    untrained = train_final(export, search.inputs, Plan([]))
    key = (search.config.seed, 0)  # folds have 1, 2, …
    units, n_classes = search.config.training.hidden_units, search.inputs.n_classes
    first = initial_weights(key, n_features=64, hidden_units=units, n_classes=n_classes)
    for mine, other in zip(untrained, first, strict=True):
        np.testing.assert_array_equal(mine, np.asarray(other))


def test_an_adjusted_model_is_judged_with_its_adjustment(search, export):
    """Without one the matrix is the folds' own; with one, that of the shifted log odds."""
    again, labels = train_folds_again(export, search.inputs), search.inputs.labels
    np.testing.assert_array_equal(adjusted_matrix(again, labels, None), again.matrix)
    prior = np.array([0.5, 0.2, 0.1, 0.1, 0.1])
    found = adjusted_matrix(again, labels, (1.5, prior))
    shifted = (np.exp(again.log_prob) / prior**1.5).argmax(axis=1)
    np.testing.assert_array_equal(found, sk_confusion_matrix(labels, shifted))


def test_the_final_head_knows_all_its_images(search, export, final):
    """It predicts the images it was trained on better than the folds did those they never saw."""
    X = np.asarray(ops.convert_to_numpy(search.inputs.X))
    images = X[search.inputs.row_of[:, 0]]
    matrix = test_matrix(head_answers(final, images), search.inputs.labels)
    assert np.trace(matrix) > np.trace(export.matrix)
    assert matrix.sum() == len(search.inputs.labels)


def test_a_loss_that_is_not_finite_is_an_error(search, export):
    """A learning rate beyond all bounds ends the training by name."""
    with pytest.raises(TrainingError, match="not finite"):
        train_final(export, search.inputs, Plan([1e38, 1e38, 1e38]))


def test_probabilities_are_a_softmax_of_the_head(final):
    """Computed in NumPy, they are what Keras's layers give."""
    x = np.random.default_rng(0).random((5, 64), dtype=np.float32)
    hidden = ops.relu(ops.matmul(x, final.hidden) + final.hidden_bias)
    expected = ops.softmax(ops.matmul(hidden, final.output) + final.output_bias)
    np.testing.assert_allclose(head_answers(final, x), expected, rtol=1e-4, atol=1e-6)


@pytest.fixture
def pictures(tmp_path):
    """Three pictures of one gray and different sizes, at 32 pixels and larger."""
    paths = [tmp_path / f"{gray}.png" for gray in (40, 120, 200)]
    for path, side in zip(paths, (32, 50, 64), strict=True):
        Image.new("RGB", (side, side + 7), (int(path.stem),) * 3).save(path)
    return paths


def bright(pixels, training=False):
    """A model of two classes: the second one's probability is the mean gray."""
    share = ops.mean(ops.cast(pixels, "float32"), axis=(1, 2, 3)) / 255
    return ops.stack([1 - share, share], axis=1)


def expected_of(pictures):
    """What that model must say."""
    gray = np.array([read_image(path, image_px=32).mean() / 255 for path in pictures])
    return np.stack([1 - gray, gray], axis=1)


def test_a_model_that_answers_as_the_head_passes(pictures):
    """The largest difference on whole files comes back; here there is none."""
    worst = check_model(bright, expected_of(pictures), pictures, config=small_config())
    assert worst == pytest.approx(0, abs=1e-6)


def test_pictures_of_one_size_are_asked_about_together(tmp_path):
    """Every answer is held against its own picture, whatever the parts that they come in."""
    sides = [40] * 3 + [50] + [40] * 12
    paths = [tmp_path / f"{place:02d}.png" for place in range(len(sides))]
    for place, (path, side) in enumerate(zip(paths, sides, strict=True)):
        Image.new("RGB", (side, side), (12 * place,) * 3).save(path)
    seen = []

    def counting(pixels, training=False):
        seen.append(pixels.shape[:2])
        return bright(pixels)

    worst = check_model(counting, expected_of(paths), paths, config=small_config())
    assert worst == pytest.approx(0, abs=1e-6)
    assert seen == [(8, 32), (8, 32), (3, 40), (1, 50), (8, 40), (4, 40)]
    expected = expected_of(paths)
    with pytest.raises(ValueError, match="zip"):
        check_model(bright, expected[:-1], paths, config=small_config())
    expected[9] = expected[8]
    with pytest.raises(ExportError, match="on resized pixels"):
        check_model(bright, expected, paths, config=small_config())


def test_a_model_with_classes_in_another_order_is_refused(pictures):
    """The check sees what a smoke test would not: right shape, wrong column."""
    with pytest.raises(ExportError, match="on resized pixels"):
        check_model(bright, expected_of(pictures)[:, ::-1], pictures, config=small_config())


def test_a_model_that_reads_files_otherwise_is_refused(pictures):
    """Right on resized pixels and wrong on whole files: the resize is not training's."""

    def dark(pixels, training=False):
        return bright(pixels if pixels.shape[1] == 32 == pixels.shape[2] else 0 * pixels)

    with pytest.raises(ExportError, match="on whole files"):
        check_model(dark, expected_of(pictures), pictures, config=small_config())


def test_an_answer_that_is_no_number_is_refused(pictures):
    """NaN compares with nothing and must not pass."""
    with pytest.raises(ExportError, match="differs"):
        check_model(
            lambda pixels, training: bright(pixels) * np.nan,
            expected_of(pictures),
            pictures,
            config=small_config(),
        )


def test_bfloat16_is_allowed_its_rounding(pictures):
    """A difference that 8 bits of mantissa explain is no fault in bfloat16, and one in float32."""

    def rounded(pixels, training=False):
        return bright(pixels) + 0.03

    config = small_config("backbone.precision=bfloat16")
    assert check_model(rounded, expected_of(pictures), pictures, config=config) < 0.04
    with pytest.raises(ExportError, match="differs"):
        check_model(rounded, expected_of(pictures), pictures, config=small_config())
