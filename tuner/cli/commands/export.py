"""``tuner export``: the best configuration, complete enough to train again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tuner.cli import options


def export(
    study: Annotated[
        str, typer.Argument(help="A study, by its file or name; or a .keras file, with --format.")
    ],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="Where to write (default: best.yaml)."),
    ] = None,
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
    form: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--format", help="Of a model: onnx, openvino, litert, …; repeatable."),
    ] = None,
    images: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--images", help="Of a model: pictures on which its formats are compared."),
    ] = None,
    home: options.Home = None,
) -> None:
    """Write the best configuration, complete enough to train again; or a model's other formats.

    Example:  tuner export steel -o best.yaml
    """
    from tuner.cli.show.export import export_model, print_export, refuse_formats
    from tuner.study import Study

    if study.endswith(".keras"):
        of_study: dict[str, object] = {"-o": output, "--trial": trial, "--tau": tau}
        of_study |= {"--cost": cost, "--recall-floor": recall_floor, "--home": home}
        export_model(study, form or [], images=images or [], of_study=of_study)
        return
    refuse_formats(form or images)
    opened = Study(study, home=home, listener=None)
    path = output or Path("best.yaml")
    written = opened.export(path, trial=trial, tau=tau, cost=cost, recall_floor=recall_floor)
    print_export(written, opened, home=home, is_chosen=trial is None)
