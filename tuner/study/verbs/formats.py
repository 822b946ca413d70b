"""A written model in other formats: written, proved equal, entered on its card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tuner.errors import ExportError
from tuner.home.listener import Listener
from tuner.model.formats.forms import Form

if TYPE_CHECKING:
    from tuner.arrays import Int64, UInt8
    from tuner.data.decoding.rule import PixelRule
    from tuner.ground import Ground
    from tuner.model.formats.judge import Smaller
    from tuner.model.formats.write import Written

_N_COMPARED, _N_WHOLE = 12, 4
_N_JUDGED, _N_CALIBRATED = 1000, 200


def write_beside(
    model: Path,
    forms: Sequence[Form],
    pictures: Sequence[UInt8],
    listener: Listener,
    smaller: Smaller | None = None,
) -> list[Path]:
    """Write a model beside itself in other formats, and say what each was found to be.

    Args:
        model: The ``.keras`` file.
        forms: The formats.
        pictures: Real ones of the user's, or none for two photographs.
        listener: Told what happens.
        smaller: For files of less precision.

    Raises:
        ExportError: If one cannot be written or answers otherwise than Keras; others are kept.
    """
    from tuner.model.archive import read_card
    from tuner.model.formats.beside import note_files
    from tuner.model.formats.pictures import of_all_forms, photographs
    from tuner.model.formats.write import write_formats

    shown = of_all_forms(pictures or photographs(), image_px=int(read_card(model)["image_px"]))
    written: list[Written] = []
    try:
        with listener.status("exporting on TensorFlow, in a process of its own"):
            for file in write_formats(model, forms, shown, smaller):
                written.append(file)
                for line in _lines_of(file):
                    listener.result(line)
    except OSError as error:
        what = f"the file cannot be written: {error.strerror or error}"
        do = "free disk space; the .keras file is whole"
        raise ExportError(what, where=str(error.filename or model.parent), do=do) from error
    finally:
        if written:
            listener.result(f"card for programs written to {note_files(model, written)}")
    return [file.path for file in written]


def write_saved(model: Path, listener: Listener) -> Path:
    """Write a TensorFlow SavedModel beside a ``.keras`` file; returns where.

    Raises:
        ExportError: If it cannot be written.
    """
    from tuner.model.files import write_saved_model

    place = model.with_suffix(".saved_model")
    with listener.status("writing the SavedModel"):
        write_saved_model(model, place)
    listener.result(f"SavedModel written to {place}")
    return place


def read_some(files: Sequence[Path], *, image_px: int, rule: PixelRule) -> list[UInt8]:
    """Some pictures to compare on, spread over all: the first of them whole, others resized.

    Raises:
        DataError: If one cannot be read.
    """
    from tuner.data.images import decode_rgb, read_bytes, read_image

    n = min(_N_COMPARED, len(files))
    chosen = [files[k] for k in np.linspace(0, len(files) - 1, n).astype(int)]
    whole = [
        np.asarray(decode_rgb(read_bytes(path), name=str(path), rule=rule))
        for path in chosen[:_N_WHOLE]
    ]
    return whole + [read_image(path, image_px=image_px, rule=rule) for path in chosen[_N_WHOLE:]]


def of_ground(ground: Ground, precisions: Sequence[str]) -> Smaller | None:
    """What smaller files are calibrated and judged on: a study's images outside of its test.

    Two sets of them, or the same one where there are few. The final head has seen both: what
    changes is told, not how good the model is.

    Raises:
        DataError: If an image cannot be read.
    """
    if not precisions:
        return None
    from tuner.model.formats.judge import Smaller

    table = ground.table
    n = len(table.search)
    judged = table.search[:: -(-n // _N_JUDGED)]
    rest = np.setdiff1d(table.search, judged)
    calibration = rest if len(rest) else judged
    calibration = calibration[:: -(-len(calibration) // _N_CALIBRATED)]
    return Smaller(
        precisions=precisions,
        calibration=_squares(ground, calibration),
        judged=_squares(ground, judged),
        labels=table.labels[judged],
        class_names=table.class_names,
    )


def _squares(ground: Ground, images: Int64) -> UInt8:
    """Images by their number in the table, uint8 (n, image_px, image_px, 3)."""
    from tuner.data.images import read_image

    image_px, rule = ground.config.data.image_px, ground.table.rule
    files = ground.files(images)
    return np.stack([read_image(file.path, image_px=image_px, rule=rule) for file in files])


def _lines_of(file: Written) -> tuple[str, str]:
    """What was written, and how it answered."""
    facts = file.facts
    written = f"{facts['format']} written to {file.path}, {facts['bytes'] / 1e6:.0f} MB"
    run = f"  run by {facts['runtime']} on {facts['pictures']:,}"
    if facts["precision"] == "float32":
        return written, (
            f"{run} pictures, tall, wide, tiny and huge ones among them; its probabilities differ "
            f"from Keras by at most {facts['largest_difference']:.1g}"
        )
    rate = facts["images_a_second"]
    return written, (
        f"{run} images: {facts['precision']} decides {facts['decisions_changed']:,} otherwise, "
        f"and moves a probability by at most {facts['largest_difference']:.2g}; "
        f"{rate['this'] / rate['float32']:.2f} times as fast"
    )
