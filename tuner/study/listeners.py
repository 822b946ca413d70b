"""Who listens when nobody was named: a bar in a notebook, lines on standard error elsewhere."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tuner.home.listener import Epoch, Listener, Progress
from tuner.home.records import Record, finished_trials, title_of
from tuner.home.study_folder import StudyFolder
from tuner.notebook import lines, page, paragraph, progress, sentences

_REDRAWS_S = 0.2  # a notebook sends each over a socket
_LINES = 5  # of news below the bar


def listener_for_this_place() -> Listener:
    """A bar in a notebook, lines elsewhere."""
    return NotebookListener() if is_notebook() else LineListener()


def is_notebook() -> bool:
    """Whether a front end of Jupyter shows what this process displays."""
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


class LineListener(Listener):
    """Prints a line for whatever happens; epochs and progress by tenths are too many."""

    def __init__(self) -> None:
        self._tenth = -1

    def fact(self, label: str, text: str) -> None:
        """Print it."""
        self._print(f"{label:<8} {text}")

    def warning(self, text: str, *, about: str = "") -> None:
        """Print it with a mark."""
        self._print(f"! {text}")

    def note(self, text: str) -> None:
        """Print it."""
        self._print(text)

    def result(self, text: str) -> None:
        """Print it."""
        self._print(text)

    def progress(self, progress: Progress) -> None:
        """Print every tenth of it."""
        tenth = 10 * progress.done // max(progress.total, 1)
        if tenth != self._tenth:
            self._tenth = tenth
            count = f"{progress.done:,}/{progress.total:,} rows"
            self._print(f"features {count}  {progress.rows_per_s:,.0f} rows/s")

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Print what it came to."""
        self._print(line_of(record))

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


@dataclass
class _Shown:
    """What one cell shows of what goes on."""

    handle: Any = None
    head: str = ""
    done: int = 0
    total: int = 0
    best: Record | None = None
    facts: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    news: list[str] = field(default_factory=list)

    def keep_best(self, record: Record) -> None:
        """Remember a record that is better than those before it."""
        is_ranked = record.state == "complete" and record.kind != "confirm" and record.is_feasible
        if is_ranked and (self.best is None or (record.value or 0) > (self.best.value or 0)):
            self.best = record

    def html(self) -> str:
        """A bar, the best so far, what should be known, and the last that happened."""
        share = self.done / self.total if self.total else 0.0
        parts = [progress(share, self.head)] if self.total else [paragraph(self.head)]
        if self.best is not None:
            parts.append(paragraph(f"Best so far: {line_of(self.best)}"))
        parts += [sentences(self.alerts), lines(self.news)]
        return page("", *parts, lines([" · ".join(self.facts)]))


class NotebookListener(Listener):
    """Draws one output a cell: a bar, the best so far, and what should be known."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # `warning` comes from another thread
        self._shown, self._cell = _Shown(), -1
        self._drawn_s = 0.0
        # Libraries ask tqdm for a bar of widgets, which nobody shows and few have installed.
        warnings.filterwarnings("ignore", message="IProgress not found")

    def fact(self, label: str, text: str) -> None:
        """Show it among the small print."""
        with self._drawing() as shown:
            shown.facts.append(f"{label}: {text}")

    def warning(self, text: str, *, about: str = "") -> None:
        """Show it as long as the cell is shown."""
        with self._drawing() as shown:
            shown.alerts.append(text)

    @contextmanager
    def status(self, text: str) -> Iterator[None]:
        """Show it while the block runs."""
        with self._drawing() as shown:
            before, shown.head = shown.head, f"{text} …"
        try:
            yield
        finally:
            with self._drawing() as shown:
                shown.head = before

    def note(self, text: str) -> None:
        """Show it as what goes on."""
        with self._drawing() as shown:
            shown.head = text

    def result(self, text: str) -> None:
        """Show it below the bar."""
        self._tell(text)

    def progress(self, progress: Progress) -> None:
        """Move the bar."""
        left = f", {progress.seconds_left:,.0f} s left" if progress.done else ""
        text = f"{progress.what}: {progress.done:,} of {progress.total:,}, "
        text += f"{progress.rows_per_s:,.0f} a second{left}"
        is_due = progress.done >= progress.total
        self._go_on(text, done=progress.done, total=progress.total, is_due=is_due)

    @contextmanager
    def training(
        self,
        folder: StudyFolder,
        *,
        n_trials: int,
        unit: str = "trials",
        earlier: Sequence[Record] = (),
    ) -> Iterator[None]:
        """Draw a bar of trials; what comes after is another output."""
        with self._drawing(is_due=False) as shown:
            for record in earlier:
                shown.keep_best(record)
        done, began_s = len(finished_trials(earlier)), time.monotonic()
        self._go_on(f"{done} of {n_trials} {unit}", done=done, total=n_trials, is_due=True)
        try:
            yield
        except KeyboardInterrupt:
            self._tell("Interrupted. Nothing that has ended is lost; the same call goes on.")
            raise
        finally:
            with self._drawing() as shown:
                minutes, seconds = divmod(round(time.monotonic() - began_s), 60)
                took = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
                shown.head = f"{shown.done} of {shown.total} {unit}, {took}"
            self._shown = _Shown()

    def epoch_ended(self, name: str, epoch: Epoch, value: float) -> None:
        """Show how far the running trial is."""
        shown = self._shown
        text = f"{shown.done} of {shown.total}, {title_of(name)}: epoch {epoch.epoch + 1}"
        text += f", {value:.3f}"
        self._go_on(text, done=shown.done, total=shown.total, is_due=False)

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Move the bar and show what the trial came to."""
        with self._drawing(is_due=False) as shown:
            shown.keep_best(record)
        self._tell(line_of(record))
        text = f"{n_finished} of {n_trials}"
        self._go_on(text, done=n_finished, total=n_trials, is_due=True)

    def _tell(self, text: str) -> None:
        with self._drawing() as shown:
            shown.news = [*shown.news, text][-_LINES:]

    def _go_on(self, head: str, *, done: int, total: int, is_due: bool) -> None:
        with self._drawing(is_due=is_due) as shown:
            shown.head, shown.done, shown.total = head, done, total

    @contextmanager
    def _drawing(self, *, is_due: bool = True) -> Iterator[_Shown]:
        """Change what this cell shows, and draw it unless that was done a moment ago."""
        from IPython import get_ipython
        from IPython.display import HTML, display

        with self._lock:
            if (cell := getattr(get_ipython(), "execution_count", 0)) != self._cell:
                self._shown, self._cell = _Shown(), cell
            yield self._shown
            if not is_due and time.monotonic() - self._drawn_s < _REDRAWS_S:
                return
            self._drawn_s = time.monotonic()
            drawn = HTML(self._shown.html())
            if self._shown.handle is None:
                self._shown.handle = display(drawn, display_id=True)
            else:
                self._shown.handle.update(drawn)


def line_of(record: Record) -> str:
    """Title, setting, and what it came to."""
    title = record.title if record.kind == "baseline" else f"{record.title} {record.params}"
    if record.value is None and record.kind != "confirm":
        return f"{title}: {record.state}, {record.reason}"
    recall = record.scores.get("macro_recall", float("nan"))
    ended = "" if record.state == "complete" else f", {record.state}"
    return f"{title}: macro recall {recall:.3f}{ended}"
