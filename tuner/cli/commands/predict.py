"""``tuner predict``: class and probability of each image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tuner.cli import options


def predict(
    model: Annotated[
        Path, typer.Argument(help="What `tuner train` wrote: .keras, .onnx, .xml, .tflite.")
    ],
    images: Annotated[list[str], typer.Argument(help="Files, folders, or patterns in quotes.")],
    as_json: options.Json = False,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="Where to write (default: stdout)."),
    ] = None,
) -> None:
    """Classify images: class and probabilities of each, as CSV or JSON.

    Example:  tuner predict best.keras photos/ > classes.csv
    """
    from tuner.cli.show.predictions import write_predictions

    write_predictions(model, images, as_json=as_json, output=output)
