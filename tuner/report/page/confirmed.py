"""What ``tuner confirm`` found: retest on fresh seeds, sealed test, optimism, calibration."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from tuner.report.figures.recall import recall_table
from tuner.report.figures.retest import plot_seeds, seed_table
from tuner.report.page.contents import Contents
from tuner.report.page.illustrations import Illustrator, recall_figure
from tuner.report.page.markup import Column, Html, details, element, joined, name, scrolling, table
from tuner.report.page.tables import worst

_GROUPS = "They take images for independent and ignore the groups."


def confirmed_parts(contents: Contents, pen: Illustrator) -> list[Html]:
    """Everything below the verdict of a confirmed study."""
    found = contents.confirmation or {}
    return [
        _opening(contents, found),
        element("h3", "Sealed test"),
        _test_table(contents),
        _comparisons(found["test"]),
        _test_recall(contents, found["test"], pen),
        _class_gains(contents, found["test"]),
        element("h3", "Retest with fresh seeds and splits"),
        _retest_figure(found, pen),
        _retest_table(found),
        element("h3", "Optimism of the search"),
        _optimism(found.get("optimism")),
    ]


def _opening(contents: Contents, found: Mapping[str, Any]) -> Html:
    times = int(found.get("opening", 1))
    text = (
        f"The sealed test was opened at {_moment(found['opened_at'])} by {found['opened_by']} "
        f"with “{found['command']}”"
        + ("." if times == 1 else f"; this was opening number {times}, so it is not untouched.")
    )
    n_now = len([r for r in contents.records if r.state == "complete"])
    n_then = int(found.get("n_search_settings", n_now))
    later = max(len(contents.folder.seal) - times, 0)
    if later:
        text += f" It has been opened {later} more times since."
    all_now = len(contents.records)
    if n_then < n_now:
        text += f" The search has gone on since: {n_then} settings then, {all_now} now."
    return element("p", text, css="note")


def _title(row: Mapping[str, Any]) -> Html:
    setting = row.get("setting")
    small = element("small", setting) if setting else ""
    return joined([str(row["title"]), " ", small])


def _test_table(contents: Contents) -> Html:
    rows = []
    for model in contents.tested:
        matrix = np.array(model["matrix"])
        values = model["values"]
        calibration = model.get("calibration") or {}
        rows.append(
            [
                str(model["title"]),
                f"{model['macro_recall']:.3f}",
                f"{min(values):.3f} to {max(values):.3f}" if values else "",
                worst(matrix, contents.labels),
                *(_number(calibration.get(key)) for key in ("balanced_nll", "ece", "brier")),
            ]
        )
    heads = [
        Column("", "text"),
        "macro recall, mean of seeds",
        Column("seeds", "wide"),
        "worst class",
        Column("balanced log loss", "wide"),
        Column("calibration error", "wide"),
        Column("Brier", "wide"),
    ]
    css = ["strong", *[""] * (len(rows) - 1)] if rows else []
    caption = (
        "Models trained on all other images, on the sealed test. Worst class and calibration are "
        "those of the model of the study seed; lower is better for the last three."
    )
    return table(caption, heads, rows, row_css=css)


def _comparisons(test: Mapping[str, Any]) -> Html:
    titles = {model["key"]: str(model["title"]) for model in test["models"]}
    rows = []
    for pair in test["comparisons"]:
        said = "clear" if pair["is_clear"] else "not clear: the interval holds 0"
        if pair["low"] > 0 and not pair["is_clear"]:
            said = "not clear"
        if pair.get("warning"):
            said += f". {pair['warning']}"
        ours, theirs = (titles.get(pair[key], pair[key]) for key in ("model", "against"))
        rows.append(
            [
                f"{ours} over {theirs}",
                _signed(pair["gain"]),
                f"{_signed(pair['low'])} to {_signed(pair['high'])}",
                said,
            ]
        )
    heads = [Column("", "text"), "gain in macro recall", "95 % interval", Column("", "text")]
    return table("Paired differences on the sealed test, over images and seeds.", heads, rows)


def _test_recall(contents: Contents, test: Mapping[str, Any], pen: Illustrator) -> Html:
    models = contents.tested[:4]
    titles = [str(model["title"]) for model in models]
    found = recall_table([m["matrix"] for m in models], contents.class_names, titles=titles)
    groups = _GROUPS if test.get("has_groups") else ""
    caption = (
        "Recall of each class on the sealed test, models of the study seed, with 95 % Wilson "
        f"intervals; counts are those of {titles[0]}. {groups}"
    )
    return recall_figure(found, pen, caption=caption.strip(), warning=groups)


def _class_gains(contents: Contents, test: Mapping[str, Any]) -> Html:
    """Images gained and lost in each class with exact McNemar tests."""
    if not test["comparisons"]:
        return Html("")
    titles = {model["key"]: str(model["title"]) for model in test["models"]}
    pairs = test["comparisons"]
    heads = [Column("class", "text"), "images"]
    heads += [f"over {titles.get(pair['against'], pair['against'])}" for pair in pairs]
    order = np.argsort(test["support"], kind="stable")
    rows = [
        [
            name(contents.class_names[k]),
            int(test["support"][k]),
            *(_gained(pair["classes"][k]) for pair in pairs),
        ]
        for k in order
    ]
    caption = (
        "Images gained and lost, with the p value of an exact McNemar test, Holm's correction "
        f"over the classes. {_GROUPS if test.get('has_groups') else ''}"
    )
    inner = table(caption.strip(), heads, rows)
    return details("Gained and lost, class by class", scrolling(inner, label="Gained and lost"))


def _gained(row: Mapping[str, Any]) -> str:
    return f"+{row['gained']} −{row['lost']}, p {row['p_holm']:.2g}"


def _retest_figure(found: Mapping[str, Any], pen: Illustrator) -> Html:
    values = seed_table(found["retest"], chosen=found["chosen"])
    alt = "Retest, mean macro recall: " + "; ".join(
        f"{row['title']} {row['mean']:.3f}" for row in found["retest"]
    )
    caption = (
        "A dot for each fresh seed and split, a bar for the mean; blue: within one standard "
        "error of the best; hollow: what the search had said."
    )
    plot = lambda room_px: plot_seeds(values, room_px=room_px)  # noqa: E731
    return pen.figure(plot, alt=f"{alt}.", caption=caption)


def _retest_table(found: Mapping[str, Any]) -> Html:
    rows, css = [], []
    for row in found["retest"]:
        behind = "" if not row["behind"] else f"{_signed(-row['behind'])}"
        error = row.get("behind_standard_error")
        behind += f" ±{error:.3f}" if behind and error is not None else ""
        rows.append(
            [
                _title(row),
                _number(row.get("validation")),
                f"{row['mean']:.3f}",
                behind,
                "yes" if row["is_within"] else "no",
            ]
        )
        css.append("strong" if row["key"] == found["chosen"] else "")
    heads = [
        Column("", "text"),
        Column("search", "wide"),
        "retest",
        "to the best",
        Column("within one error", "wide"),
    ]
    caption = (
        "Mean macro recall over the fresh seeds. Chosen (bold): the simplest within one standard "
        "error of the best."
    )
    return table(caption, heads, rows, row_css=css)


def _optimism(found: Mapping[str, Any] | None) -> Html:
    if not found:
        text = "The winner of the search was not among the models of the sealed test."
        return element("p", text, css="note")
    rows = [
        ["in the search, best of all settings", _number(found.get("validation"))],
        ["retest with fresh seeds and splits", _number(found.get("retest"))],
        ["sealed test", _number(found.get("test"))],
        ["search minus test", _number(found.get("difference"))],
    ]
    caption = "Macro recall of the winner: what the search said, and what was left of it."
    return table(caption, [Column("", "text"), "macro recall"], rows, css="half")


def _moment(written: object) -> str:
    """A time as people write it; what is none stays as it is."""
    try:
        at = datetime.fromisoformat(str(written))
    except ValueError:
        return str(written)
    return f"{at:%Y-%m-%d %H:%M} {at:%Z}".strip()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
