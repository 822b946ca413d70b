"""``tuner init``: from images to a study file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tuner.cli import options


def init(
    data: Annotated[str, typer.Argument(help="Folder per class, label file, or digits.")],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="Where to write (default: studies/NAME.yaml)."),
    ] = None,
    root: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--root", help="Folder that a label file's paths start from."),
    ] = None,
    images: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--images", help="Folder in which a label file's images are found by name."),
    ] = None,
    columns: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--columns", help="Column of a label file: label=NAME, path=, group=, split=."
        ),
    ] = None,
    group_by: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--group-by", help="auto, none, or a column of a label file: what belongs together."
        ),
    ] = None,
    include: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--include", help="Take only files like these, for example '*.jpg'."),
    ] = None,
    exclude: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--exclude", help="Leave out files like these, for example 'masks/'."),
    ] = None,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Links may lead out of the data folder.")
    ] = False,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="The folders are the classes, whatever they look like.")
    ] = False,
    home: options.Home = None,
) -> None:
    """Look at the images and write a commented study file.

    Example:  tuner init data/steel -o studies/steel.yaml
    """
    from tuner.cli.show.images import print_draft
    from tuner.study import draft_study, find_home

    draft = draft_study(
        data,
        home=find_home(home),
        output=output,
        columns=columns or (),
        as_is=as_is,
        root=root,
        images=images,
        group_by=group_by,
        include=include,
        exclude=exclude,
        follow_links=follow_links,
    )
    print_draft(draft, group_by=group_by, home=home)
