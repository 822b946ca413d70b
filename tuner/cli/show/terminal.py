"""Text on a terminal or in a pipe: consoles, names of classes cut to a width, progress.

What users named (classes, files, studies) is printed as `Text`, never as rich's markup: a class
may be called ``[bold]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from tuner.text import printable, without_password

_PIPE_WIDTH = 120


def make_console(*, is_result: bool, is_quiet: bool = False) -> Console:
    """Console on stdout for results or on stderr for progress; wide enough when piped."""
    console = Console(stderr=not is_result, quiet=is_quiet, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


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
