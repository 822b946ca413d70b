"""Label files of known sets and tools in their true form, small, with pictures to learn from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PX = 32
_RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Made:
    """A set that was written.

    Attributes:
        source: What ``tuner init`` is given, from the folder it was made in.
        classes: Images by class, the usable ones.
        n_groups: Groups that its own column says; None without one.
        n_test: Images that it ships as test; None where it ships none.
        answer: What the user has to add, once asked.
    """

    source: str
    classes: dict[str, int]
    n_groups: int | None = None
    n_test: int | None = None
    answer: tuple[str, ...] = ()


def pixels(k: int, *, px: int = PX) -> Any:
    """Stripes of class `k`, each picture another; uint8 (px, px, 3)."""
    y, x = np.mgrid[:px, :px]
    angle = _RNG.uniform(-0.2, 0.2) + k * 0.7
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (0.3 + 0.12 * k) + _RNG.uniform(0, 6))
    noise = _RNG.normal(0, 30, (px, px, 3))
    return np.clip(128 + 60 * wave[..., None] + noise, 0, 255).astype(np.uint8)


def save(path: Path, k: int) -> None:
    """Write a picture of class `k`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(k)).save(path)


def table(path: Path, rows: Iterable[Sequence[object]], *, delimiter: str = ",") -> None:
    """Write a text table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows(rows)


def ham10000(root: Path) -> Made:
    """Ids without suffix, images in two folders, lesions photographed more than once."""
    rows: list[Sequence[object]] = [
        ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"]
    ]
    classes = {"nv": 36, "mel": 18, "bkl": 16}
    number = 0
    for k, (name, n) in enumerate(classes.items()):
        for i in range(n):
            image = f"ISIC_{24306 + number:07d}"
            save(root / f"HAM10000_images_part_{1 + number % 2}" / f"{image}.jpg", k)
            lesion = f"HAM_{1000 * k + i // 2:07d}"
            place = ["back", "trunk", "scalp"][i % 3]
            rows.append([lesion, image, name, "histo", 45.0 + i, "male", place, "vidir_modern"])
            number += 1
    table(root / "HAM10000_metadata.csv", rows)
    return Made("HAM10000_metadata.csv", classes, n_groups=35)


def isic_2019(root: Path) -> Made:
    """One-hot columns, a last one that is 0 everywhere, names of files with an ending."""
    names = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    used = {"NV": 30, "MEL": 16, "BCC": 14}
    rows: list[Sequence[object]] = [["image", *names]]
    for k, (name, n) in enumerate(used.items()):
        for i in range(n):
            image = f"ISIC_{k}{i:06d}" + ("_downsampled" if i % 5 == 0 else "")
            save(root / "ISIC_2019_Training_Input" / f"{image}.jpg", k)
            rows.append([image, *(float(name == other) for other in names)])
    table(root / "ISIC_2019_Training_GroundTruth.csv", rows)
    return Made("ISIC_2019_Training_GroundTruth.csv", used)


def gtsrb(root: Path) -> Made:
    """A table in each class folder, semicolons, tracks in the names of files."""
    classes = {"0": 24, "14": 18, "38": 16}
    head = ["Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId"]
    for k, (name, n) in enumerate(classes.items()):
        folder = root / "Final_Training" / "Images" / f"{int(name):05d}"
        rows: list[Sequence[object]] = [head]
        for i in range(n):
            file = f"{i // 2:05d}_{i % 2:05d}.ppm"
            save(folder / file, k)
            rows.append([file, PX, PX, 5, 5, 27, 27, int(name)])
        table(folder / f"GT-{int(name):05d}.csv", rows, delimiter=";")
    return Made("Final_Training/Images/*/GT-*.csv", classes)


def elpv(root: Path) -> Made:
    """No header, blanks, four grades as numbers and a kind of cell beside them."""
    grades = {"0.0": 24, "0.3333333333333333": 16, "0.6666666666666666": 14, "1.0": 18}
    lines = []
    for k, (grade, n) in enumerate(grades.items()):
        for i in range(n):
            name = f"images/cell{k}{i:03d}.png"
            save(root / name, k)
            lines.append(f"{name}  {grade}  {'mono' if i % 2 else 'poly'}\n")
    (root / "labels.csv").write_text("".join(lines))
    return Made("labels.csv", grades, answer=("--columns", "label=2"))


def aptos(root: Path) -> Made:
    """Ids without suffix, numbers as classes, images in a folder beside."""
    classes = {"0": 30, "1": 14, "2": 20}
    rows: list[Sequence[object]] = [["id_code", "diagnosis"]]
    for k, (grade, n) in enumerate(classes.items()):
        for i in range(n):
            save(root / "train_images" / f"{k}{i:011x}.png", k)
            rows.append([f"{k}{i:011x}", grade])
    table(root / "train.csv", rows)
    return Made("train.csv", classes)


def hugging_face(root: Path) -> Made:
    """A ``metadata.jsonl`` beside the images of each part."""
    for part, n in (("train", 20), ("test", 8)):
        lines = []
        for k, name in enumerate(("healthy", "rust", "scab")):
            for i in range(n):
                save(root / part / f"{name}_{i}.png", k)
                lines.append(json.dumps({"file_name": f"{name}_{i}.png", "label": name}))
        (root / part / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return Made("*/metadata.jsonl", {"healthy": 28, "rust": 28, "scab": 28}, n_test=24)


def roboflow(root: Path) -> Made:
    """One-hot tables with spaces in the parts of a split, and a class nobody uses."""
    for part, n in (("train", 16), ("valid", 4), ("test", 6)):
        rows = ["filename, Unlabeled, crack, dent"]
        for k, name in enumerate(("crack", "dent")):
            for i in range(n):
                file = f"{part}_{name}{i}_jpg.rf.{i:032x}.jpg"
                save(root / part / file, k)
                rows.append(f"{file}, 0, {int(name == 'crack')}, {int(name == 'dent')}")
        (root / part / "_classes.csv").write_text("\n".join(rows) + "\n")
    return Made("*/_classes.csv", {"crack": 26, "dent": 26}, n_test=12)


def medmnist(root: Path) -> Made:
    """Arrays of three parts, labels of shape (n, 1)."""
    arrays = {}
    for part, n in (("train", 16), ("val", 4), ("test", 6)):
        arrays[f"{part}_images"] = np.stack(
            [pixels(k, px=28) for k in (0, 1, 2) for _ in range(n)]
        )
        arrays[f"{part}_labels"] = np.repeat([0, 1, 2], n)[:, None].astype(np.uint8)
    np.savez_compressed(root / "bloodmnist.npz", **arrays)
    return Made("bloodmnist.npz", {"0": 26, "1": 26, "2": 26}, n_test=18)


def camera_trap(root: Path) -> Made:
    """COCO for camera traps: locations, sequences, an image of two species and one of none."""
    names = ["empty", "deer", "fox"]
    images: list[dict[str, object]] = []
    notes = []
    for k, name in enumerate(names):
        for i in range(20):
            file = f"loc{i % 10}/{name}_{i}.jpg"
            save(root / "images" / file, k)
            images.append(
                {
                    "id": f"{name}{i}",
                    "file_name": file,
                    "location": f"loc{i % 10}",
                    "seq_id": f"{name}-{i // 2}",
                    "datetime": f"2020-01-{1 + i:02d}",
                    "width": PX,
                    "height": PX,
                }
            )
            notes.append({"id": f"n{k}{i}", "image_id": f"{name}{i}", "category_id": k})
    notes.append({"id": "both", "image_id": "deer0", "category_id": 2})
    notes = [note for note in notes if note["image_id"] != "fox1"]
    categories = [{"id": k, "name": name} for k, name in enumerate(names)]
    value = {"info": {}, "images": images, "annotations": notes, "categories": categories}
    (root / "traps.json").write_text(json.dumps(value))
    return Made("traps.json", {"empty": 20, "deer": 19, "fox": 19}, n_groups=10)


def parquet(root: Path) -> Made:
    """Pictures as bytes in a file a part, names of classes in the schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ["cat", "dog"]
    kinds = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    meta = {"huggingface": json.dumps({"info": {"features": kinds}})}
    (root / "data").mkdir()
    for part, n in (("train", 20), ("test", 8)):
        rows = []
        for k in range(2):
            for _ in range(n):
                stream = io.BytesIO()
                Image.fromarray(pixels(k)).save(stream, "JPEG")
                rows.append({"image": {"bytes": stream.getvalue(), "path": None}, "label": k})
        found = pa.Table.from_pylist(rows).replace_schema_metadata(meta)
        pq.write_table(found, root / "data" / f"{part}-00000-of-00001.parquet")
    return Made("data/*.parquet", {"cat": 28, "dog": 28}, n_test=16)


PUBLISHED: dict[str, Callable[[Path], Made]] = {
    "HAM10000": ham10000,
    "ISIC 2019": isic_2019,
    "GTSRB": gtsrb,
    "ELPV": elpv,
    "APTOS 2019": aptos,
    "Hugging Face metadata.jsonl": hugging_face,
    "Hugging Face Parquet": parquet,
    "Roboflow": roboflow,
    "MedMNIST": medmnist,
    "camera traps": camera_trap,
}
