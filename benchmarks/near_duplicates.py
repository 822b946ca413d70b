"""Near-duplicates on real images: planted copies found, false alarms, and what a split leaks.

python benchmarks/near_duplicates.py [--data steel_xsdd ...] [--home FOLDER] [--synthetic 100000]

Plants copies of each kind into every data set, one copy of an image, and runs
`find_near_duplicates` as `tuner check --features` does. Needs the ImageNet weights and the
development data sets; the solar cells come from the package elpv-dataset on PyPI. Features are
kept in the home between runs.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _common import emit, image_files, machine_name, say
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.neighbors import NearestNeighbors

from tuner.config import parse_study
from tuner.data.image_table import ImageTable
from tuner.data.images import decode_rgb, read_bytes
from tuner.data.near_duplicates.find import NearDuplicates, find_near_duplicates
from tuner.data.near_duplicates.neighbours import nearest
from tuner.data.reading import read_image_table
from tuner.home import Home

IMAGE_PX = {
    "digits": 64,
    "demo_blood": 96,
    "steel_xsdd": 128,
    "waste_trashnet": 128,
    "blood_chula12": 80,
    "solar_cells": 128,
}


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return decode_rgb(file.getvalue(), name="copy")


def crop(picture: Image.Image, share: float) -> Image.Image:
    """Without its upper left border."""
    x, y = (max(1, round(share * side)) for side in picture.size)
    return picture.crop((x, y, *picture.size))


def shift(picture: Image.Image, share: float) -> Image.Image:
    x, y = (max(1, round(share * side)) for side in picture.size)
    pixels = np.pad(np.asarray(picture), ((y, 0), (x, 0), (0, 0)), mode="edge")
    return Image.fromarray(pixels[: picture.height, : picture.width])


def resize(picture: Image.Image, factor: float) -> Image.Image:
    width, height = (max(8, round(factor * side)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def brightness(picture: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(factor)


KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg_75": lambda p: jpeg(p, 75),
    "jpeg_50": lambda p: jpeg(p, 50),
    "crop_2%": lambda p: crop(p, 0.02),
    "crop_3%": lambda p: crop(p, 0.03),
    "shift_3%": lambda p: shift(p, 0.03),
    "brightness_+5%": lambda p: brightness(p, 1.05),
    "brightness_-5%": lambda p: brightness(p, 0.95),
    "resize_75%": lambda p: resize(p, 0.75),
    "mirrored": lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "crop_2%_brighter_jpeg_75": lambda p: jpeg(brightness(crop(p, 0.02), 1.05), 75),
}


def turn(picture: Image.Image, degrees: float) -> Image.Image:
    """Turned a little; what comes in from outside repeats the border."""
    x, y = (side // 2 for side in picture.size)
    pixels = np.pad(np.asarray(picture), ((y, y), (x, x), (0, 0)), mode="edge")
    turned = Image.fromarray(pixels).rotate(degrees, Image.Resampling.BILINEAR)
    return turned.crop((x, y, x + picture.width, y + picture.height))


def light(picture: Image.Image) -> Image.Image:
    """The same part lit from another corner."""
    x, y = np.meshgrid(np.linspace(0, 1, picture.width), np.linspace(0, 1, picture.height))
    lit = np.asarray(picture) * (0.65 + 0.36 * x + 0.24 * y)[..., None]
    return Image.fromarray(lit.clip(0, 255).astype(np.uint8))


# Looked for since note 015.
KINDS_LATER: dict[str, Callable[[Image.Image], Image.Image]] = {
    "turned_90": lambda p: p.transpose(Image.Transpose.ROTATE_90),
    "turned_180": lambda p: p.transpose(Image.Transpose.ROTATE_180),
    "upside_down": lambda p: p.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "turned_3_degrees": lambda p: turn(p, 3),
    "turned_5_degrees": lambda p: turn(p, 5),
    "other_light": light,
    "brightness_-40%": lambda p: brightness(p, 0.6),
    "crop_5%": lambda p: crop(p, 0.05),
}


def plant(
    files: list[Path],
    folder: Path,
    kinds: dict[str, Callable[[Image.Image], Image.Image]],
    *,
    n_each: int,
) -> dict[str, list[tuple[int, Path]]]:
    """Copies by kind, each with the place of its original; every original is copied once."""
    rng = np.random.default_rng(0)
    n_each = min(n_each, len(files) // len(kinds))
    chosen = iter(rng.choice(len(files), n_each * len(kinds), replace=False).tolist())
    planted: dict[str, list[tuple[int, Path]]] = {}
    for number, (kind, change) in enumerate(kinds.items()):
        planted[kind] = []
        for _ in range(n_each):
            row = next(chosen)
            copy = folder / f"{number}_{row}.png"
            change(decode_rgb(read_bytes(files[row]), name=str(files[row]))).save(copy)
            planted[kind].append((row, copy))
    return planted


def features_of(files: list[Path], sha256: list[str], *, image_px: int, home: Home) -> np.ndarray:
    """Features of view 0 from the bank, extracted where it lacks them."""
    from tuner.features.device import find_device
    from tuner.features.source import open_features
    from tuner.features.wanted import ViewOf
    from tuner.features.weights.resolve import resolve_weights

    text = f"{{name: x, data: {{source: digits, image_px: {image_px}}}}}"
    config = parse_study(text, source="benchmark")
    weights = resolve_weights("imagenet")
    source = open_features(config, home, weights=weights, device=find_device())
    source.fill([ViewOf(f, s, 0) for f, s in zip(files, sha256, strict=True)])
    return source.bank.read([f"{s}:0" for s in sha256])


def measure(name: str, *, home: Home, n_each: int, folder: Path) -> None:
    """Lines for a data set: recall of each kind, false alarms, groups."""
    if name == "solar_cells":
        root = solar_cells(folder)
    else:
        found_name, _ = image_files(name, into=folder)
        if found_name != name:
            return
        root = next(p for p in [folder / name / name, folder / name] if p.is_dir())
    table = read_image_table(str(root), home=home.path)
    for kinds in (KINDS, KINDS_LATER):
        measure_kinds(name, table, kinds, home=home, n_each=n_each, folder=folder)
    files = [table.root / path for path in table.paths]
    features = features_of(files, list(table.sha256), image_px=IMAGE_PX[name], home=home)
    near = find_near_duplicates(features, files, sha256=table.sha256)
    if name == "blood_chula12":
        smears(table, features, near)
    if name == "solar_cells":
        sisters(files, near)


def measure_kinds(
    name: str,
    table: ImageTable,
    kinds: dict[str, Callable[[Image.Image], Image.Image]],
    *,
    home: Home,
    n_each: int,
    folder: Path,
) -> None:
    """One line: copies of some kinds, and what is found without them."""
    image_px = IMAGE_PX[name]
    files = [table.root / path for path in table.paths]
    copies = folder / f"{name}_copies_{next(iter(kinds))}"
    copies.mkdir()
    planted = plant(files, copies, kinds, n_each=n_each)
    both = read_both(copies, table)
    say(f"{name}: {len(files)} images, {len(both[0]) - len(files)} copies")
    features = features_of(*both, image_px=image_px, home=home)
    start = time.perf_counter()
    near = find_near_duplicates(features, both[0], sha256=both[1])
    seconds = time.perf_counter() - start
    pairs = set(zip(near.first.tolist(), near.second.tolist(), strict=True))
    place = {path: row for row, path in enumerate(both[0])}
    recall = {
        kind: float(np.mean([(row, place[copy]) in pairs for row, copy in made]))
        for kind, made in planted.items()
    }
    alone = find_near_duplicates(features[: len(files)], files, sha256=table.sha256)
    sizes = np.bincount(alone.groups)
    emit(
        "near_duplicates",
        machine=machine_name(),
        data=name,
        image_px=image_px,
        images=len(files),
        copies_of_each_kind=len(next(iter(planted.values()))),
        recall={kind: round(value, 3) for kind, value in recall.items()},
        pairs_without_planting=len(alone.first),
        images_in_them=len(np.unique(np.concatenate([alone.first, alone.second]))),
        groups=int((sizes > 1).sum()),
        largest_group=int(sizes.max()),
        recall_of_all_kinds=float(np.mean(list(recall.values()))),
        cosine_that_flags_as_many_images=cosine_rival(features, both, planted, alone),
        images_per_s=len(both[0]) / seconds,
    )


def solar_cells(folder: Path) -> Path:
    """Photographs of solar cells, a folder for each design and grade, out of the package."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["elpv-dataset==1.0.0.post1", "--dest", str(folder)]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(next(folder.glob("elpv_dataset-*.whl"))) as wheel:
        wheel.extractall(folder / "wheel")
    data = folder / "wheel" / "elpv_dataset" / "data"
    root = folder / "solar_cells"
    for line in (data / "labels.csv").read_text().splitlines():
        path, grade, design = line.split()
        (root / f"{design}_{float(grade):.2f}").mkdir(parents=True, exist_ok=True)
        shutil.copy(data / path, root / f"{design}_{float(grade):.2f}")
    return root


def sisters(files: list[Path], near: NearDuplicates) -> None:
    """Wafers of one brick share their grains; plain cells share frame and busbars only.

    Two multicrystalline cells are sisters when what is left of 64 x 64 pixels without row means,
    column means and slow shading correlates above 0.9.
    """
    is_poly = np.array([file.parent.name.startswith("poly") for file in files])
    left = np.stack([grains(file) for file in files])
    correlation = left @ left.T
    np.fill_diagonal(correlation, -1)
    correlation[~is_poly] = correlation[:, ~is_poly] = -1
    first, second = np.nonzero(np.triu(correlation) > 0.9)
    found = set(zip(near.first.tolist(), near.second.tolist(), strict=True))
    is_found = np.array([p in found for p in zip(first.tolist(), second.tolist(), strict=True)])
    of_sisters = np.unique(np.concatenate([first, second]))
    flagged = np.unique(np.concatenate([near.first, near.second]))
    found_sisters = np.unique(np.concatenate([first[is_found], second[is_found]]))
    emit(
        "near_duplicates_sisters",
        machine=machine_name(),
        multicrystalline_cells=int(is_poly.sum()),
        cells_with_a_sister=len(of_sisters),
        share_of_them_found=len(found_sisters) / len(of_sisters),
        share_of_sister_pairs_in_one_group=float(
            np.mean(near.groups[first] == near.groups[second])
        ),
        plain_cells=int((~is_poly).sum()),
        share_of_them_flagged=float((~is_poly[flagged]).sum() / (~is_poly).sum()),
        largest_group=int(np.bincount(near.groups).max()),
    )


def grains(file: Path) -> np.ndarray:
    """What no neighbour shares of a cell, float32 (4096,), of length 1."""
    picture = Image.open(file).convert("L").resize((64, 64), Image.Resampling.BILINEAR)
    left = np.asarray(picture, dtype=np.float32)
    left = left - gaussian_filter(left, 8)
    left = left - left.mean(axis=0) - left.mean(axis=1, keepdims=True) + left.mean()
    return (left / np.linalg.norm(left)).ravel()


def read_both(copies: Path, table: ImageTable) -> tuple[list[Path], list[str]]:
    """Files and hashes of the originals, then of the copies."""
    made = sorted(copies.iterdir())
    files = [table.root / path for path in table.paths] + made
    return files, [*table.sha256, *(hashlib.sha256(p.read_bytes()).hexdigest() for p in made)]


def cosine_rival(
    features: np.ndarray,
    both: tuple[list[Path], list[str]],
    planted: dict[str, list[tuple[int, Path]]],
    alone: NearDuplicates,
) -> dict[str, float]:
    """Recall of a single cosine threshold that flags as many original images as `alone` has."""
    n_made = sum(map(len, planted.values()))
    n_images = len(features) - n_made
    centred = features[:n_images] - features[:n_images].mean(axis=0)
    nearest_one = NearestNeighbors(n_neighbors=1, metric="cosine").fit(centred)
    best = 1 - nearest_one.kneighbors()[0][:, 0]
    n_flagged = max(1, len(np.unique(np.concatenate([alone.first, alone.second]))))
    threshold = float(np.sort(best)[-n_flagged])
    centred = features - features.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    place = {path: row for row, path in enumerate(both[0])}
    own = [centred[row] @ centred[place[copy]] for made in planted.values() for row, copy in made]
    return {
        "threshold": round(threshold, 3),
        "recall": round(float(np.mean(np.array(own) >= threshold)), 3),
    }


def smears(table: ImageTable, features: np.ndarray, near: NearDuplicates) -> None:
    """blood_chula12: pairs against smears and overlap of windows, and three ways to split."""
    archive = Path(os.environ.get("TUNER_DATA") or Path(__file__).parents[2] / "shared/data")
    with (archive / "blood_chula12_manifest.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    at = np.array([[int(rows[p]["cx"]), int(rows[p]["cy"])] for p in table.paths])
    smear = np.unique([rows[p]["group"] for p in table.paths], return_inverse=True)[1]
    found = set(zip(near.first.tolist(), near.second.tolist(), strict=True))
    recall = {}
    for low, high in ((0.25, 0.5), (0.5, 0.7), (0.7, 0.85), (0.85, 1.01)):
        true = overlapping(at, smear, low=low, high=high)
        if true:
            hit = float(np.mean([pair in found for pair in true]))
            recall[f"{low:g}-{min(high, 1):g}"] = {"pairs": len(true), "recall": round(hit, 3)}
    sizes = np.bincount(near.groups)
    linked = np.flatnonzero(sizes > 1)
    spans = [len(np.unique(smear[near.groups == g])) > 1 for g in linked]
    emit(
        "near_duplicates_smears",
        machine=machine_name(),
        pairs=len(near.first),
        share_in_one_smear=float(np.mean(smear[near.first] == smear[near.second])),
        recall_by_overlap_of_windows=recall,
        share_of_same_smear_pairs_linked=share_linked(smear, near.groups),
        groups=len(linked),
        groups_that_span_smears=int(np.sum(spans)),
        images_in_groups=int(sizes[linked].sum()),
        images_in_groups_that_span_smears=int(sizes[linked[np.array(spans, bool)]].sum()),
        macro_recall=split_values(features, table.labels, smear=smear, linked=near.groups),
    )


def overlapping(
    at: np.ndarray, smear: np.ndarray, *, low: float, high: float
) -> list[tuple[int, int]]:
    """Pairs of one smear whose windows of 80 pixels share such a part of their area."""
    pairs = []
    for group in np.unique(smear):
        rows = np.flatnonzero(smear == group)
        gap = np.abs(at[rows][:, None] - at[rows])
        shared = np.prod(np.maximum(0, 1 - gap / 80), axis=2)
        first, second = np.nonzero(np.triu((shared >= low) & (shared < high), 1))
        pairs += list(zip(rows[first].tolist(), rows[second].tolist(), strict=True))
    return pairs


def share_linked(smear: np.ndarray, groups: np.ndarray) -> float:
    """Of the pairs of images of one smear, the share in one near-duplicate group."""
    both = np.unique(np.stack([smear, groups]), axis=1, return_counts=True)[1]
    of_smear = np.bincount(smear)
    return float((both * (both - 1)).sum() / (of_smear * (of_smear - 1)).sum())


def split_values(
    features: np.ndarray, labels: np.ndarray, *, smear: np.ndarray, linked: np.ndarray
) -> dict[str, float]:
    """Macro recall of a logistic regression over three folds, by how the folds are drawn."""
    X = PCA(256, random_state=0).fit_transform(features)
    X /= X.std(axis=0)
    singles = np.arange(len(labels))
    values: dict[str, list[float]] = {"random": [], "near_duplicates": [], "smears": []}
    for seed in range(3):
        for way, groups in (("random", singles), ("near_duplicates", linked), ("smears", smear)):
            kind = StratifiedKFold if way == "random" else StratifiedGroupKFold
            folds = kind(3, shuffle=True, random_state=seed).split(X, labels, groups)
            predicted = np.zeros_like(labels)
            for train, test in folds:
                model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=300)
                predicted[test] = model.fit(X[train], labels[train]).predict(X[test])
            values[way].append(recall_score(labels, predicted, average="macro"))
    return {way: round(float(np.mean(found)), 4) for way, found in values.items()}


def measure_synthetic(n_images: int) -> None:
    """Time and memory of the search for neighbours in features that lie on disk."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        X = np.lib.format.open_memmap(path, mode="w+", dtype="<f4", shape=(n_images, 2048))
        for start in range(0, n_images, 2048):
            X[start : start + 2048] = rng.gamma(0.5, size=X[start : start + 2048].shape)
        X.flush()
        del X
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start_s = time.perf_counter()
        nearest(np.load(path, mmap_mode="r"))
        emit(
            "near_duplicates_synthetic",
            machine=machine_name(),
            images=n_images,
            features_mb=n_images * 2048 * 4 / 1e6,
            seconds=time.perf_counter() - start_s,
            peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
            peak_rss_before_mb=before / 1e3,
            peak_own_mb=own_memory_mb(),
        )


def own_memory_mb() -> float:
    """Memory of this process that is no page of a file, in megabytes, now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1e3
    return float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", default=list(IMAGE_PX), choices=list(IMAGE_PX))
    parser.add_argument("--home", type=Path, help="keeps features (default: a temporary folder)")
    parser.add_argument("--each", type=int, default=40, help="copies of each kind")
    parser.add_argument("--synthetic", type=int, default=0, help="images of random features")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = Home(options.home or Path(temporary) / "home")
        for name in options.data:
            (Path(temporary) / name).mkdir(exist_ok=True)
            measure(name, home=home, n_each=options.each, folder=Path(temporary))
    if options.synthetic:
        measure_synthetic(options.synthetic)


if __name__ == "__main__":
    main()
