"""Damaged files of a study: found, named and refused by every command that reads them."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.made_study import confirm, free_baselines, make_study
from tuner.errors import BankError, StudyError, TunerError
from tuner.features.bank import FeatureBank
from tuner.files import write_whole
from tuner.home.founding import create_study_folder
from tuner.home.free import load_free
from tuner.home.near_duplicates import load_leaks
from tuner.home.study_folder import StudyFolder
from tuner.report.page.page import render_report

CLASSES = ["a", "b", "<c>"]
BAD: dict[str, bytes] = {
    "empty": b"",
    "binary": b"\0\xff\xfe" * 50,
    "a list": b"[1, 2]",
    "an empty object": b"{}",
    "null": b"null",
    "text": b'"x"',
    "nested too deeply": b"[" * 100_000,
}
TRUTH = ["about.json", "images.csv", "seal.json", "study.yaml", "records/trial-00003.json"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a study that was run and confirmed, to be copied."""
    home = tmp_path_factory.mktemp("original") / "home"
    folder = make_study(home, CLASSES, trials=3)
    found = confirm(folder)
    found["n_search_settings"] = len(folder.records())
    (folder.path / "confirmation.json").write_text(json.dumps(found), "utf-8")
    free_baselines(folder)
    return home


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> StudyFolder:
    """The study in a home of this test."""
    shutil.copytree(original, tmp_path / "home")
    return StudyFolder(tmp_path / "home" / "studies" / "made")


@pytest.fixture
def tuner(monkeypatch, capsys, tmp_path) -> Callable[..., tuple[int, str]]:
    """Run ``tuner WORDS`` in this process: exit code and stderr."""
    from tuner.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["tuner", *words, "--home", str(tmp_path / "home")])
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, capsys.readouterr().err

    return run


COMMANDS = [("status", "made"), ("export", "made", "-o", "best.yaml")]


def assert_refused(done: tuple[int, str], path: Path) -> None:
    """One message that names the file and says what to do, with code 1 or 2."""
    code, err = done
    assert code in (1, 2), err
    assert err.startswith("error: ")
    assert path.name in err
    assert len(err.strip().splitlines()) >= 2


@pytest.mark.parametrize("name", TRUTH)
@pytest.mark.parametrize(
    "bad", ["empty", "binary", "a list", "nested too deeply", "cut off", "gone"]
)
def test_a_damaged_file_of_a_study_is_named(folder, tuner, name, bad):
    """Whatever lies in its place, who relies on it names it; nobody ends in a traceback."""
    path = folder.path / name
    if bad == "gone":
        path.unlink()
    else:
        sound = path.read_bytes()
        path.write_bytes(BAD.get(bad, sound[: len(sound) * 2 // 3]))
    refused = 0
    for words in COMMANDS:
        done = tuner(*words)
        if done[0]:
            assert_refused(done, path)
            refused += 1
    is_missing_trial = bad == "gone" and path.parent.name == "records"
    assert refused or is_missing_trial or (bad == "gone" and name == "seal.json")


def test_records_that_cannot_be_listed_are_not_taken_for_none(folder, tuner):
    """A study whose records are out of reach is refused, not shown or begun as an empty one."""
    folder.records_path.rename(folder.path / "elsewhere")
    folder.records_path.write_text("a file, which like a folder without rights cannot be listed")
    for words in (*COMMANDS, ("report", "made", "-o", "x.html"), ("sync", "made")):
        assert_refused(tuner(*words), folder.records_path)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Path of every key, of lists the first two items, three levels deep."""
    items: list[tuple[Any, Any]] = []
    if len(path) < 3:
        items = list(value.items()) if isinstance(value, dict) else items
        items = list(enumerate(value[:2])) if isinstance(value, list) else items
    return [found for k, v in items for found in [(*path, k), *leaves(v, (*path, k))]]


def test_a_study_file_cut_anywhere_gives_no_defaults(folder):
    """What the lost end said is not replaced by what a new study would take."""
    path = folder.path / "study.yaml"
    sound = path.read_bytes()
    assert StudyFolder(folder.path).config == folder.config
    for n in range(0, len(sound) - 1, 7):
        path.write_bytes(sound[:n])
        with pytest.raises(TunerError):
            _ = StudyFolder(folder.path).config


@pytest.mark.parametrize("name", [TRUTH[0], TRUTH[4]])
def test_any_changed_value_is_used_or_refused(folder, name):
    """Each value of what a study is about, and of a record, replaced or gone."""
    path = folder.path / name
    sound = json.loads(path.read_text("utf-8"))
    for place in leaves(sound):
        for new in (None, "x", [], {}, -1, "gone"):
            tree = copy.deepcopy(sound)
            block = tree
            for key in place[:-1]:
                block = block[key]
            if new == "gone":
                del block[place[-1]]
            else:
                block[place[-1]] = new
            path.write_text(json.dumps(tree), "utf-8")
            fresh = StudyFolder(folder.path)
            try:
                _ = fresh.images, fresh.records(), [str(r.params) for r in fresh.records()]
                _ = [r.recall for r in fresh.records()], [r.violation for r in fresh.records()]
            except StudyError as error:
                assert str(folder.path) in error.where, (place, new)  # noqa: PT017


def test_a_study_that_lost_what_it_is_about_is_not_begun_anew(folder):
    """Its records and the openings of its test would be taken over by another study."""
    images = folder.images
    (folder.path / "about.json").unlink()
    lost = StudyFolder(folder.path)
    with pytest.raises(StudyError, match=r"has records, but its about\.json is missing"):
        create_study_folder(lost, folder.config, images, about={})
    for path in lost.records_path.glob("*.json"):
        path.unlink()
    write_whole(lost.path / "seal.json", '[{"opened_at": "2026", "user": "x", "command": "y"}]')
    with pytest.raises(StudyError, match="has an opened seal"):
        create_study_folder(lost, folder.config, images, about={})


def test_swapped_folds_are_noticed(folder):
    """A table of images whose test was opened by hand is not the one of the study."""
    path = folder.path / "images.csv"
    lines = path.read_text("utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if line.endswith(",-1"))
    lines[at] = lines[at].removesuffix("-1") + "0"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    with pytest.raises(StudyError, match="images or folds are not those"):
        _ = StudyFolder(folder.path).images


def damage(path: Path, bad: str) -> None:
    """Put something else in the place of a confirmation."""
    sound = path.read_bytes()
    half = json.loads(sound)
    del half["test"]
    known = {
        "half": json.dumps(half).encode(),
        "cut off": sound[: len(sound) // 2],
        "of schema 2": json.dumps(json.loads(sound) | {"schema": 2}).encode(),
    }
    path.write_bytes(known.get(bad) or BAD[bad])


CONFIRMED = {
    "status": ("status", "made"),
    "export": ("export", "made", "-o", "best.yaml"),
    "confirm": ("confirm", "made"),
    "confirm --json": ("confirm", "made", "--json"),
}
DAMAGED = ["half", "cut off", "nested too deeply", "of schema 2"]


@pytest.mark.parametrize("bad", DAMAGED)
def test_a_damaged_confirmation_is_one_message_in_every_command(folder, tuner, bad):
    """Each that reads it names it in the same words, with code 1 and what to do."""
    path = folder.path / "confirmation.json"
    damage(path, bad)
    done = {name: tuner(*words) for name, words in CONFIRMED.items()}
    assert {code for code, _ in done.values()} == {1}
    (said,) = {err for _, err in done.values()}
    what, where, do = said.splitlines()
    assert what.startswith("error: the confirmation cannot be read: ")
    assert where.strip() == str(path)
    assert do.strip().endswith("tuner confirm made --again")


@pytest.mark.slow
@pytest.mark.parametrize("bad", ["half", "nested too deeply"])
def test_a_damaged_confirmation_keeps_a_study_out_of_mlflow(folder, tuner, bad):
    """`tuner sync` ends with the message of the others; the page is made and says so."""
    damage(folder.path / "confirmation.json", bad)
    _, said = tuner("status", "made")
    assert tuner("sync", "made") == (1, said)
    assert tuner("report", "made", "-o", "page.html")[0] == 0
    assert "confirmation.json cannot be read" in Path("page.html").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("bad", [*BAD, "cut off", "half a confirmation"])
@pytest.mark.parametrize("name", ["confirmation.json", "free.json"])
def test_a_report_leaves_out_what_is_damaged_and_says_so(folder, name, bad):
    """The page is made without it, with a note that names the file."""
    path = folder.path / name
    sound = path.read_bytes()
    half = json.loads(sound)
    half.pop("test", None)
    half.pop("baselines", None)
    known = {"cut off": sound[: len(sound) // 2], "half a confirmation": json.dumps(half).encode()}
    path.write_bytes(BAD.get(bad) or known.get(bad, b""))
    page = render_report(folder, root=None)
    assert f"{name} " in page


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_damaged_free_baselines_are_as_good_as_none(folder, bad):
    """They are computed again by the next run."""
    (folder.path / "free.json").write_bytes(bad)
    assert load_free(folder.path) == []


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_damaged_leak_facts_are_found_anew(tmp_path, bad):
    """What an earlier start knew of near-duplicates is used whole or not at all."""
    path = tmp_path / "near_duplicates.json"
    path.write_bytes(bad)
    assert load_leaks(StudyFolder(tmp_path)) is None
    counts = {"images": 9, "images_across": 2, "test_images": 3, "test_images_across": 1}
    path.write_text(json.dumps({"schema": 1, **counts}))
    assert load_leaks(StudyFolder(tmp_path)) == {"schema": 1, **counts}
    path.write_text(json.dumps({"schema": 1, **counts, "images": "9"}))
    assert load_leaks(StudyFolder(tmp_path)) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_never_reach_the_bank(tmp_path, bad):
    """One row of a broken backbone would fail every later study on that image."""
    bank = FeatureBank(tmp_path, {"weights": "x"}, n_features=2)
    with pytest.raises(BankError, match="1 of 2 rows of features are not finite") as caught:
        bank.add(["sound", "broken"], np.array([[0, 1], [bad, 0]], dtype=np.float32))
    assert "broken" in caught.value.where
    assert "backbone.weights" in caught.value.do
    assert bank.missing(["sound"]) == ["sound"]
    assert issubclass(BankError, TunerError)
