"""A file of whatever format, opened by its runtime."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from tuner.arrays import Float32, UInt8
from tuner.errors import ExportError, UsageError
from tuner.model.formats.forms import Form, check_installed, form_of
from tuner.text import first_line

Run = Callable[[UInt8], Float32]


class Opened(NamedTuple):
    """A model in its runtime.

    Attributes:
        card: As plain values.
        run: From uint8 (batch, height, width, 3), of any size, to float32 (batch, n_classes).
        squares: A `run` made for many batches of pictures of one side, in pixels.
    """

    card: dict[str, Any]
    run: Run
    squares: Callable[[int], Run]


def module_of(form: Form) -> Any:
    """The module of a format: `embed` a card, `open_model`."""
    return import_module(f"tuner.model.formats.{form.name}_file")


def open_file(path: Path) -> Opened:
    """Open a model that is not Keras's own.

    Raises:
        UsageError: If its runtime is not installed.
        ExportError: If it is no model of tuner, or is damaged.
    """
    form = form_of(path)
    if form is None:
        raise ValueError(f"{path.suffix} is no format with a runtime of its own")
    check_installed(form)
    try:
        text, run, squares = module_of(form).open_model(path)
        card = json.loads(text)
        if not isinstance(card, dict):
            raise ValueError("its card is no card")
    except UsageError:
        raise
    except Exception as error:  # runtimes raise what they like; none of them runs code of a file
        raise ExportError(
            f"not a model that tuner wrote: {first_line(error)[:200]}",
            where=str(path),
            do=f"make one with: tuner train best.yaml --format {form.name}",
        ) from error
    return Opened(card, run, squares)
