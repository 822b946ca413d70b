"""What a user names a study by, and what is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.made import make_folder
from tuner.config import parse_study
from tuner.errors import StudyFileError
from tuner.home import Home
from tuner.study.places import changed, find_home, is_file, leading_question


@pytest.mark.parametrize(
    ("study", "is_one"),
    [
        ("x.yaml", True),
        ("x.yml", True),
        ("studies/x", True),
        ("steel", False),
        ("held", False),
        ("folder", True),
    ],
)
def test_a_name_and_a_file_are_told_apart(
    study: str, is_one: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suffix or a slash means a file; a folder of images hides no study of its name."""
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "home", ["a", "b"], name="held")
    (tmp_path / "held").mkdir()
    (tmp_path / "folder").mkdir()
    assert is_file(study, Home(tmp_path / "home")) is is_one


def test_a_file_without_a_suffix_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies there is read, whatever it is called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study").write_text("name: x")
    assert is_file("study", Home(tmp_path / "home"))


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("# Which one?\nname: x\n", "Which one?"),
        ("\ufeff## Which one?\r\nname: x\n", "Which one?"),
        ("name: x  # no question\n", ""),
        ("", ""),
    ],
)
def test_the_question_is_the_first_comment(text: str, question: str, tmp_path: Path) -> None:
    """Without its marks, with a byte order mark or without; none is an empty one."""
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    assert leading_question(tmp_path / "x.yaml") == question


def test_a_study_with_other_values_is_checked_anew() -> None:
    """The given keys change, all others stay, and what is wrong is named with its source."""
    config = parse_study("{name: x, data: {source: digits}}", source="x.yaml")
    other = changed(config, ["search.trials=3"], source="study 'x'")
    assert other == config.model_copy(
        update={"search": config.search.model_copy(update={"trials": 3})}
    )
    assert changed(config, [], source="study 'x'") == config
    with pytest.raises(StudyFileError) as caught:
        changed(config, ["search.trials=-3"], source="study 'x'")
    assert "search.trials" in str(caught.value)


def test_a_home_may_be_text_or_path(tmp_path: Path) -> None:
    """Both are the same folder."""
    assert find_home(str(tmp_path)).path == find_home(tmp_path).path == tmp_path
