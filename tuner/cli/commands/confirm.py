"""``tuner confirm``: is the winner really better, on images that the search never saw?"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tuner.cli import options


def confirm(
    study: options.Study,
    seeds: Annotated[
        int,
        typer.Option("--seeds", min=2, help="Fresh seeds and splits, 5 or more for a verdict."),
    ] = 5,
    top: Annotated[int, typer.Option("--top", min=1, help="Trials to train again.")] = 5,
    again: Annotated[
        bool, typer.Option("--again", help="Open a test that was opened before; recorded.")
    ] = False,
    cost: options.Cost = None,
    recall_floor: options.RecallFloor = None,
    home: options.Home = None,
    tracking_uri: options.Tracking = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Train the best again on fresh splits, then open the sealed test and give a verdict.

    Example:  tuner confirm steel
    """
    from tuner.cli.show.confirm import confirm_listener, print_found
    from tuner.study import Study
    from tuner.text import command

    with confirm_listener(is_quiet=quiet, home=home) as listener:
        opened = Study(study, home=home, listener=listener, tracking_uri=tracking_uri)
        written = command("tuner", *sys.argv[1:])
        done = opened.confirm(
            seeds=seeds,
            top=top,
            again=again,
            cost=cost,
            recall_floor=recall_floor,
            command=written,
        )
    print_found(done, opened, home=home, as_json=as_json)
