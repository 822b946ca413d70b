from __future__ import annotations

import itertools
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tests.small_study import SIDE, Small, fill, pixels_of, small_config
from tuner.data.image_table import TEST, ImageTable
from tuner.errors import BankError
from tuner.features.bank import BankRows, FeatureBank
from tuner.features.wanted import ViewOf
from tuner.imbalance.rows import Policy, training_turns, view_order
from tuner.search.study import Search, run_search
from tuner.training.inputs import (
    Inputs,
    load_inputs,
    rarer_of_two,
    rows_to_extract,
    views_wanted,
)


@pytest.fixture
def search(small: Small) -> Search:
    """The small study, opened."""
    return small.open()


def test_test_rows_are_never_extracted(search: Search, small: Small) -> None:
    """No file of the sealed test is asked for, in any view."""
    images = search.folder.images
    sealed = {images.paths[i] for i in images.test}
    root = small.table(search.config).root
    wanted = rows_to_extract(search.config, images, root, n_classes=5)
    asked = {w.path.relative_to(root).as_posix() for w in wanted}
    assert len(sealed) > 20
    assert not asked & sealed
    assert asked == set(images.paths) - sealed


def test_no_attribute_holds_a_test_row(search: Search) -> None:
    """Arrays per image are as long as the non-test images, and X has their rows alone."""
    images, inputs = search.folder.images, search.inputs
    chosen = images.search
    n_images = len(images.search)
    for name in ("row_of", "labels", "fold", "rank"):
        assert len(getattr(inputs, name)) == n_images
    assert inputs.fold.min() == 0
    np.testing.assert_array_equal(inputs.labels, images.labels[chosen])
    np.testing.assert_array_equal(inputs.fold, images.fold[chosen])
    assert len(inputs.y) == inputs.X.shape[0] == (inputs.row_of >= 0).sum()
    names = {field.name for field in fields(Inputs)}
    arrays = {"X", "y", "row_of", "labels", "fold", "rank"}
    assert names == arrays | {"class_names", "steps", "rarer_class", "live"}
    assert inputs.live is None  # test_live_inputs.py counts its files


def test_features_that_would_fill_memory_stay_in_their_files(
    small: Small, tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search on the bank's files records what a search on features in memory does."""
    in_memory = small.open("search.trials=1")
    run_search(in_memory)
    monkeypatch.setattr("tuner.training.inputs.free_bytes", lambda: 1000)
    mapped = Small(tmp_path / "mapped", data_home).open("search.trials=1")
    assert isinstance(mapped.inputs.X, BankRows)
    rows = np.arange(len(mapped.inputs.y))
    np.testing.assert_array_equal(
        mapped.inputs.features(rows), ops.convert_to_numpy(in_memory.inputs.X)
    )
    run_search(mapped)
    for a, b in zip(in_memory.folder.records(), mapped.folder.records(), strict=True):
        assert (a.name, a.params, a.matrix) == (b.name, b.params, b.matrix)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("damage", ["deleted", "noise"])
def test_damaged_test_files_change_nothing(
    small: Small, tmp_path: Path, data_home: Path, damage: str
) -> None:
    """After the index every file of the sealed test can vanish or change unnoticed."""
    place = tmp_path / "images"
    for path in sorted((data_home / "datasets" / "digits").glob("digit_[5-9]/*")):
        copy = place / path.relative_to(data_home / "datasets" / "digits")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    config = small_config(f"data.source={place}")
    index = small.table(config)
    images = small.open(f"data.source={place}").folder.images
    for i in images.test:
        path = place / images.paths[i]
        path.unlink()
        if damage == "noise":
            path.write_bytes(b"noise")
    # A fresh bank: every feature is computed now, with the test already damaged.
    bank = FeatureBank(tmp_path / "bank", {"features": "pixels"}, n_features=SIDE * SIDE)
    fill(
        bank,
        rows_to_extract(config, images, index.root, n_classes=5),
        augmentation=config.augmentation,
    )
    inputs = load_inputs(config, images, bank, class_names=index.class_names)
    clean = Small(tmp_path / "clean", data_home).open().inputs
    for name in ("X", "y", "row_of", "labels", "fold", "rank"):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(getattr(inputs, name)),
            ops.convert_to_numpy(getattr(clean, name)),
        )


def test_each_row_is_the_feature_of_its_view(search: Search, small: Small) -> None:
    """X, y and row_of agree: row_of[image, view] is the row of that view's feature and class."""
    inputs, images, config = search.inputs, search.folder.images, search.config
    root, X = small.table(config).root, ops.convert_to_numpy(inputs.X)
    assert X.dtype == np.float32
    for place, i in enumerate(images.search):
        for view in np.flatnonzero(inputs.row_of[place] >= 0):
            row = inputs.row_of[place, view]
            wanted = ViewOf(root / images.paths[i], images.sha256[i], int(view))
            expected = pixels_of(wanted, augmentation=config.augmentation)
            np.testing.assert_array_equal(X[row], expected)
            assert inputs.y[row] == images.labels[i]
    used = inputs.row_of[inputs.row_of >= 0]
    assert sorted(used.tolist()) == list(range(len(X)))


def test_images_come_before_views(search: Search, small: Small) -> None:
    """Extraction asks for all images first, then view 1, and so on, each pair once."""
    root = small.table(search.config).root
    wanted = rows_to_extract(search.config, search.folder.images, root, n_classes=5)
    views = [w.view for w in wanted]
    assert views == sorted(views)
    assert len(set(wanted)) == len(wanted)


@settings(deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=12, max_size=60),
    n_folds=st.integers(2, 4),
    most=st.integers(0, 8),
    cap=st.sampled_from(["largest", "none"]),
    seed=st.integers(0, 99),
    policy=st.sampled_from(["minority", "shared"]),
)
def test_wanted_views_cover_every_trial(
    labels: list[int], n_folds: int, most: int, cap: str, seed: int, policy: Policy
) -> None:
    """Whatever multiplier, fold, baseline or final training: its views have been asked for."""
    y = np.array(labels)
    fold = np.random.default_rng(seed).permutation(np.arange(len(y)) % n_folds)
    config = small_config(f"search.augmentation_multiplier=[0, {most}]", f"augmentation.cap={cap}")
    config = config.model_copy(
        update={"augmentation": config.augmentation.model_copy(update={"policy": policy})}
    )
    wanted = views_wanted(config, y, fold, n_classes=4)
    rank = view_order([str(label) for label in range(len(y))], view_seed=0)
    parts = [np.flatnonzero(fold != k) for k in range(n_folds)] + [np.arange(len(y))]
    asked = [*((m, policy) for m in range(most + 1)), (4, "minority")]  # the published recipe
    for (multiplier, its_policy), images in itertools.product(asked, parts):
        for rows in training_turns(
            y[images],
            rank[images],
            n_classes=4,
            multiplier=multiplier,
            capped=cap == "largest",
            policy=its_policy,
        ):
            assert (rows.views <= wanted[images[rows.images]]).all()


def test_every_multiplier_finds_its_rows(search: Search) -> None:
    """No row of any training set of the study is absent from the table."""
    inputs = search.inputs
    everything = np.arange(len(inputs.labels))
    parts = [np.flatnonzero(inputs.fold != k) for k in range(inputs.n_folds)] + [everything]
    places, views = np.nonzero(inputs.row_of >= 0)
    place_of = dict(zip(inputs.row_of[places, views], places, strict=True))
    policies = {search.config.augmentation.policy, "minority"}  # the published recipe's own
    for part, multiplier, policy in itertools.product(parts, range(9), policies):
        found = inputs.training_rows(part, multiplier=multiplier, capped=True, policy=policy)
        for rows in np.atleast_2d(found):
            assert (rows >= 0).all()
            assert {place_of[row] for row in rows} == set(part)


def test_steps_are_those_of_the_largest_fold(search: Search) -> None:
    """An epoch has ceil(training rows of the largest fold before augmentation / batch) steps."""
    fold = search.inputs.fold
    rows = max((fold != k).sum() for k in range(2))
    assert search.inputs.steps == int(np.ceil(rows / 16))
    assert search.inputs.n_folds == 2
    assert search.inputs.n_classes == 5
    assert search.inputs.rarer_class is None


@pytest.mark.parametrize(
    ("labels", "rarer"), [([0, 1, 1], 0), ([0, 0, 1], 1), ([0, 1], 1), ([1, 1, 0, 0], 1)]
)
def test_rarer_of_two_classes(labels: list[int], rarer: int) -> None:
    """The class with fewer images; on a tie the later in class order."""
    assert rarer_of_two(np.array(labels)) == rarer


def test_rarer_class_counts_no_test_image(tmp_path: Path) -> None:
    """The rarer class is fixed by the non-test images, here other than by all images."""
    labels = np.array([0] * 8 + [1] * 10)
    fold = np.array([0, 1] * 4 + [0, 1, 0, 1, 0, 1] + [TEST] * 4)
    names = tuple(f"{i}" for i in range(18))
    images = ImageTable(names, names, labels, ("a", "b"), fold=fold)
    config = small_config()
    bank = FeatureBank(tmp_path, {}, n_features=1)
    keys = rows_to_extract(config, images, tmp_path, n_classes=2)
    from tuner.features.views import view_key

    names = [view_key(w.sha256, w.view, augmentation=config.augmentation) for w in keys]
    bank.add(names, np.zeros((len(names), 1), dtype=np.float32))
    inputs = load_inputs(config, images, bank, class_names=("a", "b"))
    assert inputs.rarer_class == 1


def test_missing_features_are_one_message(small: Small, tmp_path: Path) -> None:
    """Inputs cannot be read from a bank that has not been filled."""
    search = small.open()
    bank = FeatureBank(tmp_path / "empty", {}, n_features=SIDE * SIDE)
    with pytest.raises(BankError, match="are not in the feature bank"):
        load_inputs(
            search.config, search.folder.images, bank, class_names=search.inputs.class_names
        )


@pytest.mark.usefixtures("quick")
def test_records_hold_no_test_image(search: Search) -> None:
    """Matrix and out-of-fold table of every record have the non-test images and no more."""
    from tuner.home.records import load_log_prob

    run_search(search)
    n_images = len(search.inputs.labels)
    for record in search.folder.records():
        assert np.sum(record.matrix) == n_images
        table = load_log_prob(search.folder.records_path, record.name)
        assert table is not None
        assert table.shape == (n_images, 5)
    assert search.folder.seal == []
