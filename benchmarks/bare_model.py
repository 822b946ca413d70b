"""A trained model where nothing of tuner is installed: does it find what its card says?

    python -m venv bare && bare/bin/pip install keras jax pillow
    KERAS_BACKEND=jax bare/bin/python benchmarks/bare_model.py best.keras IMAGES.csv ROOT
    python -m venv bare && bare/bin/pip install onnxruntime pillow
    bare/bin/python benchmarks/bare_model.py best.onnx IMAGES.csv ROOT

Loads the model in Keras's safe mode, or in the runtime of its format (`best.onnx`, `best.xml`,
`best.tflite`), classifies the images of the sealed test (fold -1 of the
study's ``images.csv``) from their files at their own sizes, and holds the recall of each class
against the 95 % interval on the model's card. Needs Keras with its backend or the runtime, NumPy
and Pillow.
"""

import argparse
import csv
import importlib.util
import json
import sys
import zipfile
from collections import Counter, defaultdict
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image

BATCH = 32


def open_keras(path):
    import keras

    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    card = zipfile.ZipFile(path).read("tuner.json")
    runtime = f"keras {keras.__version__} on {keras.backend.backend()}"
    return json.loads(card), model.predict_on_batch, runtime


def open_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    card = session.get_modelmeta().custom_metadata_map["tuner.json"]
    runtime = f"onnxruntime {onnxruntime.__version__}"
    return json.loads(card), lambda x: session.run(["probabilities"], {"pixels": x})[0], runtime


def open_openvino(path):
    import openvino

    model = openvino.Core().read_model(path)
    card = model.get_rt_info(["tuner", "tuner.json"]).astype(str)
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return json.loads(card), lambda x: compiled(x)[0], f"openvino {openvino.__version__}"


def open_litert(path):
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(path).get_signature_runner()
    card = zipfile.ZipFile(path).read("tuner.json")
    runtime = f"ai-edge-litert {metadata.version('ai-edge-litert')}"
    return json.loads(card), lambda x: model(pixels=x)["output_0"], runtime


OPENS = {
    ".keras": open_keras,
    ".onnx": open_onnx,
    ".xml": open_openvino,
    ".tflite": open_litert,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, help="images.csv of the study")
    parser.add_argument("root", type=Path, help="folder of the images")
    options = parser.parse_args()
    for package in ("tuner", "tensorflow", "mlflow", "pandas"):
        if importlib.util.find_spec(package):
            print(f"not bare: {package} is installed here", file=sys.stderr)
    card, answer, runtime = OPENS[options.model.suffix](str(options.model))
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
            found = np.asarray(answer(np.stack(pixels))).argmax(axis=1)
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
                "runtime": runtime,
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
