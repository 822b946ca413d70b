from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.small_study import Small, small_config
from tuner.data.index import ImageIndex
from tuner.data.split import Split
from tuner.errors import StudyError
from tuner.home import Home
from tuner.home.founding import open_study
from tuner.home.study_folder import (
    StudyFolder,
    all_studies,
    check_unchanged,
    create_study_folder,
    find_study,
)

HOLD = """
import sys, time
from pathlib import Path
from tuner.home.study_folder import StudyFolder
with StudyFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def index_of(
    paths: Sequence[str], *, class_names: Sequence[str] = ("a", "b"), grouped: bool = False
) -> ImageIndex:
    """An index of files that nobody opens."""
    n = len(paths)
    return ImageIndex(
        root=Path("/data"),
        paths=tuple(paths),
        labels=np.arange(n, dtype=np.int64) % len(class_names),
        class_names=tuple(class_names),
        sha256=tuple(f"{i:064x}" for i in range(n)),
        groups=np.arange(n, dtype=np.int64) // 2 if grouped else None,
    )


def created(path: Path, index: ImageIndex, *, fold: Sequence[int] | None = None) -> StudyFolder:
    """A new study folder, read afresh."""
    folds = np.array(fold if fold is not None else np.arange(index.n_images) % 3 - 1)
    create_study_folder(StudyFolder(path), small_config(), index, Split(folds, 2), about={})
    return StudyFolder(path)


class TestContent:
    """What is written comes back."""

    def test_settings_names_and_fingerprints(self, tmp_path: Path) -> None:
        """The resolved study file, class names and fingerprints are those of the start."""
        index = index_of([f"a/{i}.png" for i in range(6)], class_names=("NA", "b c/d,e"))
        folder = created(tmp_path / "small", index)
        assert folder.config == small_config()
        assert folder.class_names == ["NA", "b c/d,e"]
        assert folder.about["data_fingerprint"] == index.fingerprint
        assert folder.name == "small"
        assert folder.records() == []

    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(
        paths=st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
            min_size=3,
            max_size=9,
            unique=True,
        ),
        grouped=st.booleans(),
    )
    def test_images_with_any_path(
        self, tmp_path_factory: pytest.TempPathFactory, paths: list[str], *, grouped: bool
    ) -> None:
        """Commas, quotes, line ends, spaces, NA and any script survive in images.csv."""
        index = index_of(paths, class_names=("NA", 'q"u,o\nte', "null"), grouped=grouped)
        images = created(tmp_path_factory.mktemp("home") / "s", index).images
        assert images.paths == paths
        assert images.sha256 == list(index.sha256)
        np.testing.assert_array_equal(images.labels, index.labels)
        if grouped:
            np.testing.assert_array_equal(images.groups, index.groups)
        else:
            assert images.groups is None

    @pytest.mark.parametrize(
        "path", ["NA", "nan", "007", "1e5", " lead", "trail ", 'a"b', "a,b", "ü/日本.png", "a\rb"]
    )
    def test_paths_that_look_like_something_else(self, tmp_path: Path, path: str) -> None:
        """A path is text, whatever number or missing value it looks like."""
        images = created(tmp_path / "s", index_of([path, "b.png", "c.png"])).images
        assert images.paths[0] == path

    def test_search_rows_are_those_outside_the_test(self, tmp_path: Path) -> None:
        """Fold -1 is the sealed test and no search row."""
        index = index_of([f"{i}.png" for i in range(6)])
        images = created(tmp_path / "s", index, fold=[0, -1, 1, -1, 0, 1]).images
        assert images.search.tolist() == [0, 2, 4, 5]

    def test_exists_only_when_whole(self, tmp_path: Path) -> None:
        """A folder whose making was killed before its last file is no study."""
        folder = created(tmp_path / "studies" / "s", index_of(["a", "b", "c"]))
        assert folder.exists
        (folder.path / "about.json").unlink()
        assert not StudyFolder(folder.path).exists
        assert all_studies(Home(tmp_path)) == []


class TestSeal:
    """Openings of the sealed test."""

    def test_each_opening_is_kept(self, tmp_path: Path) -> None:
        """Who, when and with what command, in order; the count is returned."""
        folder = created(tmp_path / "s", index_of(["a", "b", "c"]))
        assert folder.seal == []
        assert folder.open_seal(command="tuner confirm s") == 1
        assert folder.open_seal(command="tuner train x.yaml --open-test") == 2
        seal = StudyFolder(folder.path).seal
        assert [entry["command"] for entry in seal] == [
            "tuner confirm s",
            "tuner train x.yaml --open-test",
        ]
        assert all(entry["opened_at"] and entry["user"] for entry in seal)

    def test_user_without_a_name_has_a_number(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without USER the opening says the account's name, or its number where it has none."""
        monkeypatch.delenv("USER", raising=False)
        monkeypatch.delenv("LOGNAME", raising=False)
        folder = created(tmp_path / "s", index_of(["a", "b", "c"]))
        folder.open_seal(command="x")
        try:
            expected = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            expected = str(os.getuid())
        assert folder.seal[0]["user"] == expected


class TestLock:
    """One process at a time runs a study."""

    def test_second_process_is_told_who_runs_it(self, tmp_path: Path) -> None:
        """Another process holds it: one error with its number; once it is killed, it is free."""
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "s")], stdout=subprocess.PIPE
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(StudyError) as caught, StudyFolder(tmp_path / "s").locked():
                pass
            assert f"'s' is already running (process {holder.pid})" in str(caught.value)
            assert "tuner status s" in str(caught.value)
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.communicate()
        with StudyFolder(tmp_path / "s").locked():
            assert (tmp_path / "s" / ".lock").read_text() == str(os.getpid())

    def test_free_again_after_an_error(self, tmp_path: Path) -> None:
        """Leaving the block, in whatever way, lets go."""
        folder = StudyFolder(tmp_path / "s")
        with pytest.raises(KeyboardInterrupt), folder.locked():
            raise KeyboardInterrupt
        with folder.locked():
            pass

    def test_other_studies_are_free(self, tmp_path: Path) -> None:
        """Two studies of one home run at once."""
        with StudyFolder(tmp_path / "s").locked(), StudyFolder(tmp_path / "t").locked():
            pass

    def test_lock_alone_is_no_study(self, tmp_path: Path) -> None:
        """A start that failed before the study was made leaves none behind."""
        with StudyFolder(tmp_path / "studies" / "s").locked():
            pass
        assert all_studies(Home(tmp_path)) == []


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
        opened = open_study(config, small.index(config), small.home)
        assert not opened.is_new
        assert opened.folder.images.paths == first.folder.images.paths

    @pytest.mark.parametrize("change", ["changed", "removed", "added"])
    def test_other_images_are_refused_by_path(
        self, small: Small, tmp_path: Path, change: str
    ) -> None:
        """One image more, less or different is named."""
        place = tmp_path / "images"
        _copy(small.data.path / "datasets" / "digits", place)
        config = small_config(f"data.source={place}")
        open_study(config, small.index(config), small.home)
        target, other = place / "digit_7" / "003.png", place / "digit_8" / "000.png"
        if change == "changed":
            target.write_bytes(other.read_bytes())
        elif change == "removed":
            target.unlink()
        else:
            target = place / "digit_7" / "new, one.png"
            target.write_bytes(other.read_bytes())
        with pytest.raises(StudyError) as caught:
            open_study(config, small.index(config), small.home)
        assert f"1 {change} (digit_7/{target.name})" in str(caught.value)
        assert str(place) in str(caught.value)

    def test_many_differences_are_counted(self, tmp_path: Path) -> None:
        """Each kind of change is counted, with its first path."""
        folder = created(tmp_path / "s", index_of([f"{i}.png" for i in range(6)]))
        now = index_of(["0.png", *[f"n{i}.png" for i in range(3)]])
        with pytest.raises(StudyError, match=r"3 added \(n0.png, …\), 5 removed \(1.png, …\)"):
            check_unchanged(folder, small_config(), now)

    def test_other_labels_are_refused(self, tmp_path: Path) -> None:
        """The same files in other classes are other data."""
        index = index_of([f"{i}.png" for i in range(6)])
        folder = created(tmp_path / "s", index)
        with pytest.raises(StudyError, match="labels or groups differ"):
            check_unchanged(folder, small_config(), replace(index, labels=1 - index.labels))

    def test_same_study_has_the_same_split(self, small: Small, tmp_path: Path) -> None:
        """The split is made once and read afterwards, and a fresh start makes the same one."""
        first, second = small.open(), small.open()
        third = Small(tmp_path / "other", small.data.path).open()
        np.testing.assert_array_equal(first.folder.images.fold, second.folder.images.fold)
        np.testing.assert_array_equal(first.folder.images.fold, third.folder.images.fold)
        assert first.folder.about["split_fingerprint"] == third.folder.about["split_fingerprint"]


def test_unknown_study_lists_the_known_ones(tmp_path: Path) -> None:
    """The message names the studies of the home and how to start one."""
    for name in ("b", "a"):
        created(tmp_path / "studies" / name, index_of(["x", "y", "z"]))
    with pytest.raises(StudyError) as caught:
        find_study(Home(tmp_path), "c")
    assert "no study 'c' in this home; there: a, b" in str(caught.value)
    with pytest.raises(StudyError, match="there: none"):
        find_study(Home(tmp_path / "empty"), "c")
    assert find_study(Home(tmp_path), "a").path == tmp_path / "studies" / "a"


def _copy(source: Path, target: Path) -> None:
    for path in sorted(source.glob("digit_[5-9]/*")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
