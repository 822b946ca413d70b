"""The Markdown that MLflow shows on a study's own run."""

from __future__ import annotations

import html
import re

import numpy as np

from tuner.home.confirmation import load_confirmation
from tuner.home.near_duplicates import leak_of
from tuner.home.records import Record, best_baseline, winner
from tuner.home.study_folder import StudyFolder
from tuner.text import one_line
from tuner.tracking.content import run_name

_LENGTH = 7900  # MLflow's limit of a tag is 8000
_CLASSES_SHOWN = 40


def describe(folder: StudyFolder, records: list[Record]) -> str:
    """Question, verdict, the best so far, data and class table, as Markdown."""
    parts = [
        _question(folder),
        *_trust(folder),
        _best(records),  # MLflow shows the first lines alone until it is asked for more
        _data(folder),
        _classes(folder, records),
    ]
    return "\n\n".join(part for part in parts if part)[:_LENGTH]


def _question(folder: StudyFolder) -> str:
    """The comment at the head of the study file, where one was kept."""
    question = folder.about.get("question")
    if not question:
        text = (folder.path / "study.yaml").read_text(encoding="utf-8")
        lines = re.match(r"(?:[ \t]*#[^\n]*\n)*", text)
        question = " ".join(
            line.strip().lstrip("#").strip() for line in (lines[0] if lines else "").splitlines()
        )
    return f"**{as_markdown(str(question).strip())}**" if str(question).strip() else ""


def _trust(folder: StudyFolder) -> list[str]:
    """What the split does to near-duplicates, unless the verdict begins with it; the verdict."""
    done = load_confirmation(folder)
    is_said = done is not None and done.test.without_twins is not None
    told = ["" if is_said else leak_of(folder), done.verdict.sentence if done else ""]
    return [f"**{as_markdown(text)}**" for text in told if text]


def _data(folder: StudyFolder) -> str:
    config, images = folder.config, folder.images
    return (
        f"{images.n_images} images of {images.n_classes} classes from "
        f"`{_code(config.data.source)}` at {config.data.image_px} px; "
        f"{len(images.test)} of them sealed for the test, {config.split.folds} folds of the "
        f"others. Objective: `{config.objective.metric}` of the pooled out-of-fold predictions."
    )


def _best(records: list[Record]) -> str:
    best, rival = winner(records), _rival(records)
    if best is None:
        return "No trial has finished yet."
    text = f"Best so far: **{as_markdown(run_name(best))}**, {_scores(best)}"
    if not best.is_feasible:
        text += "; it breaks the recall floor, as every other"
    if best.kind == "baseline":
        text += "; it is a baseline: the search has found nothing better"
    elif rival:
        text += f"; the best baseline, {as_markdown(rival.title)}, {_scores(rival)}"
    return text + ". Out-of-fold values of the search: the best of many looks better than it is."


def _classes(folder: StudyFolder, records: list[Record]) -> str:
    """Rarest classes first."""
    names, images = folder.class_names, folder.images
    n_search, n_test = images.search_counts, images.test_counts
    best = winner(records)
    shown = [best, _rival(records)]
    heads = ["class", "images", "sealed", *(f"recall, {as_markdown(r.title)}" for r in shown if r)]
    rows = [f"| {' | '.join(heads)} |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    rarest = np.argsort(n_search, kind="stable")
    for k in rarest[:_CLASSES_SHOWN]:
        cells = [
            as_markdown(names[k][:60]),
            n_search[k],
            n_test[k],
            *(_recall(record, k) for record in shown if record),
        ]
        rows.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    more = len(names) - _CLASSES_SHOWN
    return "\n".join(rows) + (f"\n\n… and {more} more frequent classes." if more > 0 else "")


def _rival(records: list[Record]) -> Record | None:
    """What the winner has to beat: the best of the other baselines."""
    best = winner(records)
    return best_baseline([record for record in records if record is not best])


def _recall(record: Record, k: int) -> str:
    if not record.matrix:
        return ""
    return f"{record.recall[k]:.2f} ({record.matrix[k][k]} of {sum(record.matrix[k])})"


def _scores(record: Record) -> str:
    return (
        f"macro recall {record.scores.get('macro_recall', float('nan')):.3f}, "
        f"worst class {record.scores.get('min_recall', float('nan')):.3f}"
    )


def as_markdown(text: str) -> str:
    """Text that Markdown and HTML show as it is, on one line."""
    line = html.escape(_one_line(text), quote=False)
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", line)


def _code(text: str) -> str:
    return _one_line(text).replace("`", "'")


def _one_line(text: str) -> str:
    return one_line(text.encode("utf-8", "replace").decode())
