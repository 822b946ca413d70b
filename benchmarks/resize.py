"""Milliseconds of one resize: the reader's, by Pillow, and a model's own, in Keras operations.

python benchmarks/resize.py [--image-px 224] [--repeats 5]

Beside each stands one call of Pillow, which chooses the order of its passes itself.
"""

from __future__ import annotations

import argparse
import statistics

import keras
import numpy as np
from _common import alternate, emit, machine_name, median_ratio
from keras import ops
from PIL import Image

from tuner.data.decoding.resize import resize
from tuner.features.resize import resized

SIZES = [(224, 224), (300, 400), (768, 1024), (4000, 6000)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-px", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    image_px, side = options.image_px, (options.image_px, options.image_px)
    given = keras.Input((None, None, 3), dtype="uint8")
    model = keras.Model(given, resized(keras.layers.Rescaling(1.0)(given), image_px))
    for height, width in SIZES:
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels)
        read = np.asarray(resize(picture, image_px))
        found = model.predict_on_batch(pixels[None])[0]
        seconds = alternate(
            {
                "reader": lambda picture=picture: resize(picture, image_px),
                "one_call": lambda picture=picture: picture.resize(
                    side, Image.Resampling.BILINEAR
                ),
                "model": lambda pixels=pixels: ops.convert_to_numpy(
                    model.predict_on_batch(pixels[None])
                ),
            },
            repeats=options.repeats,
        )
        for name in ("reader", "model"):
            emit(
                "resize",
                machine=machine_name(),
                backend=keras.backend.backend(),
                height=height,
                width=width,
                image_px=image_px,
                who=name,
                ms=1000 * statistics.median(seconds[name]),
                ratio_to_one_call=median_ratio(seconds["one_call"], seconds[name]),
                differing_values=int((found != read).sum()),
            )


if __name__ == "__main__":
    main()
