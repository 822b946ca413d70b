"""Command lines in texts, and whether the program would take them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from typer.main import get_command

from tuner.cli.app import app

# Parsing needs no files; what a command does with them is tested where it is run.
COMMANDS = get_command(app).commands


def parse(line: str) -> str:
    """Name of the command of ``tuner …``; raises what the program would complain of."""
    program, name, *words = shlex.split(line, comments=True)
    assert program == "tuner", line
    COMMANDS[name].make_context(name, words)
    return name


def console_lines(text: str) -> Iterator[str]:
    """Lines after a prompt in the ``console`` blocks of a Markdown text, continued ones joined."""
    for block in re.findall(r"^```console\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if line.startswith("$ "):
                yield line.removeprefix("$ ")
