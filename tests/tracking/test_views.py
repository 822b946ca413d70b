"""The saved views of a study's experiment: which runs and charts MLflow opens with."""

from __future__ import annotations

import json
from dataclasses import replace

from tuner.tracking.address import comparison_paths
from tuner.tracking.names import safe_names
from tuner.tracking.views import ALL_RUNS, SHORT_LIST, TAG, saved_views


def state(view: str) -> dict:
    """What MLflow reads of a view."""
    return json.loads(json.loads(view)["state"])


def test_the_short_list_is_the_winner_and_the_baselines(study):
    """Runs of other trials are left out; without a winner there is no short list."""
    names = safe_names(study.class_names)
    assert list(saved_views(study.folder, [], names=names, run_ids={})) == [TAG + ALL_RUNS]
    records = [
        study.add("baseline", None, name="baseline-balanced", value=0.5),
        study.add(number=3, value=0.9),
        study.add(number=4, value=0.7),
    ]
    run_ids = {record.name: f"id{i}" for i, record in enumerate(records)}
    views = saved_views(study.folder, records, names=names, run_ids=run_ids)
    assert state(views[TAG + SHORT_LIST])["searchFilter"] == "attributes.run_id IN ('id0', 'id1')"
    # MLflow's grid of images begins with the last row of the table.
    assert state(views[TAG + SHORT_LIST])["orderByAsc"]
    assert not state(views[TAG + ALL_RUNS])["orderByAsc"]


def test_a_view_fits_into_a_tag_and_every_chart_into_a_section(study):
    """MLflow takes 20,000 characters; a chart of no section would not be seen."""
    names = [f"{i}{'é' * 59}" for i in range(len(study.class_names))]
    view = saved_views(study.folder, [], names=names, run_ids={})[TAG + ALL_RUNS]
    assert len(view) < 20_000
    found = state(view)
    sections = {section["uuid"] for section in found["compareRunSections"]}
    assert {card["metricSectionId"] for card in found["compareRunCharts"]} <= sections
    matrices = found["compareRunCharts"][0]
    assert (matrices["type"], matrices["showRunParams"]) == ("IMAGE", False)


def test_the_addresses_open_the_views_that_are_there(study, make_recorder, kept):
    """An experiment without views, of an earlier version, opens by a filter in the address."""
    uri = kept().client.tracking_uri
    assert comparison_paths(uri, "nowhere") == ["/"]
    kept().client.create_experiment("old")
    (path,) = comparison_paths(uri, "old")
    assert "searchFilter" in path
    recorder = make_recorder()
    recorder.open_study(study.folder)
    recorder.record(study.folder, study.add(number=3))
    recorder.close_study(study.folder, is_finished=True)
    paths = comparison_paths(uri, study.folder.name)
    assert [f"viewStateShareKey={key}" in path for key, path in
            zip((ALL_RUNS, SHORT_LIST), paths, strict=True)] == [True, True]  # fmt: skip


def test_of_very_many_runs_the_best_are_shown(study):
    """Beyond a thousand the view holds the best, and its name says of how many."""
    first = study.add(number=3, value=0.9)
    records = [
        replace(first, name=f"trial-{i:05d}", number=i, scores={"macro_recall": i / 10_000})
        for i in range(1500)
    ]
    names = safe_names(study.class_names)
    text = saved_views(study.folder, records, names=names, run_ids={})[TAG + ALL_RUNS]
    assert json.loads(text)["name"] == "The best 1,000 of 1,500 runs"
    least = float(state(text)["searchFilter"].rpartition(">= ")[2])
    assert sum(r.scores["macro_recall"] >= least for r in records) == 1000
    few = saved_views(study.folder, records[:1000], names=names, run_ids={})[TAG + ALL_RUNS]
    assert "macro_recall" not in state(few)["searchFilter"]
