"""``tuner report``: one page about a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.cli import options


def report(
    study: options.Study,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write.")] = Path(
        "report.html"
    ),
    home: options.Home = None,
    tracking_uri: options.Tracking = None,
) -> None:
    """Write one self-contained page about a study, and keep it in MLflow.

    Example:  tuner report steel -o report.html
    """
    from tuner.cli.show.listener import TerminalListener
    from tuner.cli.show.terminal import make_console, say_step
    from tuner.study import Study

    with TerminalListener(home=home, is_result=True) as listener:
        opened = Study(study, home=home, listener=listener, tracking_uri=tracking_uri)
        path = opened.report(output)
    say_step(make_console(is_result=True), "open", path.absolute().as_uri())
