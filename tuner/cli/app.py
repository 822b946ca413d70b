"""The command line: its commands, and what becomes of their errors.

A command parses, calls the study and prints. Heavy libraries are imported inside, so that
``tuner --help`` answers at once.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import traceback
from typing import Annotated

import typer

from tuner.cli.commands.check import check
from tuner.cli.commands.confirm import confirm
from tuner.cli.commands.export import export
from tuner.cli.commands.init import init
from tuner.cli.commands.predict import predict
from tuner.cli.commands.report import report
from tuner.cli.commands.run import run
from tuner.cli.commands.status import status
from tuner.cli.commands.sync import sync
from tuner.cli.commands.train import train
from tuner.cli.commands.ui import ui
from tuner.cli.interrupts import was_interrupted
from tuner.errors import TunerError, UsageError
from tuner.text import printable, without_password

app = typer.Typer(
    name="tuner",
    help="Find the treatment of class imbalance that helps your rare classes, and by how much.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with:  tuner init FOLDER   then   tuner run studies/NAME.yaml",
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        print(f"tuner {version('imbalance-tuner')}")
        raise typer.Exit


@app.callback()
def _before(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show it and end."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where in the program an error arose.")
    ] = False,
) -> None:
    """Options of every command; `main` has taken ``--debug`` out already."""


for _command in (init, check, run, status, ui, confirm, report, export, train, predict, sync):
    app.command()(_command)


def main() -> None:
    """Run the command line; expected errors are one message and an exit code."""
    _open_closed_streams()
    shows_traceback = "--debug" in sys.argv
    sys.argv = with_ray_address([a for a in sys.argv if a != "--debug"])
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter of a class name shows a mark instead of a traceback.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; nobody is left to tell
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except (TunerError, OSError) as error:
        if was_interrupted():
            raise  # what it says is what the interrupt broke
        if shows_traceback:
            sys.stderr.write(without_password(traceback.format_exc()))
        known = error if isinstance(error, TunerError) else _system_error(error)
        _print_error(known)
        sys.exit(known.exit_code)


def with_ray_address(words: list[str]) -> list[str]:
    """The same words with an address after ``--ray``, which may stand alone.

    Example:
        >>> with_ray_address(["run", "--ray", "x.yaml"])
        ['run', '--ray=local', 'x.yaml']
        >>> with_ray_address(["run", "x.yaml", "--ray", "10.0.0.1:6379"])
        ['run', 'x.yaml', '--ray', '10.0.0.1:6379']
    """
    out = list(words)
    for i, word in enumerate(words):
        follows = words[i + 1] if i + 1 < len(words) else ""
        if word == "--ray" and not re.fullmatch(r"(ray://\S+|\S+:\d+|auto|local)", follows):
            out[i] = f"--ray={os.environ.get('RAY_ADDRESS') or 'local'}"
    return out


def _open_closed_streams() -> None:
    """Give streams that the caller has closed a place to write to.

    Else the next file that is opened takes the number, and what libraries print goes into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115


def _system_error(error: OSError) -> TunerError:
    """A full disk or a missing permission, wherever it was met."""
    do = (
        "mend permissions or free disk space and start the same command again; studies can live"
        " elsewhere: --home FOLDER"
    )
    where = "" if error.filename is None else str(error.filename)
    return TunerError(f"the system refuses: {error.strerror or error}", where=where, do=do)


def _print_error(error: TunerError) -> None:
    """Print an error on stderr; a terminal gets it broken between words."""
    kind = "usage" if isinstance(error, UsageError) else "error"
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else 10**9
    for line in f"{kind}: {error}".split("\n"):
        shown = printable(line)
        indent = " " * (len(shown) - len(shown.lstrip()) + 2)
        parts = textwrap.wrap(
            shown,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        print("\n".join(parts), file=sys.stderr)
