"""``tuner check``: what the images are, and what stands in their way."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tuner.cli import options


def check(
    study: options.Study,
    features: Annotated[
        bool, typer.Option("--features", help="Extract features and list near-duplicates.")
    ] = False,
    overrides: options.Set = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """List classes, counts, unreadable files, duplicates and label conflicts; train nothing.

    Example:  tuner check studies/steel.yaml
    """
    from tuner.cli.show.images import print_check, with_command
    from tuner.cli.show.listener import TerminalListener
    from tuner.study import Study

    with TerminalListener(home=home) as listener, with_command(study, home):
        opened = Study(study, overrides=overrides or (), home=home, listener=listener)
        found = opened.check(features=features)
    if as_json:
        print(json.dumps(found.facts(), indent=1))
    else:
        print_check(found, study=study, home=home)
