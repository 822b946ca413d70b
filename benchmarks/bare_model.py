"""A trained model where nothing of tuner is installed: does it find what its card says?

    python -m venv bare && bare/bin/pip install keras jax pillow
    KERAS_BACKEND=jax bare/bin/python benchmarks/bare_model.py best.keras IMAGES.csv ROOT

Loads the model in Keras's safe mode, classifies the images of the sealed test (fold -1 of the
study's ``images.csv``) from their files at their own sizes, and holds the recall of each class
against the 95 % interval on the model's card. Needs keras, its backend, NumPy and Pillow.
"""

import argparse
import csv
import importlib.util
import json
import sys
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import keras
import numpy as np
from PIL import Image

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, help="images.csv of the study")
    parser.add_argument("root", type=Path, help="folder of the images")
    options = parser.parse_args()
    for package in ("tuner", "tensorflow", "mlflow"):
        if importlib.util.find_spec(package):
            print(f"not bare: {package} is installed here", file=sys.stderr)
    model = keras.saving.load_model(options.model, compile=False, safe_mode=True)
    card = json.loads(zipfile.ZipFile(options.model).read("tuner.json"))
    with options.images.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if int(row["fold"]) < 0]
    by_size = defaultdict(list)
    for row in rows:
        picture = Image.open(options.root / row["path"]).convert("RGB")
        by_size[picture.size].append((int(row["label"]), np.asarray(picture)))
    hits, support = Counter(), Counter()
    for same in by_size.values():
        for start in range(0, len(same), BATCH):
            labels, pixels = zip(*same[start : start + BATCH], strict=True)
            found = np.asarray(model.predict_on_batch(np.stack(pixels))).argmax(axis=1)
            support.update(labels)
            hits.update(k for k, is_hit in zip(labels, found == labels, strict=True) if is_hit)
    stated = card["sealed_test"] or card["out_of_fold"]["classes"]
    classes = [
        {
            "class": line["class"],
            "found": hits[k],
            "of": support[k],
            "card": [line["found"], line["of"], line["low"], line["high"]],
            "is_within": line["low"] <= hits[k] / support[k] <= line["high"],
        }
        for k, line in enumerate(stated)
    ]
    outside = [line["class"] for line in classes if not line["is_within"]]
    print(
        json.dumps(
            {
                "benchmark": "bare_model",
                "keras": keras.__version__,
                "backend": keras.backend.backend(),
                "card": "sealed_test" if card["sealed_test"] else "out_of_fold",
                "images": len(rows),
                "macro_recall": float(f"{np.mean([hits[k] / support[k] for k in support]):.4g}"),
                "outside_the_interval": outside,
                "classes": classes,
            },
            ensure_ascii=False,
        )
    )
    sys.exit(1 if outside else 0)


if __name__ == "__main__":
    main()
