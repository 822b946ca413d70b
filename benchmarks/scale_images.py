"""Seconds and memory of a study of a million images, without the images.

python benchmarks/scale_images.py [--images 100000 1000000] [--classes 20] [--against TREE]

Everything between the files and the backbone, by tuner's own functions: fingerprint, split, the
study's table of images, rows to extract, chunks, the bank's list of rows, the inputs of a search,
one trial's rows and weights, its record and the table of predictions for MLflow. Synthetic are the
paths, the hashes of the files (of the paths instead), the labels (the rarest class has a
hundredth of the largest) and the features (random, four columns instead of 2,048, so that the
disk is not what is measured). No file is opened: benchmarks/index.py measures that. Seconds are
those of the processor, which hardly depend on who else uses the machine. With another tree of
this repository, such as a worktree of f1f95a9, its own script is run before, and the ratios say
how many times its seconds before the first step of training, and its peak of memory, are ours;
writing the bank, which stands for extraction, is not counted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _common import emit, machine_name, say

from tuner.columns import Hashes, Texts
from tuner.config import parse_study
from tuner.data.image_table import ImageTable
from tuner.data.split import make_split
from tuner.features.bank import FeatureBank
from tuner.features.extract import missing_chunks
from tuner.home import Home
from tuner.home.founding import create_study_folder
from tuner.home.records import Record, save_record
from tuner.home.study_folder import StudyFolder
from tuner.setting import Setting
from tuner.tracking.tables import predictions_json
from tuner.training.inputs import load_inputs, rows_to_extract
from tuner.training.trial import fold_heads

WIDTH = 4
BEFORE_TRAINING = (
    "fingerprint", "split", "create_folder", "read_folder", "rows_to_extract", "chunks",
    "open_bank", "load_inputs", "prepare_trial",
)  # fmt: skip
PARAMS = Setting(gamma=2.0, alpha=0.25, augmentation_multiplier=4, class_weight_mode="balanced")


numbers: dict[str, float] = {}  # of the parts, by name


@contextmanager
def watch(part: str) -> Iterator[None]:
    """Note the processor seconds of a part; say what it took by the clock, and the memory."""
    start, cpu_start = time.perf_counter(), time.process_time()
    yield
    numbers[f"{part}_cpu_s"] = time.process_time() - cpu_start
    rss = psutil.Process().memory_info().rss / 2**20
    say(
        f"  {part}: {numbers[f'{part}_cpu_s']:.2f} s of the processor, "
        f"{time.perf_counter() - start:.2f} s, {rss:.0f} MiB held"
    )


def make_table(n: int, n_classes: int) -> ImageTable:
    """So many paths and labels; sizes of classes fall geometrically to a hundredth."""
    share = 0.01 ** (np.arange(n_classes) / (n_classes - 1))
    sizes = np.maximum(10, n * share / share.sum()).astype(np.int64)
    sizes[0] += n - sizes.sum()
    labels = np.repeat(np.arange(n_classes), sizes)
    paths = Texts.of(f"class_{k:03d}/image_{i:08d}.jpg" for i, k in enumerate(labels))
    digests = b"".join(hashlib.sha256(path.encode()).digest() for path in paths)
    sha256 = Hashes(np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32))
    names = tuple(f"class_{k:03d}" for k in range(n_classes))
    return ImageTable(paths, sha256, labels, names)


def measure(n: int, n_classes: int) -> None:
    config = parse_study(
        "name: scale\ndata: {source: random}\n", source="benchmarks/scale_images.py"
    )
    before = psutil.Process().memory_info().rss
    with tempfile.TemporaryDirectory(prefix="tuner-scale-") as place:
        home, folder = Home(Path(place)), StudyFolder(Path(place) / "studies" / "scale")
        table = make_table(n, n_classes)
        index_mib = (psutil.Process().memory_info().rss - before) / 2**20
        with watch("fingerprint"):
            _ = table.fingerprint
        with watch("split"):
            table = replace(table, fold=_split(table))
        with watch("split_of_groups_of_ten"):
            _split(table, groups=np.arange(n) // 10)
        with watch("create_folder"):
            create_study_folder(folder, config, table, about={})
        with watch("read_folder"):
            images = folder.images
        del table  # as a study does, which goes on with what it has kept
        with watch("rows_to_extract"):
            wanted = rows_to_extract(config, images, images.root, n_classes=n_classes)
        bank = FeatureBank(home.features, {"features": "random"}, n_features=WIDTH)
        augmentation = config.augmentation
        with watch("chunks"):
            chunks = missing_chunks(bank, wanted, augmentation=augmentation, batch_size=32)
        n_rows = len(wanted)
        rng = np.random.default_rng(0)
        with watch("write_bank"):
            for chunk in chunks:
                names = chunk.names(augmentation)
                bank.add(names, rng.random((len(names), WIDTH), dtype=np.float32))
        del wanted, chunks, bank
        with watch("open_bank"):
            bank = FeatureBank(home.features, {"features": "random"}, n_features=WIDTH)
        with watch("load_inputs"):
            inputs = load_inputs(config, images, bank, class_names=images.class_names)
        with watch("prepare_trial"):
            folds = fold_heads(PARAMS, inputs, config=config)
        log_prob = rng.random((len(inputs.labels), n_classes), dtype=np.float32)
        log_prob /= log_prob.sum(axis=1, keepdims=True)
        np.log(log_prob, out=log_prob)
        record = _record(n_classes)
        with watch("save_record"):
            save_record(folder.records_path, record, log_prob=log_prob)
        with watch("predictions_table"):
            parts = predictions_json(images, log_prob, record=record)
            predictions = sum(map(len, parts))
        emit(
            "scale_images",
            machine=machine_name(),
            images=n,
            classes=n_classes,
            rows=n_rows,
            chunks=len(list(bank.folder.glob("*.npy"))),
            training_rows=sum(fold.head.turns.shape[1] for fold in folds),
            **numbers,
            index_mib=index_mib,
            mib_peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            images_csv_mib=(folder.path / "images.csv").stat().st_size / 2**20,
            record_mib=(folder.records_path / f"{record.name}.npz").stat().st_size / 2**20,
            predictions_mib=predictions / 2**20,
            bank_gib_of_2048=n_rows * 2048 * 4 / 2**30,
        )


def _split(table: ImageTable, groups: Any = None) -> Any:
    return make_split(
        table.labels,
        class_names=table.class_names,
        n_folds=3,
        test_fraction=0.2,
        seed=0,
        groups=groups,
    )


def _record(n_classes: int) -> Record:
    return Record(
        kind="trial", name="trial-00000", number=0, params=PARAMS, state="complete", reason=None,
        value=0.5, matrix=np.eye(n_classes, dtype=int).tolist(), scores={"macro_recall": 0.5},
        curves={}, best_epochs=[], learning_rates=[], rows=[], class_weights=[], constraints={},
        seeds={}, environment={}, started_s=0.0, ended_s=0.0,
    )  # fmt: skip


def measured(tree: Path, n: int, n_classes: int) -> dict[str, Any]:
    """Numbers of a tree, by its own script in a process of its own, which has its own peak."""
    words = [sys.executable, tree / "benchmarks" / "scale_images.py", "--images", n]
    done = subprocess.run(
        [*map(str, words), "--classes", str(n_classes)],
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(tree)},
        text=True,
    )
    print(done.stdout, end="", flush=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compare(tree: Path, n: int, n_classes: int) -> None:
    """Measure another tree and this one, and say the ratios."""
    theirs = measured(tree, n, n_classes)
    ours = measured(Path(__file__).parents[1], n, n_classes)
    before = [sum(found[f"{p}_cpu_s"] for p in BEFORE_TRAINING) for found in (theirs, ours)]
    emit(
        "scale_images",
        machine=machine_name(),
        images=n,
        **{
            f"seconds_ratio_to_{tree.name}": before[0] / before[1],
            f"memory_ratio_to_{tree.name}": theirs["mib_peak"] / ours["mib_peak"],
            "before_training_cpu_s": before[1],
            "mib_peak": ours["mib_peak"],
            "files_of_the_bank": ours["chunks"],
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--against", type=Path, help="another tree, named after its commit")
    options = parser.parse_args()
    if options.against is not None:
        for n in options.images:
            compare(options.against.resolve(), n, options.classes)
        return
    if len(options.images) == 1:
        say(f"{options.images[0]} images")
        measure(options.images[0], options.classes)
        return
    for n in options.images:
        measured(Path(__file__).parents[1], n, options.classes)


if __name__ == "__main__":
    main()
