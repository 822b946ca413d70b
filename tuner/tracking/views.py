"""How MLflow's UI shows a study: saved views of its experiment, with charts, columns and order.

MLflow keeps the state of its page as JSON in a tag of the experiment and opens it by a key in the
address. The form is its own, read by its script; one that does not know a key ignores it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuner.home.records import Record, winner
from tuner.home.study_folder import StudyFolder
from tuner.setting import HYPERPARAMETERS, in_words

TAG = "mlflow.sharedViewState."
ALL_RUNS = "tuner-all"
SHORT_LIST = "tuner-baselines"

_RUNS = "tags.`tuner.kind` != 'study' AND tags.`tuner.kind` != 'confirm'"
_MOST_RUNS = 1000  # a page draws its charts from; with more it takes long
_CLASSES = 6  # the rarest ones have charts in view, the others in sections that are closed
_COLUMNS = (
    4  # of classes in the table, which MLflow sorts by name: all on a screen of 1,440 pixels
)
_SECTIONS = (  # name, cards in a row, height of a card in pixels
    ("Confusion matrices", 1, 980),
    (f"The {in_words(len(HYPERPARAMETERS))} hyperparameters and macro recall", 1, 400),
    ("Recall, the rarest classes first", 3, 360),
    ("Epoch by epoch", 3, 360),
)
# MLflow would open a section for each group of metrics; their names are those it gives.
_CLOSED = (
    "recall", "precision", "f1", "support", "rows", "weight", "val", "val/recall", "train",
    "Model metrics", "System metrics",
)  # fmt: skip


def saved_views(
    folder: StudyFolder,
    records: Sequence[Record],
    *,
    names: Sequence[str],
    run_ids: Mapping[str, str],
) -> dict[str, str]:
    """Tags of the experiment that hold its views: all runs, and the winner with the baselines.

    Args:
        folder: The study.
        records: Its records.
        names: Safe class names, in class order.
        run_ids: Run of each record that has one.
    """
    rarest = [names[k] for k in np.argsort(folder.images.search_counts, kind="stable")[:_CLASSES]]
    began_ms = min((round(record.started_s * 1000) for record in records), default=0)
    views = {ALL_RUNS: _search_view(records)}
    best = winner(list(records))
    shown = [r.name for r in records if r.kind == "baseline" or (best and r.name == best.name)]
    ids = ", ".join(f"'{run_ids[name]}'" for name in shown if name in run_ids)
    if best and ids:
        views[SHORT_LIST] = ("Winner and baselines", f"attributes.run_id IN ({ids})")
    return {
        f"{TAG}{key}": json.dumps(
            {
                "name": name,
                "createdAt": began_ms,
                "updatedAt": began_ms,
                "state": json.dumps(_state(chosen, rarest, is_short=key == SHORT_LIST)),
            }
        )
        for key, (name, chosen) in views.items()
    }


def _search_view(records: Sequence[Record]) -> tuple[str, str]:
    """Name and filter of the view of a search; of many runs it shows the best, and says so."""
    shown = [record for record in records if record.kind != "confirm"]
    if len(shown) <= _MOST_RUNS:
        return "All runs of the search", _RUNS
    recalls = sorted((r.scores.get("macro_recall", 0.0) for r in shown), reverse=True)
    least = math.floor(recalls[_MOST_RUNS - 1] * 1e6) / 1e6  # MLflow's filter takes plain numbers
    name = f"The best {_MOST_RUNS:,} of {len(shown):,} runs"
    return name, f"{_RUNS} AND metrics.`macro_recall` >= {least:f}"


def _state(chosen: str, rarest: Sequence[str], *, is_short: bool) -> dict[str, Any]:
    """What MLflow's page of an experiment keeps of itself.

    Its grid of images runs against the order of the table, so the short list ends with the
    winner: the first two matrices are the winner's and that of the best baseline.
    """
    finals = ["macro_recall", "min_recall", *(f"recall/{name}" for name in rarest)]
    sections = [
        {"uuid": f"tuner-{i}", "name": name, "display": True, "columns": n, "cardHeight": height}
        for i, (name, n, height) in enumerate(_SECTIONS)
    ]
    sections += [{"uuid": f"tuner-{name}", "name": name, "display": False} for name in _CLOSED]
    return {
        "searchFilter": chosen,
        "orderByKey": "metrics.`macro_recall`",
        "orderByAsc": is_short,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "selectedColumns": [
            *(f"metrics.`{key}`" for key in finals[: 2 + _COLUMNS]),
            *(f"params.`{key}`" for key in HYPERPARAMETERS),
        ],
        "compareRunCharts": list(_cards(finals, rarest)),
        "compareRunSections": [{"isReordered": True, **section} for section in sections],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "runsHiddenMode": "FIRST_10_RUNS",
    }


def _cards(finals: Sequence[str], rarest: Sequence[str]) -> list[dict[str, Any]]:
    """The charts in view; without the params in words two matrices stand side by side."""
    curves = ["val/macro_recall", *(f"val/recall/{name}" for name in rarest)]
    step = {"xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear"}
    smooth = {"lineSmoothness": 0, "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True}
    cards: list[tuple[int, str, dict[str, Any]]] = [
        (0, "IMAGE", {"imageKeys": ["confusion_matrix"], "step": 0, "showRunParams": False}),
        (
            1,
            "PARALLEL",
            {
                "selectedParams": list(HYPERPARAMETERS),
                "selectedMetrics": ["macro_recall"],
                "showAllRuns": True,
            },
        ),
        *((2, "BAR", {"metricKey": key}) for key in finals),
        *(
            (3, "LINE", {"metricKey": key, "selectedMetricKeys": [key], **step, **smooth})
            for key in curves
        ),
    ]
    common = {"deleted": False, "isGenerated": False, "runsCountToCompare": 20}
    return [
        {"type": kind, "uuid": f"tuner-card-{i}", "metricSectionId": f"tuner-{section}"}
        | common
        | more
        for i, (section, kind, more) in enumerate(cards)
    ]
