"""A study begins once and goes on with the same: images, groups, folds and settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.home.made import created, table_of
from tests.small_study import Small, small_config
from tuner.errors import StudyError
from tuner.home import Home
from tuner.home.founding import (
    as_begun,
    check_unchanged,
    create_study_folder,
    is_grouped,
    open_study,
    read_images,
    split_images,
    with_groups,
)
from tuner.home.study_folder import StudyFolder, find_study

GROUPED = "data.group_by=near_duplicates"


@pytest.fixture
def images(tmp_path):
    """Configuration, images without groups, and a home for studies."""
    config = small_config(GROUPED)
    return config, read_images(config, Home(tmp_path)), Home(tmp_path)


def test_images_that_are_not_in_groups_are_never_split(images):
    """Forgetting to group would leak in silence; it is a mistake of the program."""
    config, table, home = images
    assert not is_grouped(config, table)
    with pytest.raises(ValueError, match="not in groups"):
        split_images(config, table)
    with pytest.raises(ValueError, match="not in groups"):
        open_study(config, table, home)


def test_a_study_goes_on_with_the_groups_that_it_began_with(images):
    """No features are asked for a second time, and the images count as unchanged."""
    config, table, home = images
    groups = np.arange(table.n_images) // 2
    begun = open_study(config, replace(table, groups=groups, is_grouped=True), home)
    again = open_study(config, table, home)
    assert again.about["id"] == begun.about["id"]
    np.testing.assert_array_equal(again.images.groups, groups)
    assert again.images.fingerprint == begun.about["data_fingerprint"]
    fold = again.images.fold
    assert all(len(set(fold[groups == g].tolist())) == 1 for g in range(groups.max() + 1))


def test_groups_of_other_images_are_not_taken(images):
    """When a file has changed, it is said; old groups are not put on new images."""
    config, table, home = images
    begun = open_study(
        config, replace(table, groups=np.arange(table.n_images), is_grouped=True), home
    )
    changed = replace(table, sha256=("0" * 64, *table.sha256[1:]))
    assert with_groups(config, changed, begun).groups is None
    with pytest.raises(StudyError, match=r"1 changed \("):
        open_study(config, changed, home)


def test_a_study_does_not_change_between_groups_and_none(images):
    """Trials on a random split and on a grouped one cannot be compared."""
    config, table, home = images
    open_study(config, replace(table, groups=np.arange(table.n_images), is_grouped=True), home)
    with pytest.raises(StudyError, match=r"data\.group_by"):
        open_study(small_config(), table, home)


class TestGoingOn:
    """Only what leaves trials comparable may change."""

    @pytest.mark.parametrize(
        ("override", "said"),
        [
            ("seed=1", "seed: 0 -> 1"),
            ("search.gamma=[0, 2]", "search.gamma: [0.0, 5.0] -> [0.0, 2.0]"),
            ("training.epochs=5", "training.epochs: 4 -> 5"),
            ("objective.recall_floor=0.5", "objective.recall_floor: null -> 0.5"),
            ("augmentation.view_seed=1", "augmentation.view_seed: 0 -> 1"),
            ("split.folds=3", "split.folds: 2 -> 3"),
        ],
    )
    def test_changed_setting_is_refused_by_name(
        self, small: Small, override: str, said: str
    ) -> None:
        """The message names the key with both values, and what to do."""
        small.open()
        with pytest.raises(StudyError) as caught:
            small.open(override)
        assert said in str(caught.value)
        assert "give the study another name" in str(caught.value)

    @pytest.mark.parametrize(
        "override",
        [
            "search.trials=9",
            "search.sampler=random",
            "search.pruner=none",
            "search.retries=0",
            "search.batch=2",
        ],
    )
    def test_free_setting_may_change_and_is_stored(self, small: Small, override: str) -> None:
        """Trials stay comparable: going on is allowed, and the stored study file says it."""
        small.open()
        config = small.open(override).config
        assert config == small_config(override)
        assert find_study(small.home, "small").config == config

    def test_same_files_elsewhere_are_the_same_data(self, small: Small, tmp_path: Path) -> None:
        """The place of the data may change, their content not."""
        first = small.open()
        moved = tmp_path / "moved"
        _copy(small.data.path / "datasets" / "digits", moved)
        config = small_config(f"data.source={moved}")
        folder = open_study(config, small.table(config), small.home)
        assert folder.about["id"] == first.folder.about["id"]
        assert folder.images.paths == first.folder.images.paths
        assert folder.images.root == moved

    @pytest.mark.parametrize("change", ["changed", "removed", "added"])
    def test_other_images_are_refused_by_path(
        self, small: Small, tmp_path: Path, change: str
    ) -> None:
        """One image more, less or different is named."""
        place = tmp_path / "images"
        _copy(small.data.path / "datasets" / "digits", place)
        config = small_config(f"data.source={place}")
        open_study(config, small.table(config), small.home)
        target, other = place / "digit_7" / "003.png", place / "digit_8" / "000.png"
        if change == "changed":
            target.write_bytes(other.read_bytes())
        elif change == "removed":
            target.unlink()
        else:
            target = place / "digit_7" / "new, one.png"
            target.write_bytes(other.read_bytes())
        with pytest.raises(StudyError) as caught:
            open_study(config, small.table(config), small.home)
        assert f"1 {change} (digit_7/{target.name})" in str(caught.value)
        assert str(place) in str(caught.value)

    def test_many_differences_are_counted(self, tmp_path: Path) -> None:
        """Each kind of change is counted, with its first path."""
        folder = created(tmp_path / "s", table_of([f"{i}.png" for i in range(6)]))
        now = table_of(["0.png", *[f"n{i}.png" for i in range(3)]])
        with pytest.raises(StudyError, match=r"3 added \(n0.png, …\), 5 removed \(1.png, …\)"):
            check_unchanged(folder, small_config(), now)

    def test_other_labels_are_refused(self, tmp_path: Path) -> None:
        """The same files in other classes are other data."""
        table = table_of([f"{i}.png" for i in range(6)])
        folder = created(tmp_path / "s", table)
        with pytest.raises(StudyError, match="labels or groups differ"):
            check_unchanged(folder, small_config(), replace(table, labels=1 - table.labels))

    def test_same_study_has_the_same_split(self, small: Small, tmp_path: Path) -> None:
        """The split is made once and read afterwards, and a fresh start makes the same one."""
        first, second = small.open(), small.open()
        third = Small(tmp_path / "other", small.data.path).open()
        np.testing.assert_array_equal(first.folder.images.fold, second.folder.images.fold)
        np.testing.assert_array_equal(first.folder.images.fold, third.folder.images.fold)
        assert first.folder.about["split_fingerprint"] == third.folder.about["split_fingerprint"]


def _copy(source: Path, target: Path) -> None:
    for path in sorted(source.glob("digit_[5-9]/*")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())


@pytest.mark.parametrize("then", ["keras", "openvino", None])
def test_a_study_goes_on_with_the_engine_it_began_with(tmp_path, then):
    """Where the file leaves the engine open the stored one counts; another choice is refused."""
    table = table_of([f"{i}.png" for i in range(40)])
    folder = StudyFolder(tmp_path / "studies" / "small")
    chosen = {"backbone": small_config().backbone.model_copy(update={"engine": then})}
    fold = np.arange(40) % 3 - 1
    create_study_folder(
        folder, small_config().model_copy(update=chosen), replace(table, fold=fold), about={}
    )
    folder = StudyFolder(folder.path)
    assert as_begun(small_config(), folder).backbone.engine == then
    assert as_begun(small_config(), StudyFolder(tmp_path / "none")) == small_config()
    other = small_config(f"backbone.engine={'keras' if then == 'openvino' else 'openvino'}")
    assert as_begun(other, folder) == other
    with pytest.raises(StudyError, match=r"begun with other settings: backbone\.engine: "):
        check_unchanged(folder, other, table)


def test_a_study_of_before_goes_on_with_views_of_rare_classes_alone(tmp_path):
    """What was stored without the key began with `minority`; to ask for another is refused."""
    table = table_of([f"{i}.png" for i in range(40)])
    folder = StudyFolder(tmp_path / "studies" / "small")
    begun = small_config("augmentation.policy=minority")
    fold = np.arange(40) % 3 - 1
    create_study_folder(folder, begun, replace(table, fold=fold), about={})
    stored = folder.path / "study.yaml"
    text = stored.read_text()
    assert "  policy: minority\n" in text
    stored.write_text(text.replace("  policy: minority\n", ""))  # as an earlier version wrote it
    folder = StudyFolder(folder.path)
    assert folder.config == begun
    assert as_begun(small_config(), folder) == begun
    other = small_config("augmentation.policy=shared")
    assert as_begun(other, folder) == other
    with pytest.raises(StudyError, match=r"augmentation\.policy: minority -> shared"):
        check_unchanged(folder, other, table)
