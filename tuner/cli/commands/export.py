"""``tuner export``: the best configuration, complete enough to train again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tuner.cli import options


def export(
    study: options.Study,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write.")] = Path(
        "best.yaml"
    ),
    trial: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--trial", help="Another trial than the chosen one, by its number."),
    ] = None,
    tau: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--tau", help="Logit adjustment in the model: a strength, or 'tuned'."),
    ] = None,
    cost: options.Cost = None,
    recall_floor: options.RecallFloor = None,
    home: options.Home = None,
) -> None:
    """Write the best configuration, complete enough to train again.

    Example:  tuner export steel -o best.yaml
    """
    from tuner.cli.show.export import print_export
    from tuner.study import Study

    opened = Study(study, home=home, listener=None)
    written = opened.export(output, trial=trial, tau=tau, cost=cost, recall_floor=recall_floor)
    print_export(written, opened, home=home, is_chosen=trial is None)
