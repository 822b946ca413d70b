"""What a browser shows of a real study: runs, matrices side by side, description, report."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.ui.conftest import QUESTION
from tuner.search.folder import StudyFolder
from tuner.search.records import winner
from tuner.tracking.content import run_name

pytestmark = [pytest.mark.slow, pytest.mark.browser]

PATIENCE_MS = 60_000


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


def matrices(page: Any) -> list[tuple[int, int, int]]:
    """Left, top and width of the confusion matrices within the window."""
    found = page.eval_on_selector_all(
        "img[src*=confusion_matrix]",
        "all => all.map(e => [e.getBoundingClientRect(), e.naturalWidth])"
        ".filter(([r, n]) => n > 0 && r.top >= 0 && r.bottom <= innerHeight)"
        ".map(([r, n]) => [Math.round(r.left), Math.round(r.top), Math.round(r.width)])",
    )
    return [tuple(place) for place in found]


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
    numbers = [float(text) for text in re.findall(r"0\.\d+", page.inner_text("body"))]
    for record in records:
        assert record.scores["macro_recall"] == pytest.approx(
            min(numbers, key=lambda n: abs(n - record.scores["macro_recall"])), abs=5e-4
        )


@pytest.mark.parametrize(("view", "n_least"), [("open", 10), ("shorter", 3)])
def test_two_confusion_matrices_stand_side_by_side(view, n_least, pages, open_page):
    """Without a click, both views show two matrices on one line, large enough to be read."""
    page = open_page(pages[view], height=1200)
    page.wait_for_function(
        "[...document.querySelectorAll('img[src*=confusion_matrix]')]"
        f".filter(image => image.naturalWidth > 0).length >= {n_least}",
        timeout=PATIENCE_MS,
    )
    page.wait_for_timeout(1000)  # the last places move while charts come in
    shown = matrices(page)
    assert max(Counter(top for _, top, _ in shown).values()) >= 2
    assert {width for *_, width in shown} == {384}


def test_the_charts_are_hyperparameters_recalls_and_curves(pages, open_page):
    """The view has its own sections; MLflow's other ones are closed."""
    page = open_page(pages["open"], height=3000)
    for head in ("Confusion matrices", "The four hyperparameters", "Recall, the rarest classes"):
        page.get_by_text(head).first.wait_for(timeout=PATIENCE_MS)
    page.get_by_text("Epoch by epoch").first.wait_for(timeout=PATIENCE_MS)


def test_the_parents_page_shows_the_description(pages, parent, open_page):
    """Question, data, best so far and the class table are read without a click."""
    _, experiment, run = parent
    base = pages["open"].split("/#/")[0]
    page = open_page(f"{base}/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}")
    page.get_by_text(QUESTION).first.wait_for(timeout=PATIENCE_MS)
    text = page.inner_text("body")
    assert "sealed for the test" in text
    assert "Best so far" in text
    assert page.locator("td", has_text="digit_9").count() >= 1


@pytest.mark.parametrize("width", [1280, 400])
def test_the_report_in_mlflow_needs_nothing_and_fits(width, parent, open_page, tmp_path):
    """No console error, no request to any host, no horizontal scroll."""
    client, _, run = parent
    place = Path(client.download_artifacts(run.info.run_id, "report.html", str(tmp_path)))
    page = open_page(place.as_uri(), width=width, height=900)
    assert page.faults == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
