"""``tuner init``: from images to a study file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tuner.cli import options


def init(
    data: Annotated[str, typer.Argument(help="Folder per class, manifest .csv, or digits.")],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="Where to write (default: studies/NAME.yaml)."),
    ] = None,
    root: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--root", help="Folder that a manifest's paths start from."),
    ] = None,
    group_by: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--group-by", help="Column of a manifest: images that belong together."),
    ] = None,
    home: options.Home = None,
) -> None:
    """Look at the images and write a commented study file.

    Example:  tuner init data/steel -o studies/steel.yaml
    """
    from tuner.cli.show.images import print_draft
    from tuner.study import draft_study, find_home

    path, table = draft_study(
        data, output=output, root=root, group_by=group_by, home=find_home(home)
    )
    print_draft(path, table, group_by=group_by, home=home)
