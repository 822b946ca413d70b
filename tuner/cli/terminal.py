"""What people see: class tables, a line per trial, the winner beside the baselines."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from tuner.evaluation.intervals import macro_recall_standard_error
from tuner.search.baselines import TITLES
from tuner.search.records import Record

if TYPE_CHECKING:
    from tuner.features.extract import Progress as Extraction
    from tuner.search.space import Params
    from tuner.training.folds import Epoch

IntArray = NDArray[np.int64]

N_RAREST = 3
_NAME_WIDTH, _SETTING_WIDTH = 14, 32
_BAR_WIDTH = 24


def make_console(*, is_result: bool, is_quiet: bool = False) -> Console:
    """Console on stdout for results or on stderr for progress; wide enough when piped."""
    console = Console(stderr=not is_result, quiet=is_quiet, highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = 120
    return console


def short(name: str, width: int = _NAME_WIDTH) -> str:
    """A class name cut to a width, printable and on one line."""
    clean = "".join(c if c.isprintable() else "�" for c in name)
    return clean if len(clean) <= width else clean[: width - 1] + "…"


def rarest(counts: IntArray) -> list[int]:
    """The rarest classes, rarest first."""
    return [int(k) for k in np.argsort(counts, kind="stable")[:N_RAREST]]


def class_table(class_names: Sequence[str], labels: IntArray, fold: IntArray) -> Table:
    """Images per class: in all, for the search, sealed for the test."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("class", "images", "search", "test", ""):
        table.add_column(column, justify="left" if column in ("class", "") else "right")
    counts = np.bincount(labels, minlength=len(class_names))
    search = np.bincount(labels[fold >= 0], minlength=len(class_names))
    for k in np.argsort(-counts, kind="stable"):
        bar = "█" * max(1, round(_BAR_WIDTH * counts[k] / counts.max()))
        table.add_row(
            escape(short(class_names[k], 40)),
            f"{counts[k]:,}",
            f"{search[k]:,}",
            f"{counts[k] - search[k]:,}",
            Text(bar, style="cyan"),
        )
    return table


def title(record: Record) -> str:
    """How people call a record: a baseline's title or a trial's number."""
    if record.kind == "baseline":
        name = record.name.removeprefix("baseline-")
        return TITLES.get(name, name)
    return f"#{record.number}"


class TrialLines:
    """A listener that prints a line per trial and, on a terminal, what trains now.

    Args:
        console: Where to print.
        class_names: Class names in class order.
        counts: Non-test images per class, int64 (n_classes,).
        n_trials: Trials in all.
    """

    def __init__(
        self, console: Console, class_names: Sequence[str], counts: IntArray, *, n_trials: int
    ) -> None:
        self._console, self._rarest = console, rarest(counts)
        self._names, self._counts = class_names, counts
        self._best = -np.inf
        self._settings: dict[str, str] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("trials"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._n_trials = n_trials
        self._task: TaskID | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Print the header, keep the live line while the search runs, then remove it."""
        heads = "".join(f"{short(self._names[k]):>15}" for k in self._rarest)
        self._console.print(
            f"[dim]{'':>7}{'setting':<{_SETTING_WIDTH}}{'macro recall':>15}{escape(heads)}"
            f"{'epochs':>8}{'time':>8}[/dim]"
        )
        with self._progress:
            self._task = self._progress.add_task("starting", total=self._n_trials)
            yield

    def trial_started(self, name: str, params: Params) -> None:
        """Remember the setting for the live line."""
        self._settings[name] = str(params)

    def epoch_ended(self, name: str, epoch: Epoch, value: float) -> None:
        """Show how far the running trial is."""
        if self._task is not None:
            text = f"{self._settings[name]}  epoch {epoch.epoch + 1}  {value:.3f}"
            self._progress.update(self._task, description=escape(text))

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Print the line of a finished trial or baseline."""
        if self._task is not None:
            self._progress.update(self._task, completed=n_finished)
        is_best = record.state == "complete" and (record.value or 0.0) > self._best
        if is_best:
            self._best = record.value or 0.0
        self._console.print(self._line(record, is_best=is_best))

    def message(self, text: str) -> None:
        """Print something that the user should know."""
        self._console.print(Text(f"! {text}", style="yellow"))

    def _line(self, record: Record, *, is_best: bool) -> Text:
        label = "base" if record.kind == "baseline" else title(record)
        shown = title(record) if record.kind == "baseline" else str(record.params)
        line = Text(f"{label:>5}  {short(shown, _SETTING_WIDTH - 1):<{_SETTING_WIDTH}}")
        if not record.matrix:
            return line.append(f"failed: {record.reason}", style="red")
        error = macro_recall_standard_error(np.array(record.matrix))
        style = "bold green" if is_best else "dim" if record.state == "pruned" else ""
        line.append(f"{record.scores['macro_recall']:>8.3f} ±{error:.3f}", style=style)
        for k in self._rarest:
            line.append(f"{record.recall[k]:>15.2f}", style=style)
        line.append(f"{len(record.curves['objective']):>8}")
        line.append(f"{record.ended_s - record.started_s:>6.1f} s", style="dim")
        if record.state != "complete":
            reason = f" {record.reason}" if record.reason else ""
            line.append(f"  {record.state}{reason}", style="dim")
        elif is_best:
            line.append("  best so far", style="green")
        return line


def result_table(records: Sequence[Record], best: Record, class_names: Sequence[str]) -> Table:
    """The winner beside the baselines, with the recall of the rarest classes as k of n."""
    support = np.array(best.matrix).sum(axis=1)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for head in ("macro recall", "worst class", *(short(class_names[k]) for k in rarest(support))):
        table.add_column(escape(head), justify="right")
    table.add_column("setting")
    rows = [best, *(r for r in records if r.kind == "baseline" and r.name != best.name)]
    for record in rows:
        if not record.matrix:
            table.add_row(title(record), "failed", style="red")
            continue
        matrix = np.array(record.matrix)
        worst = int(np.argmin(record.recall))
        cells = [f"{matrix[k, k]} of {support[k]}" for k in rarest(support)]
        name = f"winner {title(record)}" if record is best else title(record)
        table.add_row(
            escape(name),
            f"{record.scores['macro_recall']:.3f} ±{macro_recall_standard_error(matrix):.3f}",
            escape(f"{short(class_names[worst])} {record.recall[worst]:.2f}"),
            *cells,
            str(record.params),
            style="bold" if record is best else "",
        )
    return table


@contextmanager
def extraction_bar(console: Console) -> Iterator[Any]:
    """A callback for `fill_bank` that shows rows, rows a second and time left."""
    bar = Progress(
        TextColumn("features"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} rows  {task.fields[speed]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    said = -1

    def show(progress: Extraction) -> None:
        nonlocal said
        speed = f"{progress.rows_per_s:,.0f} rows/s"
        if console.is_terminal:
            if not bar.task_ids:
                bar.add_task("features", total=progress.total, speed=speed)
            bar.update(bar.task_ids[0], completed=progress.done, speed=speed)
        elif (tenth := 10 * progress.done // progress.total) > said:
            said = tenth
            console.print(
                f"features  {progress.done:,}/{progress.total:,} rows  {speed}  "
                f"{progress.seconds_left:.0f} s left"
            )

    with bar:
        yield show


def command(*words: object) -> str:
    """A command line that can be copied into a shell."""
    return shlex.join(str(word) for word in words)
