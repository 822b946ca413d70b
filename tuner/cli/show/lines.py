"""The live part of a run: a line per trial, and below them a board of the best and the running.

The lines stay when the run has ended; the board goes. A pipe gets the lines alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text

from tuner.arrays import Int64
from tuner.cli.show.board import LeaderBoard
from tuner.cli.show.tables import rarest
from tuner.cli.show.terminal import pad_left, pad_right, short, short_names
from tuner.study import (
    Epoch,
    Record,
    Setting,
    finished_trials,
    macro_recall_standard_error,
    winner,
)
from tuner.text import printable

_LABEL, _SETTING, _RECALL = 5, 32, 12  # "γ2.13 α0.42 ×0 effective_number", "0.865 ±0.018"
_EPOCHS, _TIME = 7, 9
_REDRAWS_PER_S = 2  # each takes a core a few milliseconds
_WIDE, _CLASS = 100, (11, 15)  # narrower terminals get no times; least and most of a class


class Layout(NamedTuple):
    """What fits on a line.

    Attributes:
        n_classes: How many of the rarest classes.
        class_width: Cells of each.
        has_times: Whether epochs and time fit, and long notes.
    """

    n_classes: int
    class_width: int
    has_times: bool


def fit(width: int) -> Layout:
    """The layout for a terminal of so many cells; two classes fit into 80, three into 112."""
    has_times = width >= _WIDE
    spare = width - _LABEL - _SETTING - _RECALL - len("  pruned")
    if has_times:
        spare -= _EPOCHS + _TIME + len("  best so far") - len("  pruned")
    n_classes = min(max(spare // _CLASS[0], 0), 3)
    return Layout(n_classes, min(spare // max(n_classes, 1), _CLASS[1]), has_times)


class TrialLines:
    """Prints a line per trial and, on a terminal, keeps a board below them.

    Args:
        console: Where to print.
        class_names: Class names in class order.
        counts: Non-test images per class, int64 (n_classes,).
        n_trials: Trials in all.
        unit: What is counted.
        earlier: Records of earlier starts.
    """

    def __init__(
        self,
        console: Console,
        class_names: Sequence[str],
        counts: Int64,
        *,
        n_trials: int,
        unit: str = "trials",
        earlier: Sequence[Record] = (),
    ) -> None:
        self._console, self._layout = console, fit(console.width)
        self._rarest = rarest(counts)[: self._layout.n_classes]
        self._names = class_names
        best = winner(list(earlier))
        is_known = best is not None and best.is_feasible and best.value is not None
        self._best = float(best.value or 0.0) if best and is_known else -np.inf
        self._board = LeaderBoard(
            class_names=class_names, counts=counts, n_trials=n_trials, unit=unit
        )
        for record in earlier:
            self._board.know(record)
        self._board.n_finished = len(finished_trials(earlier))

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Print the header, keep the board while the search runs, then remove it."""
        names = short_names(self._names, self._layout.class_width - 1)
        heads = [names[k] for k in self._rarest]
        self._print(Text(self._cells("", "setting", "macro recall", heads, "epochs", "time")))
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            yield
            return
        with Live(
            get_renderable=lambda: self._board.drawn(
                width=self._console.width, height=self._console.height
            ),
            console=self._console,
            transient=True,
            refresh_per_second=_REDRAWS_PER_S,
            redirect_stdout=False,  # results are whole, wherever they go
        ):
            yield

    def trial_started(self, name: str, setting: Setting) -> None:
        """Show the setting on the board."""
        self._board.start(name, setting)

    def epoch_ended(self, name: str, epoch: Epoch) -> None:
        """Show how far the running trial is."""
        self._board.epoch(name, epoch)

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Print the line of a finished trial or baseline."""
        self._board.end(record, n_finished=n_finished, n_trials=n_trials)
        value = -np.inf if record.value is None else record.value
        is_ranked = record.state == "complete" and record.kind != "confirm"
        is_best = is_ranked and record.is_feasible and value > self._best
        if is_best:
            self._best = value
        self._print(self._line(record, is_best=is_best))

    def note(self, text: str) -> None:
        """Show what goes on."""
        self._board.doing = text
        if not self._console.is_terminal:
            self._print(Text(printable(text), style="dim"))

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)

    def _line(self, record: Record, *, is_best: bool) -> Text:
        label, shown = _label(record)
        if not record.matrix:
            reason = printable(f"failed: {record.reason}")
            head = f"{pad_left(label, _LABEL - 1)} {pad_right(shown, _SETTING)}"
            return Text(head).append(reason, style="red")
        error = macro_recall_standard_error(np.array(record.matrix))
        cells = self._cells(
            label,
            shown,
            f"{record.scores['macro_recall']:.3f} ±{error:.3f}",
            [f"{record.recall[k]:.2f}" for k in self._rarest],
            str(len(record.curves["objective"])),
            f"{record.ended_s - record.started_s:.1f} s",
        )
        style = "bold green" if is_best else "dim" if record.state == "pruned" else ""
        return Text(cells + self._note(record, is_best=is_best), style=style)

    def _note(self, record: Record, *, is_best: bool) -> str:
        if record.state != "complete":
            reason = f": {printable(record.reason)}" if record.reason else ""
            return f"  {record.state}{reason}"
        if not record.is_feasible:
            return "  below recall_floor" if self._layout.has_times else "  floor"
        best = "  best so far" if self._layout.has_times else "  best"
        return best if is_best else ""

    def _cells(
        self, label: str, setting: str, recall: str, classes: Sequence[str], *times: str
    ) -> str:
        parts = [pad_left(label, _LABEL - 1), " ", pad_right(short(setting, 31), _SETTING)]
        parts += [pad_left(recall, _RECALL)]
        parts += [pad_left(cell, self._layout.class_width) for cell in classes]
        if self._layout.has_times:
            parts += [pad_left(times[0], _EPOCHS), pad_left(times[1], _TIME)]
        return "".join(parts)


def _label(record: Record) -> tuple[str, str]:
    """Number or kind, and setting; of a confirm run the seed and what it trains again."""
    if record.kind == "confirm":
        setting = f" {record.params}" if record.title.startswith("#") else ""
        return f"s{record.seeds['study_seed']}", record.title + setting
    if record.kind == "baseline":
        return "base", record.title
    return record.title, str(record.params)
