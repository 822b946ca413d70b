"""What a browser shows of a real study: runs, matrices side by side, description, report."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.report.made_study import HOSTILE, confirm, make_study
from tests.ui.conftest import QUESTION
from tuner.home.records import winner
from tuner.home.study_folder import StudyFolder
from tuner.report.page.page import render_report
from tuner.tracking.content import run_name

pytestmark = [pytest.mark.slow, pytest.mark.browser]

PATIENCE_MS = 60_000
LINE_PX = 18


@pytest.fixture(scope="session")
def records(home: Path) -> list[Any]:
    """The records of the study."""
    return StudyFolder(home / "studies" / "small").records()


@pytest.fixture(scope="session")
def parent(home: Path) -> Any:
    """The study's own run, and a client that reads it."""
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'small'")
    (run,) = client.search_runs([experiment.experiment_id], "tags.`tuner.kind` = 'study'")
    return client, experiment, run


def matrices(page: Any) -> list[tuple[int, int, int, str]]:
    """Left, top, width and address of the confusion matrices within the window, in reading order.

    MLflow's address of an image names its run.
    """
    found = page.eval_on_selector_all(
        "img[src*=confusion_matrix]",
        "all => all.map(e => [e.getBoundingClientRect(), e.naturalWidth, e.src])"
        ".filter(([r, n]) => n > 0 && r.top >= 0 && r.bottom <= innerHeight)"
        ".map(([r, n, src]) => [...[r.left, r.top, r.width].map(Math.round), src])",
    )
    return sorted((tuple(place) for place in found), key=lambda place: (place[1], place[0]))


def assert_quiet_and_narrow(page: Any) -> None:
    """No console error, no request to any host, no horizontal scroll."""
    assert page.faults == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )


def rows_of(page: Any) -> list[list[str]]:
    """Texts in each row of the runs table, which MLflow draws in two parts."""
    parts = page.eval_on_selector_all(
        "[role=row][row-index]", "all => all.map(e => [e.getAttribute('row-index'), e.innerText])"
    )
    rows: dict[str, list[str]] = {}
    for index, text in parts:
        rows.setdefault(index, []).extend(text.split("\n"))
    return list(rows.values())


def test_the_runs_table_shows_names_and_recalls(pages, records, open_page):
    """Every trial stands by its setting beside its macro recall, the best first."""
    page = open_page(pages["open"].replace("compareRunsMode=CHART&", ""), height=1600, width=2000)
    best = winner(records)
    page.get_by_text(run_name(best)).first.wait_for(timeout=PATIENCE_MS)
    names = page.locator("[role=row] a", has_text="×").all_inner_texts()
    expected = sorted(
        (r for r in records if r.kind == "trial"), key=lambda r: -r.scores["macro_recall"]
    )
    assert len(names) == 15
    assert set(names) == {run_name(r) for r in expected}
    assert names[0] == run_name(expected[0])
    rows = rows_of(page)
    for record in records:
        row = next(texts for texts in rows if run_name(record) in texts)
        said = [text for text in row if re.fullmatch(r"[01](\.\d+)?", text)]
        # Five classes, of which the four rarest have a column.
        shown = [record.scores["macro_recall"], record.scores["min_recall"], *record.recall[1:]]
        for value in shown:  # MLflow cuts digits off and rounds none
            assert any(abs(float(text) - value) < 1e-4 for text in said), (value, said)


@pytest.mark.parametrize(("view", "n_least"), [("open", 10), ("shorter", 3)])
def test_two_confusion_matrices_stand_side_by_side(
    view, n_least, pages, parent, records, open_page
):
    """Without a click, both views show two matrices on one line, large enough to be read.

    The short list begins with the winner's, which is in view on a small screen, too.
    """
    client, experiment, _ = parent
    page = open_page(pages[view], height=1200)
    page.wait_for_function(
        "[...document.querySelectorAll('img[src*=confusion_matrix]')]"
        f".filter(image => image.naturalWidth > 0).length >= {n_least}",
        timeout=PATIENCE_MS,
    )
    page.wait_for_timeout(1000)  # the last places move while charts come in
    shown = matrices(page)
    beside = Counter(top for _, top, *_ in shown)
    assert max(beside.values()) >= 2
    assert {width for _, _, width, _ in shown} == {384}
    assert len({address for *_, address in shown}) == len(shown)
    if view == "shorter":
        ours = f"tags.`tuner.record` = '{winner(records).name}'"
        (run,) = client.search_runs([experiment.experiment_id], ours)
        assert run.info.run_id in shown[0][-1]


def test_the_charts_are_hyperparameters_recalls_and_curves(pages, open_page):
    """The view has its own sections; MLflow's other ones are closed."""
    page = open_page(pages["open"], height=3000)
    for head in ("Confusion matrices", "The four hyperparameters", "Recall, the rarest classes"):
        page.get_by_text(head).first.wait_for(timeout=PATIENCE_MS)
    page.get_by_text("Epoch by epoch").first.wait_for(timeout=PATIENCE_MS)


def test_the_parents_page_shows_the_description(pages, parent, open_page):
    """Question and best so far are seen without a click, data and class table with one."""
    _, experiment, run = parent
    base = pages["open"].split("/#/")[0]
    page = open_page(f"{base}/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}")
    page.get_by_text(QUESTION).first.wait_for(timeout=PATIENCE_MS)
    more = page.get_by_text("Show more").first
    more.wait_for(timeout=PATIENCE_MS)
    best = page.get_by_text("Best so far").first.bounding_box()
    assert best["y"] + LINE_PX < more.bounding_box()["y"]
    more.click()
    page.get_by_text("Show less").first.wait_for(timeout=PATIENCE_MS)
    page.get_by_text("sealed for the test").first.scroll_into_view_if_needed()
    row = page.locator("tr", has_text="digit_9").first
    assert re.search(r"digit_9\s+16\s+4\s+\d\.\d\d \(\d+ of 16\)", row.inner_text())
    assert row.bounding_box()["height"] > LINE_PX


@pytest.fixture(scope="session")
def hostile_report(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> str:
    """Address of a report of classes with hostile names."""
    place = tmp_path_factory.mktemp("hostile")
    folder = make_study(place, HOSTILE, trials=6, has_images=True)
    confirm(folder)
    page = place / "report.html"
    page.write_text(render_report(folder, root=place / "images"), encoding="utf-8")
    return page.as_uri()


@pytest.mark.parametrize("width", [1280, 400])
def test_hostile_names_neither_run_nor_widen_the_page(width, hostile_report, open_page):
    """No dialog, error, request or horizontal scroll, with every part unfolded, too."""
    page = open_page(hostile_report, width=width, height=900)
    page.on("dialog", lambda dialog: page.faults.append(dialog.message))
    page.reload()  # with somebody listening to dialogs
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert_quiet_and_narrow(page)
    assert page.locator("text=<script>alert(1)</script>").count() > 1


def test_the_keyboard_reaches_sections_and_numbers(hostile_report, open_page):
    """Tab and Enter follow the contents, unfold numbers, and arrows scroll a wide table."""
    page = open_page(hostile_report, width=400, height=900)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#confirmation"
    first = page.locator("summary").first
    while not first.evaluate("e => e === document.activeElement"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement !== document.body"), "nothing more to reach"
    page.keyboard.press("Enter")
    assert page.locator("details").first.evaluate("e => e.open")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "scroll"
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    wide = page.locator(".scroll:has(.dense)").first
    wide.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)  # it glides
    assert wide.evaluate("e => e.scrollLeft") > 0


@pytest.mark.parametrize("width", [1280, 400])
def test_the_report_in_mlflow_needs_nothing_and_fits(width, parent, open_page, tmp_path):
    """No console error, no request to any host, no horizontal scroll."""
    client, _, run = parent
    place = Path(client.download_artifacts(run.info.run_id, "report.html", str(tmp_path)))
    assert_quiet_and_narrow(open_page(place.as_uri(), width=width, height=900))
