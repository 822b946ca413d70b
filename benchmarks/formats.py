"""A model in every format: bytes, images a second, and how far from Keras its answers are.

    python benchmarks/formats.py [best.keras] [--image-px 224] > formats.jsonl

Without a model one is made, of ResNet50's weights (TUNER_WEIGHTS) and a random head. It
is exported to every format that is installed, then 200 real files of blood_chula12 (digits where
that is absent), tall cuttings and 16-bit ones among them, are classified by each as `tuner
predict` does, in turn. `keras` is Keras's own call on TensorFlow, `keras, compiled` what `tuner
predict best.keras` takes. The table of docs/model.md goes to stderr.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from _common import alternate, emit, image_files, machine_name, median_ratio, say
from PIL import Image

from tuner.ground import find_backend

N_FILES, N_ODD = 200, 20
HIDDEN, N_CLASSES = 512, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--image-px", type=int, default=224, help="of the model that is made")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    find_backend()
    with tempfile.TemporaryDirectory(prefix="tuner-") as folder:
        model = Path(folder) / "best.keras"
        if options.model:
            shutil.copy(options.model, model)
        else:
            write_model(model, image_px=options.image_px)
        measure(model, repeats=options.repeats)


def measure(model: Path, *, repeats: int) -> None:
    from tuner.model.formats.forms import FORMS
    from tuner.model.predict import load_classifier, predict_files
    from tuner.study import Model

    data, files = odd_files(model.parent)
    forms = [
        form
        for form in FORMS.values()
        if all(find_spec(name) for name in (form.runtime, *form.writes))
    ]
    exported = Model(model).export([form.name for form in forms], listener=None)
    compiled = load_classifier(model)
    classifiers = {"keras": by_keras(model, compiled), "keras, compiled": compiled}
    paths = {"keras": model, "keras, compiled": model}
    for form, path in zip(forms, exported, strict=True):
        classifiers[form.name], paths[form.name] = load_classifier(path), path
    found: dict[str, np.ndarray] = {}

    def run(name: str) -> Callable[[], None]:
        def classify() -> None:
            rows = predict_files(classifiers[name], files)
            found[name] = np.stack([row.probabilities for row in rows])

        return classify

    seconds = alternate({name: run(name) for name in classifiers}, repeats=repeats)
    table = ["| format | MB | images a second | times Keras | largest difference |"]
    table.append("|---|--:|--:|--:|--:|")
    for name, path in paths.items():
        beside = path.with_suffix(".bin")
        n_bytes = path.stat().st_size + (beside.stat().st_size if path.suffix == ".xml" else 0)
        rate = len(files) / float(np.median(seconds[name]))
        times = median_ratio(seconds["keras"], seconds[name])
        worst = float(np.abs(found[name] - found["keras"]).max())
        changed = int((found[name].argmax(1) != found["keras"].argmax(1)).sum())
        emit(
            "formats",
            format=name,
            data=data,
            image_px=compiled.image_px,
            images=len(files),
            bytes=n_bytes,
            images_a_second=rate,
            times_keras=times,
            largest_difference=worst,
            decisions_changed=changed,
            machine=machine_name(),
        )
        table.append(f"| {name} | {n_bytes / 1e6:.0f} | {rate:.0f} | {times:.2f} | {worst:.1g} |")
    say("\n".join(table))


def by_keras(model: Path, compiled):
    """The same classifier, answering by Keras's own call."""
    import keras

    loaded = keras.saving.load_model(model, compile=False)
    small = keras.Model(loaded.get_layer("preprocess").input, loaded.output)
    return replace(compiled, classify=lambda sized: np.asarray(small.predict_on_batch(sized)))


def write_model(path: Path, *, image_px: int) -> None:
    """ResNet50's weights and a head of random ones: what is measured asks for no more."""
    from tuner.data.decoding.resize import DECODE
    from tuner.features.weights.resolve import resolve_weights
    from tuner.model.keras_model import build_model, save_model
    from tuner.training.head import HeadWeights

    weights = resolve_weights(os.environ.get("TUNER_WEIGHTS") or "random")
    rng = np.random.default_rng(0)
    head = HeadWeights(
        rng.normal(0, 0.05, (2048, HIDDEN)).astype(np.float32),
        np.zeros(HIDDEN, dtype=np.float32),
        rng.normal(0, 0.1, (HIDDEN, N_CLASSES)).astype(np.float32),
        np.zeros(N_CLASSES, dtype=np.float32),
    )
    model = build_model(head, weights, image_px=image_px, dropout=0.3, name="model")
    names = [f"class {k}" for k in range(N_CLASSES)]
    save_model(model, path, card={"class_names": names, "image_px": image_px, "decode": DECODE})


def odd_files(folder: Path) -> tuple[str, list[str]]:
    """Real files, some of them cut to a fifth of their width, some as gray of 16 bits."""
    data, files = image_files("blood_chula12", into=folder)
    chosen = [files[k] for k in np.linspace(0, len(files) - 1, N_FILES).astype(int)]
    for k, path in enumerate(chosen[:N_ODD]):
        picture = Image.open(path).convert("RGB")
        to = folder / f"odd-{k}.png"
        if k % 2:
            picture.crop((0, 0, max(1, picture.width // 5), picture.height)).save(to)
        else:
            gray = np.asarray(picture.convert("L")).astype(np.uint16) * 257
            Image.fromarray(gray).save(to)
        chosen[k] = to
    return data, list(map(str, chosen))


if __name__ == "__main__":
    main()
