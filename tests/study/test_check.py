"""What the images of a study are, found without training or starting anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done
from tests.cli.conftest import tuner as command_line  # noqa: F401  # a fixture
from tests.study.conftest import COUNTS, Heard
from tuner.errors import DataError, SplitError
from tuner.study import Study, UngroupedError

HOSTILE = "<b>bold & 'x'"


@pytest.fixture
def folder(digits: Path, tmp_path: Path) -> Path:
    """The digits with a damaged file, a copy of another class and a class of a hostile name."""
    folder = tmp_path / "images"
    shutil.copytree(digits, folder)
    (folder / "digit_8").rename(folder / HOSTILE)
    copied, *_ = sorted((folder / "digit_3").iterdir())
    shutil.copy(copied, folder / "digit_5" / "copy.png")
    (folder / "digit_5" / "broken.png").write_bytes(copied.read_bytes()[:40])
    return folder


def study_of(folder: Path, **places: object) -> Study:
    """A study of an image folder."""
    return Study.of_folder(
        folder, image_px=32, overrides=["split.folds=2"], listener=None, **places
    )


def test_classes_are_counted_in_all_and_by_part(digits: Path, tmp_path: Path) -> None:
    """Search and test together are all, and nothing was trained or begun."""
    study = study_of(digits, home=tmp_path / "home")
    classes = study.check().classes
    assert dict(classes["images"]) == COUNTS
    assert (classes["search"] + classes["test"] == classes["images"]).all()
    assert (classes["test"] > 0).all()
    assert not study.has_begun


def test_a_check_is_what_the_study_begins_with(ran) -> None:
    """The same images in the same folds as the study that was run of them."""
    table = ran.study.check().table
    assert table.split_fingerprint == ran.study.folder.images.split_fingerprint


def test_what_stands_in_the_way_is_named(folder: Path, tmp_path: Path) -> None:
    """The damaged file, the copy under another label, and the class with few images."""
    check = study_of(folder, home=tmp_path / "home").check()
    (problem,) = check.problems
    assert problem.startswith("digit_5/broken.png: ")
    ((first, second),) = check.conflicts
    assert {check.table.labels[first], check.table.labels[second]} == {1, 2}
    assert check.duplicates == check.conflicts
    assert any(HOSTILE in note for note in check.notes)


def test_a_check_shows_itself_with_names_as_they_are(folder: Path, tmp_path: Path) -> None:
    """As text all is said; as HTML a class is no markup."""
    check = study_of(folder, home=tmp_path / "home").check()
    shown, page = repr(check), check._repr_html_()
    assert shown.startswith("images: 55 images in 3 classes")
    for text in ("left out digit_5/broken.png", "same bytes, different labels", HOSTILE):
        assert text in shown
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold &amp;" in page
    assert "same bytes, different labels" in page


def test_the_facts_are_those_of_the_command_line(
    folder: Path,
    tmp_path: Path,
    command_line: Callable[..., Done],  # noqa: F811
) -> None:
    """``tuner check --json`` prints what `facts` gives."""
    (tmp_path / "images.yaml").write_text(
        f"{{name: images, data: {{source: '{folder}', image_px: 32}}, split: {{folds: 2}}}}"
    )
    facts = Study("images.yaml", home="home", listener=None).check().facts()
    done = command_line("check", "images.yaml", "--home", "home", "--json")
    assert json.loads(done.out) == json.loads(json.dumps(facts))
    assert facts["near_duplicates"] is None
    assert [row["images"] for row in facts["classes"]] == [12, 24, 19]


def test_near_duplicates_are_looked_for_when_asked(folder: Path, tmp_path: Path) -> None:
    """With `features=True` the copy is found, and a sheet of the pairs is drawn."""
    heard = Heard()
    study = Study.of_folder(
        folder,
        image_px=32,
        overrides=["split.folds=2", "backbone.weights=random"],
        home=tmp_path / "home",
        listener=heard,
    )
    assert study.check().near_duplicates is None
    with pytest.raises(ValueError, match="nobody has looked"):
        study.check().grouped()
    check = study.check(features=True)
    assert check.near_duplicates is not None
    assert len(check.near_duplicates.first) >= 1
    assert check.sheet is not None
    assert check.sheet.is_file()
    assert "near-duplicates" in repr(check)
    done, total = heard.all("progress")[-1]
    assert done == total == 54, "the copy is the same bytes, and extracted once"
    assert study.check().near_duplicates is not None, "features are there now"


def test_grouping_needs_features_first(folder: Path, tmp_path: Path) -> None:
    """The call that helps is named: no command line is in sight."""
    study = study_of(folder, home=tmp_path / "home", group_by="near_duplicates")
    with pytest.raises(UngroupedError) as caught:
        study.check()
    assert caught.value.do == "extract them: check(features=True)"


def test_images_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    """No folder, and a class too small for the folds."""
    with pytest.raises(DataError, match="nowhere"):
        study_of(tmp_path / "nowhere", home=tmp_path / "home").check()


def test_a_class_too_small_for_the_folds_is_an_error(digits: Path, tmp_path: Path) -> None:
    """Before anything is extracted."""
    folder = tmp_path / "few"
    shutil.copytree(digits, folder)
    for path in sorted((folder / "digit_8").iterdir())[1:]:
        path.unlink()
    with pytest.raises(SplitError, match="digit_8"):
        study_of(folder, home=tmp_path / "home").check()
