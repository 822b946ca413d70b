"""Pictures that lie inside a file: written once, lossless, as an image folder with its table."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from PIL import Image

from tuner.data.labels.rows import ARRAYS, is_label_source, label_files
from tuner.data.sources import split_part
from tuner.errors import DataError
from tuner.files import replacing_folder
from tuner.text import first_line, some

_IMAGES = ("images", "image", "imgs", "x", "data")
_LABELS = ("labels", "label", "y", "targets", "target")
_BATCH = 256


@dataclass(frozen=True)
class _Picture:
    """One picture on its way to a file: its bytes, and what the table says of it."""

    name: str
    content: bytes
    label: str
    split: str


def unpacked(source: str, *, home: Path) -> Path | None:
    """Folder in the home for the pictures inside a source; None where it holds none.

    Its name follows from the place, size and times of the files, so that a changed file is
    unpacked anew.
    """
    if not is_label_source(source):
        return None
    _, files = label_files(source)
    if not _holds_pictures(files[0]):
        return None
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(f"{file}\n{status.st_size}\n{status.st_mtime_ns}\n".encode())
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", files[0].stem).strip("._-")[:60] or "data"
    folder = home / "datasets" / f"{name}-{digest.hexdigest()[:12]}"
    if not (folder / "labels.csv").is_file():
        _write(folder, files)
    return folder


def class_names_inside(source: str) -> dict[str, str]:
    """Names of the classes that Parquet files hold beside their pictures, by label."""
    import pyarrow.parquet as pq

    from tuner.data.labels.structured import names_in_schema

    file = label_files(source)[1][0]
    return {} if file.suffix.lower() in ARRAYS else names_in_schema(pq.read_schema(file))


def _holds_pictures(file: Path) -> bool:
    suffix = file.suffix.lower()
    return suffix in ARRAYS or (suffix in (".parquet", ".pq") and bool(_picture_column(file)))


def _write(folder: Path, files: Sequence[Path]) -> None:
    """Write every picture and ``labels.csv``; the folder appears whole or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replacing_folder(folder) as made:
            made.mkdir(parents=True, exist_ok=True)
            with (made / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
                table = csv.writer(stream)
                table.writerow(["path", "label", "split"])
                for picture in _pictures(files):
                    path = made / picture.name
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(picture.content)
                    table.writerow([picture.name, picture.label, picture.split])
    except OSError as error:
        raise DataError(
            f"the pictures inside {files[0].name} cannot be written: {error.strerror or error}",
            where=str(folder),
            do="free disk space or mend permissions, or choose another --home",
        ) from error


def _pictures(files: Sequence[Path]) -> Iterator[_Picture]:
    for file in files:
        yield from _of_arrays(file) if file.suffix.lower() in ARRAYS else _of_parquet(file, files)


def _of_arrays(file: Path) -> Iterator[_Picture]:
    """Pictures of the pairs of arrays in a NumPy archive, by part of the split."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            for part, images, labels in _pairs(list(archive.files), file=file):
                yield from _of_pair(archive[images], archive[labels], part=part, file=file)
    except (OSError, ValueError, EOFError, KeyError, BadZipFile, zlib.error) as error:
        raise _bad_arrays(f"arrays cannot be read: {first_line(error)[:200]}", file) from error


def _pairs(names: Sequence[str], *, file: Path) -> list[tuple[str, str, str]]:
    """Part and names of each array of images with its array of labels."""
    found: list[tuple[str, str, str]] = []
    for name in names:
        head, _, tail = name.casefold().rpartition("_")
        first, _, second = name.casefold().partition("_")
        for part, kind in ((head, tail), (second, first)):  # train_images, x_train
            if kind in _IMAGES and (not part or split_part(part)):
                ways = [f"{part}_{k}" if part and kind == tail else f"{k}_{part}" for k in _LABELS]
                ways = ways if part else list(_LABELS)
                label = next((n for n in names if n.casefold() in ways), None)
                if label and name not in [images for _, images, _ in found]:
                    found.append((split_part(part), name, label))
    if not found:
        raise _bad_arrays(
            f"no array of images has one of labels; it holds {some(names, n=8)}", file
        )
    return found


def _of_pair(images: Any, labels: Any, *, part: str, file: Path) -> Iterator[_Picture]:
    shape = images.shape
    if images.dtype != np.uint8 or not (
        len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4))
    ):
        what = f"images are {images.dtype} of shape {shape}"
        raise _bad_arrays(f"{what}, not uint8 (n, height, width[, 1, 3 or 4])", file)
    labels = labels.reshape(len(labels), -1) if labels.ndim else labels
    if labels.shape != (len(images), 1):
        n = int((labels.sum(axis=1) > 1).sum()) if labels.dtype.kind in "iub" else len(labels)
        raise _bad_arrays(
            f"labels have the shape {labels.shape}, {n} of {len(labels)} rows several classes; "
            "images have one here",
            file,
        )
    for number, (pixels, label) in enumerate(zip(images, labels[:, 0], strict=True)):
        name = f"{part or 'images'}/{number:06d}.png"
        yield _Picture(name=name, content=_png(pixels), label=str(label), split=part)


def _png(pixels: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 and pixels.ndim == 3 else pixels).save(
        stream, "PNG"
    )
    return stream.getvalue()


def _picture_column(file: Path) -> str:
    """Column of a Parquet file that holds image bytes, alone or beside their path; or ""."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowException):
        return ""  # whoever reads it as a table says so
    for column in schema:
        kind = column.type
        if pa.types.is_struct(kind):
            kind = next(
                (
                    kind.field(i).type
                    for i in range(kind.num_fields)
                    if kind.field(i).name == "bytes"
                ),
                kind,
            )
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return str(column.name)
    return ""


def _of_parquet(file: Path, files: Sequence[Path]) -> Iterator[_Picture]:
    """Pictures of a Parquet file, their bytes as they are."""
    import pyarrow.parquet as pq

    picture = _picture_column(file)
    reader = pq.ParquetFile(file)
    label = _label_column(reader.schema_arrow, file=file, picture=picture)
    part = split_part(file.stem) or split_part(file.parent.name)
    number = files.index(file)
    place = f"{part or 'images'}-{number:03d}" if len(files) > 1 else part or "images"
    row = 0
    for batch in reader.iter_batches(batch_size=_BATCH, columns=[picture, label]):
        for value, name in zip(
            batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True
        ):
            content = value.get("bytes") if isinstance(value, Mapping) else value
            if content:
                path = f"{place}/{row:06d}{_suffix(content)}"
                yield _Picture(name=path, content=content, label=_text(name), split=part)
            row += 1


def _label_column(schema: Any, *, file: Path, picture: str) -> str:
    import pyarrow as pa

    plain = [str(f.name) for f in schema if f.name != picture and not pa.types.is_nested(f.type)]
    known = [
        name
        for name in plain
        if name.casefold() in ("label", "labels", "class", "fine_label", "target")
    ]
    if not known and len(plain) != 1:
        raise DataError(
            f"no column named label stands beside the pictures; there are {some(plain, n=8)}",
            where=f"data.source: {file}",
            do="name the column of the class 'label'",
        )
    return known[0] if known else plain[0]


def _suffix(content: bytes) -> str:
    """Suffix of the format that the bytes begin as."""
    begins: dict[bytes, str] = {
        b"\x89PNG": ".png",
        b"\xff\xd8": ".jpg",
        b"GIF8": ".gif",
        b"BM": ".bmp",
        b"II*\0": ".tif",
        b"MM\0*": ".tif",
    }
    webp = ".webp" if content[8:12] == b"WEBP" else ".png"
    return next((suffix for head, suffix in begins.items() if content.startswith(head)), webp)


def _text(value: Any) -> str:
    from tuner.data.labels.structured import as_text

    return as_text(value)


def _bad_arrays(what: str, file: Path) -> DataError:
    return DataError(
        what,
        where=f"data.source: {file}",
        do="write train_images as uint8 and train_labels as (n,) or (n, 1), likewise val and test",
    )
