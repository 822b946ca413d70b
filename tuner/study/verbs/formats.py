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
    from tuner.arrays import UInt8
    from tuner.data.decoding.rule import PixelRule
    from tuner.model.formats.write import Written

_N_COMPARED, _N_WHOLE = 12, 4


def write_beside(
    model: Path, forms: Sequence[Form], pictures: Sequence[UInt8], listener: Listener
) -> list[Path]:
    """Write a model beside itself in other formats, and say what each was found to be.

    Args:
        model: The ``.keras`` file.
        forms: The formats.
        pictures: Real ones of the user's, or none for two photographs.
        listener: Told what happens.

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
            for file in write_formats(model, forms, shown):
                written.append(file)
                listener.result(_words(file))
    except OSError as error:
        what = f"the file cannot be written: {error.strerror or error}"
        do = "free disk space; the .keras file is whole"
        raise ExportError(what, where=str(error.filename or model.parent), do=do) from error
    finally:
        if written:
            listener.result(f"card for programs written to {note_files(model, written)}")
    return [file.path for file in written]


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


def _words(file: Written) -> str:
    facts = file.facts
    return (
        f"{facts['format']} written to {file.path}, {facts['bytes'] / 1e6:.0f} MB\n"
        f"  run by {facts['runtime']} on {facts['pictures']} pictures, tall, wide, tiny and huge "
        f"ones among them; its probabilities differ from Keras by at most "
        f"{facts['largest_difference']:.1g}"
    )
