"""How a study shows itself: a line, and in a notebook its trials as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.home.records import finished_trials, winner
from tuner.notebook import page, paragraph, sentences
from tuner.study.trial import ranking, trials_of

if TYPE_CHECKING:
    from tuner.study.study import Study


def in_a_line(study: Study) -> str:
    """Name, and how far it is."""
    if not study.has_begun:
        return f"<Study '{study.name}': not begun>"
    records = study.folder.records()
    n, best = len(finished_trials(records)), winner(records)
    is_judged = best is not None and best.value is not None
    value = f", best {best.title} {best.value:.4f}" if best and is_judged else ""
    leak = "; its split parts near-duplicates" if study.leak else ""
    return f"<Study '{study.name}': {n} of {study.config.search.trials} trials{value}{leak}>"


def as_page(study: Study) -> str:
    """The same with the trials by rank and, where there is one, the verdict."""
    title = in_a_line(study)[1:-1]
    if not study.has_begun:
        return page(title, paragraph("run() starts it"))
    trials = trials_of(study.folder)
    parts = ranking(trials, best=winner([trial.record for trial in trials]))
    if leak := study.leak:
        parts.append(sentences([leak]))
    if done := study.confirmation:
        parts.append(paragraph(done.verdict.sentence, is_strong=True))
    return page(title, *parts)
