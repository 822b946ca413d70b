"""The winner beside the baselines, its setting, and what to think of it."""

from __future__ import annotations

from rich.console import Console

from tuner.cli.show.tables import result_table
from tuner.cli.show.terminal import say, say_fact, warn
from tuner.study import Record, Study, winner


def print_winner(study: Study, console: Console) -> None:
    """Print the winner of a study that has one."""
    folder, free = study.folder, study.free_baselines
    records = folder.records()
    best = winner(records)
    if best is None:
        return
    console.print(result_table(records, best, folder.class_names, width=console.width))
    console.print()
    say_fact(console, "setting", str(best.params))
    if free:
        values = ", ".join(f"{f.title} {f.scores['macro_recall']:.3f}" for f in free)
        say_fact(console, "free", values)
    n_settings = sum(r.kind != "confirm" for r in records)
    say(console, _caution(best, n_settings))
    if leak := study.leak:
        warn(console, leak)
    if done := study.confirmation:
        more = n_settings - done.n_search_settings
        since = f" ({more} settings have been added since)" if more else ""
        say(console, f"Confirmed{since}: {done.verdict.sentence}", style="bold")
    rival = max(free, key=lambda f: f.value, default=None)
    if rival and best.value is not None and rival.value >= best.value:
        metric = folder.config.objective.metric
        sentence = f"{rival.title} needs no search and does as well: {metric} {rival.value:.3f}."
        warn(console, sentence[0].upper() + sentence[1:])


def _caution(best: Record, n_settings: int) -> str:
    """The winner was chosen on the numbers shown; say so beside them."""
    if best.violation:
        return "No setting meets objective.recall_floor; the least violating one is shown."
    if best.kind == "baseline":
        return (
            f"The winner is a baseline: none of the trials did better than {best.title} "
            "on the validation folds."
        )
    return (
        f"Validation folds, best of {n_settings} settings: the winner's number is optimistic, "
        "± is one standard error of the images alone."
    )
