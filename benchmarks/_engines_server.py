"""One contestant of `engines.py` in a process of its own, which waits for its turns.

python benchmarks/_engines_server.py CONTESTANT IMAGE_PX < turns

A turn is a line, ``{"part": …, "rows": [[path, sha256, view], …]}``; the answer a line with the
seconds that it took. A contestant is ``fill_bank`` of the tree on PYTHONPATH: as that tree has it
("fill") or with one of our engines ("keras", "openvino"); or the bare call of an engine on pixels
that are ready ("bare keras", "bare openvino"); or `tuner predict` on the files of the rows
("predict"); or matrix products ("products").
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

BATCH = {"fill": 32, "keras": 32, "openvino": 8}
N_PRODUCTS, SIDE = 2, 3072


def products() -> Callable[[Any], object]:
    """Square matrix products in float32 by oneDNN, which knows every processor's instructions."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    import tensorflow as tf

    a = tf.constant(np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32))
    return lambda turn: [tf.linalg.matmul(a, a).numpy() for _ in range(N_PRODUCTS)]


def make_engine(name: str) -> Any:
    """What fills the bank."""
    from tuner.features.backbone import Extractor, build_backbone

    try:
        from tuner.features.weights.resolve import resolve_weights
    except ImportError:  # where it was in f1f95a9
        from tuner.features.weights_source import resolve_weights

    backbone = build_backbone(resolve_weights("random"))
    if name == "fill":
        return Extractor(backbone)
    if name == "keras":
        from tuner.features.engines.keras_graph import keras_engine

        return keras_engine(backbone, device="cpu", is_float32=True)
    from tuner.features.engines.openvino_model import OpenVinoEngine

    return OpenVinoEngine(backbone)


def filling(name: str, image_px: int, folder: Path) -> Callable[[Any], object]:
    """Fill an empty bank with the rows of a turn: decode, resample, backbone, disk."""
    from tuner.config import AugmentationConfig
    from tuner.features.bank import FeatureBank
    from tuner.features.extract import fill_bank

    try:
        from tuner.features.wanted import ViewOf
    except ImportError:  # where it was in f1f95a9
        from tuner.features.extract import ViewOf

    engine, banks = make_engine(name), count()

    def run(turn: Any) -> None:
        fill_bank(
            FeatureBank(folder / f"bank{next(banks)}", {}, n_features=2048),
            [ViewOf(Path(path), sha256, view) for path, sha256, view in turn["rows"]],
            lambda: engine,
            image_px=image_px,
            augmentation=AugmentationConfig(),
            batch_size=BATCH[name],
        )

    return run


def predicting(image_px: int, folder: Path) -> Callable[[Any], object]:
    """Classify the files of a turn with a model of random weights, as `tuner predict` does."""
    from tuner.data.decoding.resize import DECODE
    from tuner.features.weights.resolve import resolve_weights
    from tuner.model.keras_model import build_model, save_model
    from tuner.model.predict import load_classifier, predict_files
    from tuner.training.head import HeadWeights

    shapes = ((2048, 512), (512,), (512, 7), (7,))
    head = HeadWeights(*(np.zeros(shape, np.float32) for shape in shapes))
    model = build_model(
        head, resolve_weights("random"), image_px=image_px, dropout=0.3, name="model"
    )
    card = {"class_names": list("abcdefg"), "image_px": image_px, "decode": DECODE}
    save_model(model, folder / "model.keras", card=card)
    classifier = load_classifier(folder / "model.keras")
    return lambda turn: list(predict_files(classifier, [path for path, _, _ in turn["rows"]]))


def bare(name: str, image_px: int) -> Callable[[Any], object]:
    """As many passes on ready pixels, without files, views or disk, in whatever is fastest."""
    pixels = np.random.default_rng(0).uniform(0, 255, (BATCH[name], image_px, image_px, 3))
    pixels = pixels.astype(np.float32)
    call = bare_openvino(pixels) if name == "openvino" else bare_keras(pixels)
    return lambda turn: call(-(-len(turn["rows"]) // len(pixels)))


def bare_keras(pixels: Any) -> Callable[[int], object]:
    """The frozen graph, one batch after another."""
    graph = make_engine("keras")._features
    return lambda n: [np.asarray(graph(pixels)) for _ in range(n)]


def bare_openvino(pixels: Any) -> Callable[[int], object]:
    """OpenVINO's own queue of requests."""
    from tuner.features.engines.openvino_graph import CompiledModel
    from tuner.features.engines.silent import load_openvino

    compiled = CompiledModel(make_engine("openvino")._graph, pixels.shape)._model
    queue = load_openvino().AsyncInferQueue(compiled)

    def run(n: int) -> None:
        for _ in range(n):
            queue.start_async({0: pixels}, share_inputs=True)
        queue.wait_all()

    return run


def main() -> None:
    contestant, image_px = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    with tempfile.TemporaryDirectory() as folder:
        if contestant == "products":
            run = products()
        elif contestant.startswith("bare "):
            run = bare(contestant.removeprefix("bare "), image_px)
        elif contestant == "predict":
            run = predicting(image_px, Path(folder))
        else:
            run = filling(contestant, image_px, Path(folder))
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            turn = json.loads(line)
            start = time.perf_counter()
            run(turn)
            print(time.perf_counter() - start, file=answers, flush=True)


if __name__ == "__main__":
    main()
