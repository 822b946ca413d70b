"""``tuner train``: from an exported configuration to a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from tuner.cli import options

Config = Annotated[Path, typer.Argument(help="A file that `tuner export` wrote.")]
Data = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--data", help="Images to train on (default: those of the export)."),
]
Output = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("-o", "--output", help="Where to write (default: CONFIG.keras)."),
]
OpenTest = Annotated[
    bool, typer.Option("--open-test", help="Score the sealed test; this is recorded.")
]
Live = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option("--live/--bank", help="On images or cached views (default: as the study)."),
]
FineTune = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--fine-tune", help="Then train ResNet50 from conv5, conv4, … on, too."),
]
Register = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--register", metavar="NAME", help="Into MLflow's registry, as champion."),
]
Format = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--format", help="Beside the .keras file: onnx, openvino, litert, saved_model; repeatable."
    ),
]
Precision = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--precision", help="Of these formats also: fp16, int8; repeatable."),
]


def train(
    config: Config,
    data: Data = None,
    output: Output = None,
    open_test: OpenTest = False,
    live: Live = None,
    fine_tune: FineTune = None,
    register: Register = None,
    form: Format = None,
    precision: Precision = None,
    home: options.Home = None,
    tracking_uri: options.Tracking = None,
) -> None:
    """Train an exported configuration again, to a model with its card.

    Example:  tuner train best.yaml -o best.keras
    """
    from tuner.cli.show.export import print_model
    from tuner.cli.show.listener import TerminalListener
    from tuner.study import load_export
    from tuner.text import command

    with TerminalListener(home=home) as listener:
        export = load_export(config, home=home, listener=listener, tracking_uri=tracking_uri)
        model = export.train(
            output,
            data=data,
            live=live,
            fine_tune=fine_tune,
            open_test=open_test,
            formats=form or (),
            precisions=precision or (),
            register=register,
            command=command("tuner", *sys.argv[1:]),
        )
    print_model(model)
