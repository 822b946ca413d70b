"""Time and memory of indexing many tiny files: hash, decode test, folders, then a second read.

python benchmarks/index.py --files 100000
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import emit, machine_name, say
from PIL import Image

CLASSES = 20
# In a process of its own, so that its peak is that of the index alone.
READ = """
import json, resource, sys, time
from pathlib import Path
from tuner.data.reading import read_image_table
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.perf_counter()
table = read_image_table(sys.argv[1], home=Path(sys.argv[2]))
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([table.n_images, seconds, before / 1024, peak / 1024]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuner-index-") as folder:
        place = Path(folder)
        for n in (options.files // 10, options.files):
            write_files(place / str(n), n)
            first, second = (read(place / str(n), place / f"home-{n}") for _ in range(2))
            emit(
                "index",
                machine=machine_name(),
                files=n,
                seconds=first[1],
                seconds_again=second[1],
                files_per_s=n / first[1],
                mib_before=first[2],
                mib_peak=first[3],
            )


def write_files(folder: Path, n: int) -> None:
    """So many different pictures of 8 by 8 pixels in twenty class folders."""
    began = time.monotonic()
    rng = np.random.default_rng(0)
    for k in range(CLASSES):
        (folder / f"class_{k:02d}").mkdir(parents=True)
    for i in range(n):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"class_{i % CLASSES:02d}" / f"{i:06d}.png")
    say(f"{n} files written in {time.monotonic() - began:.0f} s")


def read(folder: Path, home: Path) -> tuple[int, float, float, float]:
    """Images, seconds, and MiB before and at the peak."""
    words = [sys.executable, "-c", READ, str(folder), str(home)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    n, seconds, before, peak = json.loads(done.stdout)
    return int(n), float(seconds), float(before), float(peak)


if __name__ == "__main__":
    main()
