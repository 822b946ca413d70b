"""What ``tuner confirm`` prints: the retest, the sealed test, and the verdict in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuner.cli.interrupts import heed_termination
from tuner.cli.options import home_words
from tuner.cli.show.listener import TerminalListener
from tuner.cli.show.tables import openings, plain_table, rarest
from tuner.cli.show.terminal import (
    make_console,
    say,
    say_fact,
    say_step,
    short,
    short_names,
    warn,
)
from tuner.study import Confirmation, Listener, Study, Tested, Tried
from tuner.text import command

_CLASSES_SHOWN = 12
_TITLE = 44


@contextmanager
def confirm_listener(*, is_quiet: bool, home: Path | None) -> Iterator[Listener]:
    """Who shows a confirmation; an interrupt is answered with how to go on."""
    heed_termination()
    with TerminalListener(home=home, is_quiet=is_quiet) as listener:
        try:
            yield listener
        except KeyboardInterrupt:
            say(make_console(is_result=False), "interrupted; the same command goes on")
            raise


def print_found(done: Confirmation, study: Study, *, home: Path | None, as_json: bool) -> None:
    """What was confirmed, and the commands that follow."""
    if as_json:
        print(done.as_json())
        return
    console, words = make_console(is_result=True), home_words(home)
    _print_confirmation(done, study.folder.class_names, console)
    say_step(console, "look", command("tuner", "report", study.name, *words))
    chosen = done.chosen
    trial = ["--trial", int(chosen.removeprefix("trial-"))] if chosen.startswith("trial-") else []
    export = command("tuner", "export", study.name, "-o", "best.yaml", *trial, *words)
    say_step(console, "export", export)


def _print_confirmation(done: Confirmation, class_names: list[str], console: Console) -> None:
    n_fresh, n_test = len(done.seeds) - 1, sum(done.test.support)
    say(console, f"Retest: {n_fresh} fresh seeds and splits of the non-test images, macro recall")
    console.print(retest_table(done))
    console.print()
    say(console, f"Sealed test: {n_test:,} images, mean macro recall of {n_fresh + 1} seeds")
    console.print(test_table(done))
    console.print()
    say(console, "Found by the models of the study seed")
    console.print(class_comparison(done, class_names))
    if done.test.has_groups:
        say(
            console,
            "Wilson intervals and p values take images as independent: groups are not in them.",
        )
    console.print()
    say(console, "Calibration on the sealed test, smaller is better")
    console.print(calibration_table(done))
    console.print()
    if optimism := done.optimism:
        say_fact(
            console,
            "optimism",
            f"the search's winner: {optimism.validation:.3f} in the search, "
            f"{optimism.retest:.3f} on fresh splits, {optimism.test:.3f} on the test",
        )
    say_fact(console, "test", f"{openings(done.opening)}, {done.opened_at}")
    for text in sorted({pair.warning for pair in done.test.comparisons} - {""}):
        warn(console, text)
    if done.opening > 1:
        warn(console, "numbers of a test that is opened again and again grow too good")
    console.print()
    if done.decision:
        say(console, done.decision["sentence"])
    is_better = done.verdict.is_better
    say(console, done.verdict.sentence, style="bold green" if is_better else "bold")


def retest_table(done: Confirmation) -> Table:
    """Mean over the fresh seeds, the spread, and how far behind the best."""
    table = _table("setting", "search", "retest", "± seeds", "behind the best", "")
    for row in done.retest:
        is_chosen = row.key == done.chosen
        searched = row.validation
        behind = f"{row.behind:.3f} ±{row.behind_standard_error:.3f}"
        table.add_row(
            _named(row),
            "" if searched is None else f"{searched:.3f}",
            f"{row.mean:.3f}",
            f"{np.std(row.values, ddof=1):.3f}" if len(row.values) > 1 else "",
            behind if row.behind else "",
            _mark(row.key, done),
            style="bold" if is_chosen else "",
        )
    return table


def test_table(done: Confirmation) -> Table:
    """Every model on the test, and the chosen one's gain over it."""
    rows = {row.key: row for row in done.retest}
    table = _table("model", "macro recall", "gain of the chosen one", "95 % interval", "")
    for model in sorted(done.test.models, key=lambda model: -model.macro_recall):
        key, gain = model.key, done.test.gain_over(model.key)
        table.add_row(
            _named(rows.get(key, model)),
            f"{model.macro_recall:.3f}",
            f"{gain.gain:+.3f}" if gain else "",
            f"{gain.low:+.3f} to {gain.high:+.3f}" if gain else "",
            _mark(key, done),
            style="bold" if key == done.chosen else "",
        )
    return table


def class_comparison(done: Confirmation, class_names: Sequence[str]) -> Table:
    """Recall of each class as k of n, the chosen model beside plain cross-entropy."""
    plain, chosen = done.plain_model, done.chosen_model
    is_plain = plain is chosen
    table = _table("class", "cross-entropy", *([] if is_plain else [chosen.title, "Holm p"]))
    gain = done.test.gain_over(plain.key)
    names = short_names(class_names, 28)
    support = np.array(done.test.support)
    for k in rarest(support)[:_CLASSES_SHOWN]:
        cells = [_found(plain, k)]
        if gain is not None:
            cells += [_found(chosen, k), f"{gain.classes[k].p_holm:.2g}"]
        table.add_row(Text(names[k]), *cells)
    if len(support) > _CLASSES_SHOWN:
        table.add_row(f"… {len(support) - _CLASSES_SHOWN} more frequent classes: tuner report")
    return table


def calibration_table(done: Confirmation) -> Table:
    """Balanced NLL, ECE and Brier score of the trained models."""
    table = _table("model", "balanced NLL", "ECE", "Brier")
    rows = {row.key: row for row in done.retest}
    for model in done.test.models:
        # What a rule gives are scores, no probabilities.
        is_rule = model.key == done.rule_key
        if model.key.startswith(("baseline-", "trial-")) and not is_rule:
            said = model.calibration
            table.add_row(
                _named(rows.get(model.key, model)),
                *(f"{value:.3f}" for value in (said.balanced_nll, said.ece, said.brier)),
            )
    return table


def _found(model: Tested, k: int) -> str:
    """``12 of 16 (0.51 to 0.90)``."""
    row, (low, high) = model.matrix[k], model.recall_interval[k]
    return f"{row[k]} of {sum(row)} ({low:.2f} to {high:.2f})"


def _named(row: Tried | Tested) -> Text:
    setting = f"  {row.setting}" if isinstance(row, Tried) and row.kind == "trial" else ""
    return Text(short(row.title + setting, _TITLE))


def _mark(key: str, done: Confirmation) -> str:
    marks = {
        "chosen": done.chosen,
        "best free": done.best_free,
        "winner of the search": done.search_winner,
    }
    return ", ".join(mark for mark, marked in marks.items() if marked == key)


def _table(*heads: str) -> Table:
    table = plain_table()
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if 0 < i < len(heads) and head else "left")
    return table
