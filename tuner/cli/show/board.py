"""What stays in view while a study runs: the best trials, the baselines, what trains now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuner.arrays import Float64, Int64
from tuner.cli.show.tables import plain_table, rarest
from tuner.cli.show.terminal import short, short_names
from tuner.study import Epoch, Record, Setting, class_table
from tuner.text import printable

_BEST, _RUNNING = 3, 4  # rows of each
_SETTING, _FIXED = 31, 53  # cells; label, setting, macro recall and worst class with their gaps
_CLASS = 12  # least cells of a class: "0.75 ━━━━━" and the gap
_MOST_CLASSES = 6
_BAR = 5
_WIDE, _LONGEST_NOTE = 100, "epoch 999"  # narrower terminals get no epochs
_LOW = 18  # lines; a lower terminal keeps what trains now alone


class _Row(NamedTuple):
    """One line: what it is called, its numbers, and how it is drawn."""

    label: str
    setting: str
    recall: Float64 | None
    note: str
    style: str


@dataclass
class LeaderBoard:
    """What is known of the running study, drawn anew whenever the terminal asks.

    Attributes:
        class_names: In class order.
        counts: Non-test images per class, int64 (n_classes,).
        n_trials: Trials in all.
        unit: What is counted.
        doing: What goes on where nothing trains.
        n_finished: Trials that have finished, in earlier starts too.
    """

    class_names: Sequence[str]
    counts: Int64
    n_trials: int
    unit: str = "trials"
    doing: str = "starting"
    n_finished: int = 0
    _records: list[Record] = field(default_factory=list)
    _running: dict[str, tuple[str, Epoch | None]] = field(default_factory=dict)
    _began_s: float = field(default_factory=time.monotonic)
    _n_ended: int = 0

    def start(self, name: str, params: Setting) -> None:
        """A trial begins to train."""
        self._running[name] = (str(params), None)

    def epoch(self, name: str, epoch: Epoch) -> None:
        """One of its epochs has ended."""
        self._running[name] = (self._running.get(name, ("", None))[0], epoch)

    def end(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Its record is there."""
        self._running.pop(record.name, None)
        self.n_finished, self.n_trials = n_finished, n_trials
        self._n_ended += 1
        self.know(record)

    def know(self, record: Record) -> None:
        """Take in a record of this start or an earlier one."""
        if record.matrix and record.kind != "confirm":
            self._records.append(record)

    def drawn(self, *, width: int, height: int) -> RenderableType:
        """The board for a terminal of so many cells and lines."""
        rows = list(self._rows(is_low=height < _LOW))
        parts: list[RenderableType] = [Text("")] if rows else []
        if rows:
            parts.append(self._table(rows, width))
        return Group(*parts, self._progress(width))

    def _rows(self, *, is_low: bool) -> Iterator[_Row]:
        if not is_low:
            ranked = [r for r in self._records if r.state == "complete" and r.is_feasible]
            ranked.sort(key=lambda r: -(r.value or 0))
            best = ranked[0] if ranked else None
            trials = [r for r in ranked if r.kind == "trial"][:_BEST]
            baselines = [r for r in self._records if r.kind == "baseline"]
            for record in trials + baselines:
                setting = str(record.params) if record.kind == "trial" else record.title
                yield _row(record, setting, "bold green" if record is best else "")
        for name, (setting, epoch) in list(self._running.items())[:_RUNNING]:
            recall = None if epoch is None else class_table(epoch.matrix).recall
            label = name.removeprefix("trial-").lstrip("0") or "0"
            label = f"#{label}" if label.isdigit() else "now"
            note = "" if epoch is None else f"epoch {epoch.epoch + 1}"
            yield _Row(label, setting, recall, note, "cyan")

    def _table(self, rows: Sequence[_Row], width: int) -> Table:
        is_wide = width >= _WIDE
        room = (width - _FIXED - (len(_LONGEST_NOTE) if is_wide else 0)) // _CLASS
        chosen = rarest(self.counts)[: max(0, min(room, _MOST_CLASSES))]
        names = short_names(self.class_names, _CLASS - 2)
        table = plain_table()
        for head in ("", "best so far, baselines, now", "macro", "worst"):
            table.add_column(head, justify="right" if head in ("", "macro", "worst") else "left")
        for k in chosen:
            table.add_column(Text(names[k]))
        if is_wide:
            table.add_column("")
        for row in rows:
            cells = [row.label, short(row.setting, _SETTING), *_numbers(row.recall)]
            cells += ["" if row.recall is None else _bar(float(row.recall[k])) for k in chosen]
            cells += [row.note] if is_wide else []
            table.add_row(*(Text(cell) for cell in cells), style=row.style)
        return table

    def _progress(self, width: int) -> RenderableType:
        said = f"{self.n_finished} of {self.n_trials} {self.unit}  "
        left = self._seconds_left()
        ending = f"  {_clock(left)} left" if left is not None else ""
        if not self._running:
            ending += f"  {printable(self.doing)}"
        line = Table.grid()
        bar = ProgressBar(total=max(self.n_trials, 1), completed=self.n_finished, width=20)
        line.add_row(Text(f"  {said}"), bar, Text(short(ending, max(width - len(said) - 24, 8))))
        return line

    def _seconds_left(self) -> float | None:
        """At the pace of this start: baselines take as long as trials."""
        if not self._n_ended:
            return None
        pace_s = (time.monotonic() - self._began_s) / self._n_ended
        return pace_s * max(self.n_trials - self.n_finished, 0)


def _row(record: Record, setting: str, style: str) -> _Row:
    label = record.title if record.kind == "trial" else "base"
    return _Row(label, setting, np.array(record.recall), "", style)


def _numbers(recall: Float64 | None) -> tuple[str, str]:
    return ("", "") if recall is None else (f"{recall.mean():.3f}", f"{recall.min():.2f}")


def _bar(recall: float) -> str:
    n = round(_BAR * recall)
    return f"{recall:.2f} {'━' * n}{'·' * (_BAR - n)}"


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
