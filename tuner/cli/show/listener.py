"""What happens in a study, on a terminal or in a pipe: facts, warnings, a bar, lines of trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tuner.cli.interrupts import heed
from tuner.cli.options import home_words
from tuner.cli.show.lines import TrialLines
from tuner.cli.show.tables import class_table
from tuner.cli.show.terminal import make_console, say, say_fact, say_step, warn
from tuner.study import Epoch, Listener, Record, Setting, StudyFolder
from tuner.study import Progress as Extraction
from tuner.text import command


class TerminalListener(Listener):
    """Shows progress on stderr, and results on stdout.

    Args:
        home: As the user gave it, for commands to copy.
        is_quiet: Whether only results are shown.
        is_result: Whether what happens is the result: `tuner report`, `tuner sync`.
    """

    def __init__(
        self, *, home: Path | None = None, is_quiet: bool = False, is_result: bool = False
    ) -> None:
        self.console = make_console(is_result=is_result, is_quiet=is_quiet)
        self._results = make_console(is_result=True)
        self._home = home
        self._name = ""
        self._lines: TrialLines | None = None
        self._bar = _Bar(self.console)

    def __enter__(self) -> Self:
        """The listener, whose bar is removed at the end, however that comes."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was found."""
        self._bar.stop()

    def fact(self, label: str, text: str) -> None:
        """Print a label and what it is."""
        if label == "study":
            self._name = text
        say_fact(self.console, label, text)

    def warning(self, text: str, *, about: str = "") -> None:
        """Print what the user should know, and the command that shows more of it."""
        if about == "weights":
            self._say_random(text)
            return
        for line in text.splitlines():
            warn(self.console, line.strip())
        if about == "leak":
            words = ["tuner", "check", self._name, *home_words(self._home)]
            say_step(self.console, "look", command(*words))
        if about == "report":
            say_step(self.console, "try", f"tuner report {self._name}")

    def _say_random(self, text: str) -> None:
        """The demo goes on without real weights; `--quiet` does not hide that."""
        for line in text.splitlines():
            say(self.console, line, style="yellow")
        sentence = (
            "NO IMAGENET WEIGHTS: the demo goes on with RANDOM weights; its numbers say "
            "nothing about your data."
        )
        say(make_console(is_result=False), sentence, style="bold red")

    def status(self, text: str) -> AbstractContextManager[Any]:
        """Let a mark turn while the block runs; a pipe shows nothing."""
        return self.console.status(text)

    def note(self, text: str) -> None:
        """Print what goes on, or show it on the board."""
        if self._lines is None:
            say(self.console, text)
        else:
            self._lines.note(text)

    def result(self, text: str) -> None:
        """Print it on stdout."""
        if text.startswith("! "):
            warn(self._results, text.removeprefix("! "))
        else:
            say(self._results, text)

    def opened(self, folder: StudyFolder, *, device: str, question: str) -> None:
        """Print the table of classes."""
        self._name = folder.name
        self.console.print(class_table(folder.images))

    def progress(self, progress: Extraction) -> None:
        """Move the bar; a pipe gets a line for every tenth."""
        heed()
        self._bar.show(progress)

    @contextmanager
    def training(
        self,
        folder: StudyFolder,
        *,
        n_trials: int,
        unit: str = "trials",
        earlier: Sequence[Record] = (),
    ) -> Iterator[None]:
        """Print a line a trial and, on a terminal, keep a board below them."""
        self._lines = TrialLines(
            self.console,
            folder.class_names,
            folder.images.search_counts,
            n_trials=n_trials,
            unit=unit,
            earlier=earlier,
        )
        try:
            with self._lines.shown():
                yield
        finally:
            self._lines = None

    def trial_started(self, name: str, setting: Setting) -> None:
        """Show the setting on the board."""
        if self._lines is not None:
            self._lines.trial_started(name, setting)

    def epoch_ended(self, name: str, epoch: Epoch, value: float) -> None:
        """Show how far the running trial is."""
        heed()
        if self._lines is not None:
            self._lines.epoch_ended(name, epoch)

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Print its line."""
        if self._lines is not None:
            self._lines.trial_ended(record, n_finished=n_finished, n_trials=n_trials)


class _Bar:
    """Rows of extraction, rows a second and time left."""

    def __init__(self, console: Any) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._said = -1

    def show(self, progress: Extraction) -> None:
        """Move it; it goes when all is done."""
        if self._console.is_terminal:
            self._move(progress)
        else:
            self._say(progress)
        if progress.done >= progress.total:
            self.stop()

    def _move(self, progress: Extraction) -> None:
        speed = f"{progress.rows_per_s:,.0f} rows/s"
        if self._bar is None:
            self._bar = Progress(
                TextColumn("features"),
                BarColumn(bar_width=30),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f} rows  {task.fields[speed]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._bar.add_task("features", total=progress.total, speed=speed)
        self._bar.update(self._bar.task_ids[0], completed=progress.done, speed=speed)

    def _say(self, progress: Extraction) -> None:
        if (tenth := 10 * progress.done // progress.total) > self._said:
            self._said = tenth
            speed = f"{progress.rows_per_s:,.0f} rows/s"
            count = f"{progress.done:,}/{progress.total:,} rows"
            say(self._console, f"features  {count}  {speed}  {progress.seconds_left:.0f} s left")

    def stop(self) -> None:
        """Remove it."""
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._said = None, -1
