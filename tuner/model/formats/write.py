"""Write a model in other formats, each reported once its own runtime answered as Keras does."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tuner.arrays import Float32, UInt8
from tuner.errors import ExportError
from tuner.files import put
from tuner.model.archive import read_card
from tuner.model.formats.convert import convert
from tuner.model.formats.forms import Form
from tuner.model.formats.judge import Smaller, judge
from tuner.model.formats.opened import open_file

LARGEST_DIFFERENCE = 1e-4  # of a probability: the order of additions; the pixels are the same
_WHOLE = "float32"
_DISTRIBUTIONS = {"ai_edge_litert": "ai-edge-litert"}


class Written(NamedTuple):
    """A file that was proved equal.

    Attributes:
        path: The file.
        facts: Format, runtime and its version, largest difference of a probability from
            Keras, pictures that were compared, and bytes of the file and those beside it.
    """

    path: Path
    facts: dict[str, Any]


def write_formats(
    model: Path,
    forms: Sequence[Form],
    pictures: Sequence[UInt8],
    smaller: Smaller | None = None,
) -> Iterator[Written]:
    """Write a model beside itself in other formats.

    Args:
        model: A ``.keras`` file that `save_model` wrote.
        forms: The formats.
        pictures: On which every file is held against Keras, uint8 (height, width, 3) each.
        smaller: For files of less precision beside those of float32, which answer otherwise.

    Yields:
        The files, each when it is there.

    Raises:
        ExportError: If one cannot be written or answers otherwise, once all others are there.
    """
    card, faults = read_card(model), []
    with tempfile.TemporaryDirectory(dir=model.parent, prefix=f".{model.stem}.") as folder:
        place = Path(folder)
        text = json.dumps(card, ensure_ascii=False)
        precisions = smaller.precisions if smaller else ()
        expected, failed = convert(
            model,
            forms,
            pictures,
            card=text,
            place=place,
            precisions=precisions,
            calibration=smaller.calibration if smaller else None,
        )
        for form in forms:
            done: list[tuple[Path, Written]] = []
            whole, target = place / f"model{form.suffix}", model.with_suffix(form.suffix)
            for precision in ("", *precisions):
                made = _small(whole, precision)
                try:
                    if reason := failed.get(made.name):
                        raise ExportError(f"it cannot be converted: {reason}")
                    if precision and smaller:
                        found = judge(open_file(whole), open_file(made), smaller)
                    else:
                        found = _compared(made, pictures, expected)
                except ExportError as error:
                    faults.append(f"{form.name} {precision or _WHOLE}: {error.what}")
                    continue
                facts = {
                    "format": form.name,
                    "precision": precision or _WHOLE,
                    "runtime": runtime_words(form),
                    "bytes": _bytes(made, form),
                }
                done.append((made, Written(_small(target, precision), facts | found)))
            # Not before: the smaller ones are judged by the float32 one.
            for made, written in done:
                _put(made, written.path, form)
                yield written
    if faults:
        raise ExportError(
            "\n  ".join(["not written:", *faults]),
            where=str(model),
            do="the .keras file and other formats are whole; docs/model.md says what each needs",
        )


def runtime_words(form: Form) -> str:
    """Name and version of a format's runtime."""
    name = _DISTRIBUTIONS.get(form.runtime, form.runtime)
    return f"{name} {metadata.version(name)}"


def _compared(made: Path, pictures: Sequence[UInt8], expected: Float32) -> dict[str, Any]:
    """Pictures, and the largest difference of a probability between a file's runtime and Keras."""
    opened, worst = open_file(made), 0.0
    for pixels, row in zip(pictures, expected, strict=True):
        try:
            found = opened.run(pixels[None])[0]
        except Exception as error:  # as each runtime likes
            raise ExportError(
                f"its runtime fails on a picture {_size(pixels)}: {error}"
            ) from error
        # Not a number is never equal.
        difference = float(np.abs(found - row).max())
        if not difference <= LARGEST_DIFFERENCE:
            raise ExportError(
                f"its runtime differs from Keras by {difference:.2g} in a probability on a "
                f"picture {_size(pixels)}, more than {LARGEST_DIFFERENCE}"
            )
        worst = max(worst, difference)
    return {"pictures": len(pictures), "largest_difference": worst}


def _size(pixels: UInt8) -> str:
    return f"of {pixels.shape[1]} x {pixels.shape[0]}"


def _small(path: Path, precision: str) -> Path:
    """``best.int8.onnx`` for ``best.onnx``; without a precision the file itself."""
    return path.with_name(f"{path.stem}.{precision}{path.suffix}") if precision else path


def _bytes(path: Path, form: Form) -> int:
    files = [path.with_suffix(suffix) for suffix in (form.suffix, *form.beside)]
    return sum(file.stat().st_size for file in files)


def _put(made: Path, target: Path, form: Form) -> None:
    """Give a file, after those that belong to it, its name beside the model."""
    for suffix in (*form.beside, form.suffix):
        put(made.with_suffix(suffix), target.with_suffix(suffix))
