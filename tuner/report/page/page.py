"""One self-contained page about a study: no network, no script, light and dark, for print."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from tuner.config import dump_study
from tuner.evaluation.intervals import macro_recall_standard_error
from tuner.home.study_folder import StudyFolder
from tuner.report.figures.palette import css_variables
from tuner.report.figures.titles import short_title
from tuner.report.page.confirmed import confirmed_parts
from tuner.report.page.contents import Contents, read_contents
from tuner.report.page.illustrations import (
    Illustrator,
    confusion_figure,
    curve_figures,
    example_figures,
    gain_figure,
    heat_map_figure,
    history_figure,
    hyperparameter_figures,
    search_recall,
)
from tuner.report.page.markup import (
    Column,
    Html,
    anchor,
    details,
    element,
    escape,
    joined,
    name,
    section,
    table,
)
from tuner.report.page.tables import class_table, free_table, trials_table, winner_table
from tuner.search.importance import GROUPS
from tuner.search.importance import importances as measured_importances

_PROBLEMS_SHOWN = 50

Section = tuple[str, Html]


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
    pen = Illustrator()
    sections = [part for part in _sections(contents, pen) if part is not None]
    links = [element("a", head, href=f"#{anchor(head)}") for head, _ in sections]
    notes = [element("p", note, css="note warning") for note in contents.notes]
    about = folder.about
    return Template(_resource("page.html")).substitute(
        title=escape(f"{folder.name} · tuner"),
        style=_style(),
        name=escape(folder.name),
        question=escape(str(about.get("question") or "")),
        facts=_facts(contents),
        verdict=joined([_verdict(contents), *notes]),
        links=joined(links),
        sections=joined(html for _, html in sections),
        footer=_footer(contents),
    )


def _resource(file: str) -> str:
    return resources.files("tuner.report.page").joinpath(file).read_text("utf-8")


def _style() -> str:
    text = _resource("page.css")
    return text.replace("/*light*/", css_variables("light")).replace(
        "/*dark*/", css_variables("dark")
    )


def _facts(contents: Contents) -> Html:
    search, test = contents.counts
    trials = [r for r in contents.records if r.kind == "trial"]
    ended = [
        f"{len(trials)} trials",
        *(
            f"{n} {state}"
            for state in ("pruned", "failed")
            if (n := sum(r.state == state for r in trials))
        ),
    ]
    return joined(
        [
            f"{int(search.sum() + test.sum()):,} images in {len(search)} classes, "
            f"{int(test.sum()):,} of them in the sealed test · {', '.join(ended)} · "
            f"{contents.folder.config.split.folds} folds · "
            f"begun {str(contents.folder.about.get('created_at', ''))[:10]}"
        ]
    )


def _verdict(contents: Contents) -> Html:
    found = contents.confirmation
    if found:
        is_better = bool(found["verdict"].get("is_better"))
        return element(
            "div",
            element("p", found["verdict"]["sentence"], css="sentence"),
            _headline(contents),
            css=f"verdict {'better' if is_better else 'open'}",
            role="note",
        )
    return element("div", *_unconfirmed(contents), css="verdict open", role="note")


def _unconfirmed(contents: Contents) -> list[Html]:
    best, plain = contents.best, contents.plain
    if best is None:
        text = "No setting has been trained to its end yet; there is nothing to compare."
        go_on = element("p", "Go on with ", element("code", f"tuner run {contents.folder.name}"))
        return [element("p", text, css="sentence"), go_on]
    said = _search_sentence(contents)
    n_settings = len(contents.records)
    caution = (
        f"Nothing here is confirmed: the winner is the best of {n_settings} settings on the very "
        "images that chose it, so its number is optimistic. Fresh seeds, fresh splits and the "
        "sealed test tell: "
        if plain is not best
        else "Nothing here is confirmed. Fresh seeds, fresh splits and the sealed test tell: "
    )
    command = element("code", f"tuner confirm {contents.folder.name}")
    parts = [
        element("p", said, css="sentence"),
        _headline(contents),
        *_rival(contents),
        element("p", caution, command, css="caution"),
    ]
    if openings := len(contents.folder.seal):
        times = "once" if openings == 1 else f"{openings} times"
        parts.append(element("p", f"The sealed test has been opened {times} already.", css="note"))
    return parts


def _rival(contents: Contents) -> list[Html]:
    """That a free baseline does as well, where one does: the search was not needed."""
    free = (contents.free or {}).get("baselines", [])
    rival = max(free, key=lambda baseline: baseline["value"], default=None)
    best = contents.best
    if rival is None or best is None or best.value is None or rival["value"] < best.value:
        return []
    text = f"{rival['title']} needs no search and does as well: {rival['value']:.3f}."
    return [element("p", text[0].upper() + text[1:], css="warning")]


def _search_sentence(contents: Contents) -> str:
    best, plain, baseline = contents.best, contents.plain, contents.baseline
    if best is None:
        return ""
    if not best.is_feasible:
        return (
            f"No setting meets the recall floor; {best.title} comes nearest, with a worst class "
            f"of {best.scores['min_recall']:.2f}."
        )
    if best.kind == "baseline":
        return f"No trial does better on the validation folds than a baseline: {best.title}."
    if baseline is None:
        return f"On the validation folds {best.title} does best; there is no baseline."
    gain = best.scores["macro_recall"] - baseline.scores["macro_recall"]
    error = macro_recall_standard_error(np.array(baseline.matrix))
    beside = "" if gain > error else ", which is within one standard error"
    other, rest = f"the best baseline ({short_title(baseline)})", ""
    if baseline is plain:
        other = "plain cross-entropy"
    elif plain is not None:
        rest = f"; plain cross-entropy {plain.scores['macro_recall']:.3f}"
    return (
        f"On the validation folds {best.title} ({best.params}) reaches "
        f"{best.scores['macro_recall']:.3f} macro recall, {other} "
        f"{baseline.scores['macro_recall']:.3f}{beside}{rest}."
    )


def _headline(contents: Contents) -> Html:
    """A few large numbers."""
    best, found = contents.best, contents.confirmation
    items: list[tuple[str, str, object]] = []
    if found:
        for model in contents.tested[:3]:
            items.append((str(model["title"]), f"{model['macro_recall']:.3f}", "sealed test"))
    elif best is not None:
        others = (contents.baseline, contents.plain)
        shown = {r.name: r for r in (best, *others) if r is not None}
        for record in shown.values():
            error = macro_recall_standard_error(np.array(record.matrix))
            items.append(
                (short_title(record), f"{record.scores['macro_recall']:.3f}", f"± {error:.3f}")
            )
        k = int(np.argmin(best.recall))
        items.append(("worst class", f"{best.recall[k]:.2f}", name(contents.class_names[k])))
    cells = [
        element("div", element("dt", head), element("dd", value, " ", element("small", note)))
        for head, value, note in items
    ]
    return element("dl", *cells, css="headline") if cells else Html("")


def _sections(contents: Contents, pen: Illustrator) -> list[Section | None]:
    best = contents.best
    is_gain = best is not None and best.name != "baseline-cross_entropy"
    has_matrices = any(r.matrix for r in contents.records)
    return [
        section("Confirmation", *confirmed_parts(contents, pen))
        if contents.confirmation
        else None,
        section("Winner and baselines", winner_table(contents), search_recall(contents, pen))
        if contents.compared
        else None,
        section("Gain over cross-entropy", gain_figure(contents, pen)) if is_gain else None,
        section("Free baselines", free_table(contents)) if contents.free else None,
        section("Confusions", *_confusions(contents, pen)) if contents.compared else None,
        section("Examples", example_figures(contents)) if is_gain else None,
        section("Search", *_search(contents, pen)) if has_matrices else None,
        section("All trials", trials_table(contents)) if contents.records else None,
        section("Data", *_data(contents)),
        section("Settings and reproduction", *_reproduction(contents)),
    ]


def _confusions(contents: Contents, pen: Illustrator) -> list[Html]:
    first, *others = contents.compared
    drawn = [confusion_figure(contents, first, pen)]
    for record in others:
        inner = confusion_figure(contents, record, pen)
        drawn.append(details(f"The same of {record.title}", inner))
    return drawn


def _search(contents: Contents, pen: Illustrator) -> list[Html]:
    trials = [r for r in contents.records if r.kind == "trial" and r.matrix]
    parts = [history_figure(contents, pen)] if trials else []
    if trials:
        parts += [
            element("h3", "Objective against each hyperparameter"),
            hyperparameter_figures(contents, pen),
        ]
        parts += importances(contents)
    parts += [element("h3", "Every class in every setting"), heat_map_figure(contents, pen)]
    if contents.best is not None:
        parts += [element("h3", "Learning curves"), curve_figures(contents, pen)]
    return parts


def importances(contents: Contents) -> list[Html]:
    """What each hyperparameter moves, how much of the variation it explains, and how surely."""
    found = measured_importances(contents.records, contents.folder.config)
    if found is None:
        return []
    rows = [
        [member.replace("_", " "), group, f"{found.shares[member]:.0%}"]
        for group, members in GROUPS.items()
        for member in members
    ]
    totals = ", ".join(f"{group} {share:.0%}" for group, share in found.groups.items())
    caption = f"Share of the objective's variation over {found.n_trials} settings: {totals}."
    heads = [Column("", "text"), Column("moves the", "text"), "share"]
    warning = [element("p", found.warning, css="note")] if found.warning else []
    return [table(caption, heads, rows, css="half"), *warning]


def _data(contents: Contents) -> list[Html]:
    parts = [class_table(contents)]
    problems = contents.folder.about.get("problems") or []
    if problems:
        listed = [element("li", name(p[0]), f": {p[1]}") for p in problems[:_PROBLEMS_SHOWN]]
        more = len(problems) - _PROBLEMS_SHOWN
        listed += [element("li", f"and {more} more")] if more > 0 else []
        parts.append(details(f"{len(problems)} files left out", element("ul", *listed)))
    return parts


def _reproduction(contents: Contents) -> list[Html]:
    folder, about = contents.folder, contents.folder.about
    commit = (about.get("git") or {}).get("commit", "")
    lines = [
        *([f"git checkout {commit}"] if commit else []),
        f"tuner run {folder.name}.yaml      # the settings below, saved under this name",
        f"tuner confirm {folder.name}",
        f"tuner export {folder.name} -o best.yaml",
        "tuner train best.yaml -o best.keras",
    ]
    is_dirty = (about.get("git") or {}).get("dirty") == "yes"
    facts = {
        "git commit": commit + (" with changes" if commit and is_dirty else ""),
        "data fingerprint": about.get("data_fingerprint", ""),
        "split fingerprint": about.get("split_fingerprint", ""),
        **(contents.records[0].environment if contents.records else {}),
        **(about.get("versions") or {}),
    }
    rows = [[key, element("code", value)] for key, value in facts.items() if value]
    return [
        element("pre", element("code", "\n".join(lines))),
        element("h3", "Study file"),
        element("pre", element("code", dump_study(folder.config))),
        element("h3", "Made with"),
        table("Versions and fingerprints.", [Column("", "text"), Column("", "text")], rows),
    ]


def _footer(contents: Contents) -> Html:
    version = (contents.folder.about.get("versions") or {}).get("imbalance-tuner", "")
    return escape(f"Written by tuner {version} with: tuner report {contents.folder.name}")
