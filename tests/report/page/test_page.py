"""The report as a page: whole, self-contained, escaped, small, and readable without eyes."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.report.conftest import Page, read_page
from tests.report.made_study import HOSTILE, confirm, free_baselines
from tuner.home.records import load_record, save_record
from tuner.text import visible


def keep_only(folder, wanted):
    """Delete the records for which `wanted` is false."""
    for path in folder.records_path.glob("*.json"):
        if not wanted(load_record(path)):
            path.unlink()
            path.with_suffix(".npz").unlink(missing_ok=True)


def fail(folder, name):
    """Turn a record into one that failed before its first report."""
    record = load_record(folder.records_path / f"{name}.json")
    empty = {"state": "failed", "reason": "out of memory", "value": None, "matrix": []}
    save_record(folder.records_path, replace(record, **empty, scores={}, curves={}), log_prob=None)


def test_the_page_is_one_file_that_asks_nobody(hostile_page):
    """No script, no style sheet, no picture and no address but data in the page itself."""
    tags = {tag for tag, _ in hostile_page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for _, attributes in hostile_page.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            if name in attributes:
                assert attributes[name].startswith(("#", "data:image/jpeg;base64,"))
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"https?://", hostile_page.html)
    assert "@import" not in hostile_page.html
    assert not re.search(r"url\((?!#)", hostile_page.html)


def test_the_page_is_sound_html(hostile_page):
    """Every element ends where it should, identifiers are unique and references have targets."""
    assert hostile_page.mismatches == []
    assert [name for name, n in hostile_page.ids.items() if n > 1] == []
    references = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', hostile_page.html)
    assert {a or b for a, b in references} <= set(hostile_page.ids)
    for attributes in hostile_page.all("section"):
        assert attributes["aria-labelledby"] in hostile_page.ids


def test_names_are_shown_as_they_are_and_never_obeyed(hostile_page):
    """Each hostile class name is there as text, without what would steer the page."""
    assert "<script>alert(1)</script>" in hostile_page.text
    for name in HOSTILE:
        lines = {visible(" ".join(name.split())), visible(name.split("\n")[0])}
        assert any(line in hostile_page.text for line in lines)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", hostile_page.html)
    assert "$" in hostile_page.text  # $x_1$ is neither a placeholder nor a formula


def test_scripts_of_the_world_reach_figures_whole(hostile_page):
    """Figures hold emoji, Arabic and Chinese as text, whatever fonts this machine has."""
    drawn = "".join(hostile_page.said("text"))
    for name in ("😀", "نسيج تالف", "猫の種類"):
        assert name in drawn
    assert "▯" not in drawn


def test_figures_say_their_numbers(hostile, hostile_page):
    """Every figure has a text instead; that of recall holds k of n of the rarest class."""
    figures = hostile_page.all("svg")
    assert len(figures) >= 15
    assert all(figure["role"] == "img" for figure in figures)
    assert all(re.search(r"\d", figure["aria-label"]) for figure in figures)
    assert all(image["alt"] for image in hostile_page.all("img"))
    best = max(
        (r for r in hostile[0].records() if r.state == "complete"), key=lambda r: r.value or 0
    )
    k = int(np.argmin(np.sum(best.matrix, axis=1)))
    said = f"{best.title} {best.matrix[k][k]} of {sum(best.matrix[k])}"
    assert any(said in figure["aria-label"] for figure in figures)


def test_long_names_that_begin_alike_stay_apart(make):
    """Where a name is cut, its end stays; the whole name is among the data."""
    names = [f"{'as factories name their folders ' * 3}{k}" for k in range(3)]
    page = read_page(make(names, trials=1))
    cut = {text for text in page.said("bdi") if "…" in text}
    assert {text[-1] for text in cut} == set("012")
    assert set(names) <= set(page.said("bdi"))


def test_trials_are_counted_alike(hostile_page):
    """The head of the page and the search count the same trials, failed ones too."""
    assert re.search(r"· 12 trials, \d+ pruned, 1 failed ·", hostile_page.text)
    captions = hostile_page.said("figcaption")
    assert any(re.match(r"12 trials, \d+ pruned, 1 failed\.", text) for text in captions)


def test_the_structure_can_be_heard(hostile_page):
    """Language, one h1, no level skipped, captions and scopes in every table."""
    assert hostile_page.all("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in hostile_page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip([0, *levels], levels, strict=False))
    assert len(hostile_page.all("caption")) == len(hostile_page.all("table"))
    assert {th["scope"] for th in hostile_page.all("th")} == {"col", "row"}
    for frame in (a for _, a in hostile_page.elements if a.get("class") == "scroll"):
        assert frame["tabindex"] == "0"
        assert frame["aria-label"]


def test_a_confirmed_study_says_so_on_top(hostile, hostile_page):
    """The verdict's own sentence comes first; retest, test and optimism are there."""
    found = json.loads((hostile[0].path / "confirmation.json").read_text("utf-8"))
    assert hostile_page.text.index(found["verdict"]["sentence"]) < 500
    assert "Nothing here is confirmed" not in hostile_page.text
    for row in found["retest"]:
        assert f"{row['mean']:.3f}" in hostile_page.text
    assert f"{found['optimism']['difference']:.3f}" in hostile_page.text


def test_an_unconfirmed_study_says_so_on_top_with_the_command(small_page):
    """Without a confirmation the page says that the number is optimistic, and what to do."""
    page = small_page
    assert page.text.index("Nothing here is confirmed") < 900
    assert "tuner confirm made" in page.said("code")
    assert "Confirmation" not in page.said("h2")


@pytest.mark.parametrize(
    ("better", "said"),
    [
        (0.0, r"macro recall, plain cross-entropy 0\.\d{3}"),
        (
            0.001,
            r"the best baseline \(published recipe\) 0\.\d{3}.*; plain cross-entropy 0\.\d{3}\.",
        ),
    ],
)
def test_the_winner_is_held_against_the_best_baseline(make, better, said):
    """Cross-entropy alone would flatter a search that another baseline comes near."""
    folder = make(trials=1)
    records = folder.records()
    plain = next(r for r in records if r.name == "baseline-cross_entropy")
    values = {plain.name: 0.2, "baseline-published_recipe": 0.2 + better if better else 0.1}
    for record in records:
        value = values.get(record.name, 0.5 if record.kind == "trial" else 0.1)
        scores = {**record.scores, "macro_recall": value}
        made = {"state": "complete", "value": value, "scores": scores, "matrix": plain.matrix}
        save_record(folder.records_path, replace(record, **made), log_prob=None)
    page = read_page(folder)
    assert re.search(said, page.text)
    tiles = page.text[: page.text.index("Nothing here is confirmed")]
    assert ("published recipe" in tiles) is bool(better)


def test_a_free_baseline_that_does_as_well_is_said_on_top(make):
    """The verdict names it before anything else is read, and only then."""
    folder = make(trials=1)
    free_baselines(folder)
    said = "needs no search and does as well"
    assert said not in read_page(folder).text
    found = json.loads((folder.path / "free.json").read_text("utf-8"))
    found["baselines"][2]["value"] = 0.999
    (folder.path / "free.json").write_text(json.dumps(found), "utf-8")
    text = read_page(folder).text
    assert text.index(f"Logistic regression on the features {said}: 0.999.") < 900


@pytest.mark.parametrize("n_classes", [2, pytest.param(43, marks=pytest.mark.slow)])
def test_few_and_many_classes(make, n_classes):
    """Two and 43 classes make a page in which each class has its k of n."""
    folder = make(n_classes, trials=1, rarest=16, largest=40)
    page = read_page(folder)
    best = max((r for r in folder.records() if r.state == "complete"), key=lambda r: r.value)
    for k in range(n_classes):
        assert f"{best.matrix[k][k]} of {sum(best.matrix[k])}" in page.text
    assert page.mismatches == []


def test_a_study_that_has_just_begun(make):
    """Without any record there is still data, settings, and a verdict in words."""
    folder = make(trials=0)
    keep_only(folder, lambda record: False)
    page = read_page(folder)
    assert "No setting has been trained" in page.text
    assert page.said("h2") == ["Data", "Settings and reproduction"]
    assert page.mismatches == []


@pytest.mark.parametrize("trials", [0, 1])
def test_baselines_with_no_trial_or_one(make, trials):
    """A baseline may be the winner; one trial is enough for every figure."""
    page = read_page(make(trials=trials))
    assert "Winner and baselines" in page.said("h2")
    if not trials:
        assert "No trial does better" in page.text
    assert page.mismatches == []


def test_trials_of_which_all_were_pruned(make):
    """Pruned trials without any baseline leave no winner but a search to look at."""
    folder = make(trials=14)
    keep_only(folder, lambda record: record.state == "pruned")
    page = read_page(folder)
    assert "No setting has been trained" in page.text
    assert "Search" in page.said("h2")
    assert page.mismatches == []


@pytest.mark.parametrize(
    "failed",
    [
        ["cross_entropy"],
        ["balanced"],
        pytest.param(["cross_entropy", "balanced"], marks=pytest.mark.slow),
    ],
)
def test_failed_baselines_are_shown_as_failed(make, failed):
    """Without plain cross-entropy the comparisons with it are left out, not wrong."""
    folder = make(trials=3)
    for name in failed:
        fail(folder, f"baseline-{name}")
    page = read_page(folder)
    assert "failed: out of memory" in page.text
    assert ("nothing to compare with" in page.text) == ("cross_entropy" in failed)
    assert page.mismatches == []


def test_a_winner_below_the_recall_floor_is_no_winner(make):
    """When no setting meets the floor, the verdict says so."""
    folder = make(trials=2)
    for record in folder.records():
        missed = replace(record, constraints={"recall_floor": 0.2})
        save_record(folder.records_path, missed, log_prob=None)
    assert "No setting meets the recall floor" in read_page(folder).text


def test_a_winner_that_was_not_tested_has_no_optimism(make):
    """A confirmation without that number says so in words."""
    folder = make(trials=14)
    found = confirm(folder) | {"optimism": None}
    (folder.path / "confirmation.json").write_text(json.dumps(found), "utf-8")
    assert "was not among the models" in read_page(folder).text


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("{", "cannot be read"),
        pytest.param('{"schema": 99}', "schema 99", marks=pytest.mark.slow),
        pytest.param("[]", "schema None", marks=pytest.mark.slow),
    ],
)
def test_files_of_other_commands_that_cannot_be_read_are_named(make, text, note):
    """A damaged or newer confirmation is a note on the page, not a failure."""
    folder = make(trials=1)
    (folder.path / "confirmation.json").write_text(text, "utf-8")
    page = read_page(folder)
    assert re.search(rf"confirmation\.json .*{note}", page.text)
    assert "Nothing here is confirmed" in page.text


def test_missing_and_changed_images_leave_a_place_with_the_reason(make, tmp_path):
    """An example whose file has gone, is damaged or has changed says which."""
    folder = make(2, trials=1, largest=60, rarest=30, has_images=True)
    files = sorted((tmp_path / "images").rglob("*.png"))
    for i, path in enumerate(files):
        if i % 2:
            path.write_bytes(b"not an image")
        else:
            path.unlink()
    page = read_page(folder, tmp_path / "images")
    assert not page.all("img")
    assert "file has changed" in page.text
    assert "cannot be opened" in page.text


@pytest.mark.slow
def test_a_large_study_is_small(make, tmp_path):
    """100 trials of 12 classes with examples stay below 3 MB."""
    folder = make(12, trials=100, has_images=True)
    confirm(folder)
    free_baselines(folder)
    page = read_page(folder, tmp_path / "images")
    assert len(page.html.encode()) < 3_000_000
    assert len(page.all("img")) >= 6
    assert page.mismatches == []


def test_the_same_study_is_the_same_page(small, small_page):
    """Nothing of the moment is in a page, so two reports can be compared."""
    assert read_page(small).html == small_page.html


def test_how_to_make_it_again_is_at_the_end(small_page):
    """Commands, the complete study file, commit and versions are in the last section."""
    page = small_page
    assert page.said("h2")[-1] == "Settings and reproduction"
    end = page.said("section")[-1]
    for text in (
        "tuner run made",
        "tuner export made",
        "tuner train",
        "image_px: 64",
        "0123456789",
    ):
        assert text in end


def test_the_reader_of_these_tests_sees_mismatches():
    """An element that is not ended, and one that ends twice, are noticed."""
    assert Page("<p><b>x</p>").mismatches
    assert Page("<p>x</p></p>").mismatches == ["/p"]


def test_the_chosen_model_is_the_first_of_the_test(hostile, hostile_page):
    """Whatever their order in the file, the chosen one leads; the large numbers are its own."""
    found = json.loads((hostile[0].path / "confirmation.json").read_text("utf-8"))
    assert found["test"]["models"][0]["key"] != found["chosen"]
    chosen = next(m for m in found["test"]["models"] if m["key"] == found["chosen"])
    assert hostile_page.said("dt")[0] == chosen["title"]
    assert hostile_page.said("dd")[0].startswith(f"{chosen['macro_recall']:.3f}")
