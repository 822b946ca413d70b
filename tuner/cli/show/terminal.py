"""Text on a terminal or in a pipe: consoles, names of classes cut to a width, progress.

What users named (classes, files, studies) is printed as `Text`, never as rich's markup: a class
may be called ``[bold]``.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from tuner.errors import without_password

if TYPE_CHECKING:
    from tuner.features.extract import Progress as Extraction

_PIPE_WIDTH = 120


def make_console(*, is_result: bool, is_quiet: bool = False) -> Console:
    """Console on stdout for results or on stderr for progress; wide enough when piped."""
    console = Console(stderr=not is_result, quiet=is_quiet, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def printable(text: str) -> str:
    """Text on one line, with a mark for what a terminal would obey instead of show."""
    return "".join(c if c.isprintable() else "�" for c in text)


def short(name: str, width: int) -> str:
    """A name cut to a number of terminal cells; one of Chinese letters takes two."""
    clean = printable(name)
    return clean if cell_len(clean) <= width else set_cell_size(clean, width - 1).rstrip() + "…"


def short_names(names: Sequence[str], width: int) -> list[str]:
    """Names cut to a number of cells; those that would look alike lose what they share."""
    found = [short(name, width) for name in names]
    for shown in {text for text in found if found.count(text) > 1}:
        alike = [i for i, text in enumerate(found) if text == shown]
        clean = [printable(names[i]) for i in alike]
        n_shared = sum(
            1 for _ in takewhile(lambda part: len(set(part)) == 1, zip(*clean, strict=False))
        )
        for i, name in zip(alike, clean, strict=True):
            found[i] = short(f"…{name[n_shared:]}", width)
    twice = [text for text in found if found.count(text) > 1]
    return [
        f"{short(text, width - len(f'~{i}'))}~{i}" if text in twice else text
        for i, text in enumerate(found)
    ]


def pad_left(text: str, width: int) -> str:
    """Text moved to the right end of so many terminal cells."""
    return " " * (width - cell_len(text)) + text


def pad_right(text: str, width: int) -> str:
    """Text filled up to so many terminal cells."""
    return text + " " * (width - cell_len(text))


def say(console: Console, text: str, *, style: str = "") -> None:
    """Print a line; a pipe gets it whole, a terminal between its words."""
    shown = without_password(printable(text))
    console.print(Text(shown, style=style), soft_wrap=not console.is_terminal)


def say_fact(console: Console, label: str, text: str) -> None:
    """Print a label and what it is."""
    line = Text.assemble((f"{label:<8} ", "dim"), without_password(printable(text)))
    console.print(line, soft_wrap=not console.is_terminal)


def say_step(console: Console, label: str, line: str) -> None:
    """Print a command or an address to copy, never broken into lines."""
    shown = without_password(line)
    console.print(Text.assemble("  ", (f"{label:<9} ", "dim"), shown), soft_wrap=True)


def warn(console: Console, text: str) -> None:
    """Print something that the user should know."""
    say(console, f"! {text}", style="yellow")


@contextmanager
def extraction_bar(
    console: Console, *, also: Callable[[Extraction], None] | None = None
) -> Iterator[Any]:
    """A callback for `fill_bank` that shows rows, rows a second and time left.

    Args:
        console: Where to show it.
        also: Told of each step, too.
    """
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
        if also is not None:
            also(progress)
        speed = f"{progress.rows_per_s:,.0f} rows/s"
        if console.is_terminal:
            if not bar.task_ids:
                bar.add_task("features", total=progress.total, speed=speed)
            bar.update(bar.task_ids[0], completed=progress.done, speed=speed)
        elif (tenth := 10 * progress.done // progress.total) > said:
            said = tenth
            count = f"{progress.done:,}/{progress.total:,} rows"
            say(console, f"features  {count}  {speed}  {progress.seconds_left:.0f} s left")

    with bar:
        yield show


def command(*words: object) -> str:
    """A command line that can be copied into a shell; a password in it has to be put back."""
    return shlex.join(without_password(str(word)) for word in words)
