"""The snippets of docs/model.md, which need nothing of tuner, answer as `predict` does."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from tests.model.made_model import NAMES, need_runtimes, write_small_model
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.images import decode_rgb, read_bytes
from tuner.model.formats.forms import FORMS
from tuner.model.predict import load_classifier, predict_files
from tuner.study import Model

PAGE = (Path(__file__).parents[2] / "docs" / "model.md").read_text("utf-8")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A real photograph, wider than high."""
    return Image.fromarray(load_sample_image("china.jpg")).resize((120, 80))


def odd_files(folder: Path, photo: Image.Image) -> list[Path]:
    """The photograph in ways that a plain `convert("RGB")` gets wrong, and in plain ones."""
    gray = np.asarray(photo.convert("L")).astype(np.uint16)
    Image.fromarray(gray * 257).save(folder / "gray16.png")
    Image.fromarray(gray * 16).save(folder / "gray12.png")
    clear = photo.convert("RGBA")
    clear.putalpha(Image.fromarray((gray // 2).astype(np.uint8)))
    clear.save(folder / "clear.png")
    photo.quantize(16).save(folder / "palette.gif", transparency=3)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(folder / "turned.jpg", exif=exif)
    photo.rotate(90, expand=True).save(folder / "tall.webp", lossless=True)
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.save(folder / "photo.jpg")
    return sorted(folder.iterdir())


def block(start: str) -> str:
    """The snippet of the page that starts so, after the words of its language."""
    (found,) = re.findall(rf"^```\w+\n({re.escape(start)}.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


READING = block("import numpy as np\n")
SNIPPETS = {
    "keras": block("import json, zipfile\nimport keras"),
    "onnx": block("import json\nimport onnxruntime"),
    "openvino": block("import json\nimport openvino"),
    "litert": block("import json, zipfile\nfrom ai_edge_litert"),
}
IN_JAVASCRIPT = block("import { readFileSync }")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small model in every format that can be written here, and `reading.py`."""
    need_runtimes()
    folder = tmp_path_factory.mktemp("snippets")
    write_small_model(folder / "best.keras")
    Model(folder / "best.keras").export(list(FORMS), listener=None)
    (folder / "reading.py").write_text(READING)
    return folder


@pytest.mark.parametrize("limits", [None, [0.0, 4095.0]])
def test_files_are_read_as_predict_reads_them(
    limits: list[float] | None, photo: Image.Image, tmp_path: Path
) -> None:
    """Files of 16 bits, turned and transparent ones become the same pixels without tuner."""
    names: dict[str, Any] = {}
    exec(READING, names)
    rule = EACH_FILE if limits is None else PixelRule((limits[0], limits[1]))
    files = odd_files(tmp_path, photo)
    assert len(files) == 8
    for path in files:
        expected = np.asarray(decode_rgb(read_bytes(path), name=str(path), rule=rule))
        np.testing.assert_array_equal(names["read"](path, limits), expected, err_msg=str(path))


@pytest.mark.slow
@pytest.mark.parametrize("runtime", SNIPPETS)
def test_every_snippet_answers_as_predict_does(
    runtime: str, photo: Image.Image, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On files of 16 bits, turned and transparent ones, in ten lines of each runtime."""
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    files = odd_files(tmp_path, photo)
    snippet = SNIPPETS[runtime]
    assert len([line for line in snippet.splitlines() if line]) <= 10
    expected = list(predict_files(load_classifier(Path("best.keras")), map(str, files)))
    for one in expected:
        names: dict[str, Any] = {}
        exec(snippet.replace("photo.jpg", one.path), names)
        np.testing.assert_allclose(
            names["probabilities"], one.probabilities, atol=1e-5, err_msg=one.path
        )


@pytest.mark.slow
def test_the_snippet_in_javascript_answers_as_predict_does(
    photo: Image.Image, place: Path, tmp_path: Path
) -> None:
    """The same pixels by sharp, CMYK left out; on transparent ones a level may be off by one."""
    modules = os.environ.get("TUNER_NODE_MODULES", "")
    if not Path(modules, "onnxruntime-node").is_dir():
        if modules:
            pytest.fail(f"no onnxruntime-node in TUNER_NODE_MODULES={modules}")
        pytest.skip(
            "needs npm install --ignore-scripts onnxruntime-node sharp, TUNER_NODE_MODULES"
        )
    if not (place / "node_modules").exists():
        (place / "node_modules").symlink_to(modules)
    files = [path for path in odd_files(tmp_path, photo) if path.name != "cmyk.jpg"]
    told = "console.log(JSON.stringify([...probabilities.data]));"
    for one in predict_files(load_classifier(place / "best.keras"), map(str, files)):
        script = place / "run.mjs"
        script.write_text(IN_JAVASCRIPT.replace("photo.jpg", one.path) + told)
        done = subprocess.run(
            ["node", script.name], cwd=place, capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        assert NAMES[int(np.argmax(found))] == done.stdout.splitlines()[0].rpartition(" ")[0]
        atol = 1e-2 if "clear" in one.path else 1e-5
        np.testing.assert_allclose(found, one.probabilities, atol=atol, err_msg=one.path)
