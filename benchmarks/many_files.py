"""A study of a hundred thousand real files, command by command: seconds and memory of each.

python benchmarks/many_files.py [--images 100000] [--image-px 32] [--epochs 5] [--place FOLDER]

The files of steel_xsdd, blood_chula12 and waste_trashnet are copied under other names until there
are as many as asked for, each copy with a comment of its own in its JPEG, so that none has the
bytes of another and every one is read, hashed and passed through the backbone (random weights).
Then `init`, `run` of three trials, `report`, `confirm` with two fresh splits, and `export`, each
in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from _common import emit, image_files, machine_name, say

SETS = ("steel_xsdd", "blood_chula12", "waste_trashnet")
RUN = "import sys; from tuner.cli import main; sys.argv[0] = 'tuner'; main()"


def copies(n: int, *, into: Path) -> int:
    """Make so many files in a folder for each class of each set; returns the number of classes."""
    with tempfile.TemporaryDirectory() as place:
        originals = [path for name in SETS for path in image_files(name, into=Path(place))[1]]
        for number, path in enumerate(islice(cycle(originals), n)):
            data, turn = path.read_bytes(), f"{number // len(originals):03d}"
            folder = into / f"{path.parts[-3]} {path.parent.name}"
            folder.mkdir(parents=True, exist_ok=True)
            segment = b"\xff\xfe" + (len(turn) + 2).to_bytes(2, "big") + turn.encode()
            # Behind the two bytes with which every JPEG starts.
            (folder / f"{turn}_{path.name}").write_bytes(data[:2] + segment + data[2:])
    return len(list(into.iterdir()))


def watched(words: list[str], *, cwd: Path) -> dict[str, float]:
    """Run `tuner` with these words; seconds by the clock and the processor, and peak memory."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", RUN, *words], cwd=cwd, stdout=sys.stderr)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # nobody else will know it
    if process.returncode:
        raise SystemExit(f"tuner {' '.join(words)}: exit code {process.returncode}")
    return {
        "wall_s": time.perf_counter() - start,
        "cpu_s": used.ru_utime + used.ru_stime,
        "mib_peak": used.ru_maxrss / 1024,
    }


def measure(options: argparse.Namespace, place: Path) -> None:
    """One line for each command."""
    n_classes = copies(options.images, into=place / "images")
    say(f"{options.images} files in {n_classes} classes")
    settings = (
        f"data.image_px={options.image_px}",
        "backbone.weights=random",
        "search.trials=3",
        f"training.epochs={options.epochs}",
    )
    sets = [word for setting in settings for word in ("--set", setting)]
    commands = (
        ["init", "images", "-o", "study.yaml"],
        ["run", "study.yaml", *sets],
        ["report", "images"],
        ["confirm", "images", "--seeds", "2", "--top", "1"],
        ["export", "images", "-o", "best.yaml"],
    )
    for words in commands:
        numbers = watched([*words, "--home", "home"], cwd=place)
        emit(
            "many_files",
            machine=machine_name(),
            images=options.images,
            classes=n_classes,
            image_px=options.image_px,
            epochs=options.epochs,
            command=words[0],
            **numbers,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--image-px", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--place", type=Path, help="an empty folder; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(options, (options.place or Path(temporary)).resolve())


if __name__ == "__main__":
    main()
