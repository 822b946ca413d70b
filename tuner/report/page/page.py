"""One self-contained page about a study: no network, no script, light and dark, for print."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tuner.config import dump_study
from tuner.home.baselines import PLAIN
from tuner.home.confirmation import Confirmation
from tuner.home.study_folder import StudyFolder
from tuner.report.figures.palette import css_variables
from tuner.report.page.contents import Contents, read_contents
from tuner.report.page.examples import galleries
from tuner.report.page.illustrations import (
    Pen,
    confusion_figure,
    curve_figures,
    gain_figure,
    heat_map_figure,
    history_figure,
    hyperparameter_figures,
    retest_figure,
    sealed_recall,
    search_recall,
)
from tuner.report.page.templates import render
from tuner.report.page.twins import doubts, parted
from tuner.report.page.verdict import headline, rival, sentence
from tuner.report.views import views_sentence
from tuner.search.importance import GROUPS, importances


def render_report(folder: StudyFolder, *, root: Path | None) -> str:
    """The report of a study as one HTML page.

    Args:
        folder: The study's folder.
        root: Folder of the images, for examples; None leaves their places empty.

    Returns:
        A complete HTML document.

    Raises:
        StudyError: If a record is damaged.
    """
    contents = read_contents(folder, root=root)
    sections = _sections(contents, Pen())
    page = render(
        "page.html",
        contents=contents,
        style=_style(),
        headline=headline(contents),
        sentence=sentence(contents),
        rival=rival(contents),
        sections=sections,
    )
    return str(page)  # text like any other for who keeps it


def _style() -> Markup:
    text = resources.files("tuner.report.page").joinpath("page.css").read_text("utf-8")
    return Markup(
        text.replace("/*light*/", css_variables("light")).replace(
            "/*dark*/", css_variables("dark")
        )
    )


def _sections(contents: Contents, pen: Pen) -> dict[str, Markup]:
    """The sections that a study has something for, by heading, in the order of the page."""
    best, found = contents.best, {}

    def add(heading: str, template: str, **values: Any) -> None:
        found[heading] = render(template, contents=contents, **values)

    if contents.confirmation:
        add(
            "Confirmation",
            "confirmation.html",
            **_confirmation(contents, contents.confirmation, pen),
        )
    if contents.compared:
        add("Winner and baselines", "winner.html", recall=search_recall(contents, pen))
    if best is not None and best.name != PLAIN:
        add("Gain over cross-entropy", "gain.html", gain=gain_figure(contents, pen))
    if contents.free is not None:
        add("Free baselines", "free.html")
    if contents.compared:
        drawn = [confusion_figure(contents, record, pen) for record in contents.compared]
        add("Confusions", "confusions.html", confusions=drawn)
    if best is not None and best.name != PLAIN:
        add("Examples", "examples.html", galleries=galleries(contents))
    if any(record.matrix for record in contents.records):
        add("Search", "search.html", **_search(contents, pen))
    if contents.records:
        add("All trials", "trials.html")
    if contents.leak:
        add("Near-duplicates", "twins.html", pairs=parted(contents), leak=contents.leak)
    shown, n_pairs = doubts(contents)
    if shown:
        add("Labels to check", "labels.html", pairs=shown, n_pairs=n_pairs)
    add("Data", "data.html")
    add("Settings and reproduction", "reproduction.html", **_reproduction(contents))
    return found


def _confirmation(contents: Contents, found: Confirmation, pen: Pen) -> dict[str, Any]:
    test = found.test
    return {
        "n_complete": sum(r.state == "complete" for r in contents.records),
        "n_openings": len(contents.folder.seal),
        "rarest": sorted(range(len(test.support)), key=test.support.__getitem__),
        "recall": sealed_recall(contents, pen),
        "retest": retest_figure(found, pen),
        "titles": {model.key: model.title for model in test.models},
    }


def _search(contents: Contents, pen: Pen) -> dict[str, Any]:
    has_trials = any(r.kind == "trial" and r.matrix for r in contents.records)
    return {
        "history": history_figure(contents, pen) if has_trials else None,
        "hyperparameters": hyperparameter_figures(contents, pen) if has_trials else [],
        "importances": importances(contents.records, contents.folder.config)
        if has_trials
        else None,
        "groups": GROUPS,
        "views": views_sentence(contents.folder, contents.records),
        "heat_map": heat_map_figure(contents, pen),
        "curves": curve_figures(contents, pen),
    }


def _reproduction(contents: Contents) -> dict[str, Any]:
    about, git = contents.about, contents.about["git"]
    commit = git.get("commit", "")
    is_dirty = git.get("dirty") == "yes"
    facts = {
        "git commit": commit + (" with changes" if commit and is_dirty else ""),
        "data fingerprint": about.get("data_fingerprint", ""),
        "split fingerprint": about.get("split_fingerprint", ""),
        **(contents.records[0].environment if contents.records else {}),
        **about["versions"],
    }
    return {"commit": commit, "facts": facts, "study_file": dump_study(contents.folder.config)}
