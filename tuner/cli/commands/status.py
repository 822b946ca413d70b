"""``tuner status``: how far the studies of a home are."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from tuner.cli import options


def status(
    study: Annotated[Optional[str], typer.Argument(help="A study; all without.")] = None,  # noqa: UP045
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show what is there, what runs, and the best so far.

    Example:  tuner status steel
    """
    from tuner.cli.show.status import print_status
    from tuner.study import Study, names_of_studies

    one = Study(study, home=home, listener=None) if study else None
    names = [one.name] if one else names_of_studies(home)
    print_status(names, one, home=home, as_json=as_json)
