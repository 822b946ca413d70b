"""Images a second of `read_image`, on one thread and on all cores.

python benchmarks/decode.py [--image-px 224] [--repeats 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from _common import alternate, emit, image_files, machine_name, median_ratio, say
from PIL import Image

from tuner.data.images import read_image

N_PHOTOS = 48


def write_photos(folder: Path) -> list[Path]:
    """Synthetic photographs of 1024x768 as JPEG of quality 90, about 300 kB each."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = [folder / f"{i:03d}.jpg" for i in range(N_PHOTOS)]
    for path in paths:
        # Coarse shapes with fine grain: as many bits to decode as a real photograph has.
        shapes = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(shapes.resize((1024, 768), Image.Resampling.BICUBIC), np.float32)
        noisy = smooth + rng.normal(0, 6, smooth.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


def measure(name: str, paths: list[Path], *, image_px: int, repeats: int) -> None:
    """Time both ways of reading `paths` and emit one line for each."""
    read = partial(read_image, image_px=image_px)
    n_cores = os.cpu_count() or 1

    def on_one_thread() -> None:
        for path in paths:
            read(path)

    def on_all_cores() -> None:
        with ThreadPoolExecutor(n_cores) as pool:
            for _ in pool.map(read, paths):
                pass

    say(f"{name}: {len(paths)} images to {image_px} px")
    seconds = alternate({"one": on_one_thread, "all": on_all_cores}, repeats=repeats)
    about = {"machine": machine_name(), "data": name, "image_px": image_px}
    for label, threads in (("one", 1), ("all", n_cores)):
        emit(
            "decode",
            **about,
            threads=threads,
            images_per_s=len(paths) / statistics.median(seconds[label]),
            ratio_to_one_thread=median_ratio(seconds["one"], seconds[label]),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-px", type=int, default=224)
    parser.add_argument("--images", type=int, default=400, help="at most, of the data set")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        name, paths = image_files("steel_xsdd", into=Path(folder))
        photos = write_photos(Path(folder) / "photos")
        for label, files in ((name, paths[: options.images]), ("synthetic 1024x768", photos)):
            measure(label, files, image_px=options.image_px, repeats=options.repeats)


if __name__ == "__main__":
    main()
