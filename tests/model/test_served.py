"""What a server is asked for, and what it answers."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest

from tests.decision.made import dear
from tests.model.made_model import IMAGE_PX, NAMES, make_head, write_model, write_photos
from tuner.data.decoding.resize import DECODE
from tuner.decision.rule import DecisionRule, scores_of
from tuner.errors import DataError
from tuner.features.weights.resolve import resolve_weights
from tuner.model.keras_model import build_model, save_model
from tuner.model.served import FOLDER, Served, columns_of, picture_of
from tuner.study import Model

SAVED = DecisionRule(scale=1.0, shift=np.zeros(3), costs=dear(40.0)[2:, 2:]).saved


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers probabilities."""
    return write_model(tmp_path_factory.mktemp("plain") / "best.keras")


@pytest.fixture(scope="module")
def by_costs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, deciding by costs, with a reader's own resize."""
    assert SAVED is not None
    path = tmp_path_factory.mktemp("costs") / "best.keras"
    model = build_model(
        make_head(),
        resolve_weights("random"),
        image_px=IMAGE_PX,
        dropout=0.3,
        name="tuner_model",
        saved=SAVED,
    )
    card = {"class_names": NAMES, "answers": "score", "image_px": IMAGE_PX, "decode": DECODE}
    save_model(model, path, card=card)
    return path


@pytest.mark.slow
def test_a_served_model_answers_as_the_file_does(plain: Path, tmp_path: Path) -> None:
    """From many threads, too; what is no picture is an error with its name."""
    photos = write_photos(tmp_path)
    expected = Model(plain).predict(photos).set_index("path")
    served, found = Served(plain), {}

    def ask(path: str) -> None:
        found[path] = served.answer(Path(path).read_bytes(), name=path)

    readable = list(expected.index[expected["reason"] == ""])
    threads = [Thread(target=ask, args=[path]) for path in readable * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found[readable[0]]) == served.columns == columns_of({"class_names": NAMES})
    for path in readable:
        assert found[path]["class"] == expected.loc[path, "class"]
        for column in served.columns[1:]:
            assert found[path][column] == pytest.approx(expected.loc[path, column], abs=1e-4)
    with pytest.raises(DataError, match="image") as caught:
        served.answer(b"no picture", name="picture 1 of 1")
    assert caught.value.where == "picture 1 of 1"


@pytest.mark.slow
def test_a_model_with_costs_answers_scores_and_probabilities(
    plain: Path, by_costs: Path, tmp_path: Path
) -> None:
    """Its probabilities are those of the model without, its scores what costs make of them."""
    assert SAVED is not None
    photos = write_photos(tmp_path)
    without = Model(plain).predict(photos).set_index("path")
    table = Model(by_costs).predict(photos).set_index("path")
    scores = [f"score/{name}" for name in NAMES]
    assert list(table.columns) == ["class", "score", *scores, "reason"]
    readable = without.index[without["reason"] == ""]
    p = without.loc[readable, [f"probability/{name}" for name in NAMES]].to_numpy(dtype=float)
    expected = scores_of(p, SAVED)
    np.testing.assert_allclose(table.loc[readable, scores].to_numpy(float), expected, atol=1e-4)
    assert list(table.loc[readable, "class"]) == [NAMES[k] for k in expected.argmax(axis=1)]
    served = Served(by_costs)
    answers = pd.DataFrame(
        [served.answer(Path(path).read_bytes(), name=path) for path in readable]
    )
    assert list(answers["class"]) == list(table.loc[readable, "class"])
    np.testing.assert_allclose(answers[scores].to_numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(
        answers[[f"probability/{name}" for name in NAMES]].to_numpy(), p, atol=1e-4
    )


def test_bytes_come_as_they_are_or_in_base64() -> None:
    """Some forms of request are decoded by MLflow, others are not."""
    data = b"\x89PNG\r\n\x1a\n and more"
    text = base64.b64encode(data)
    for given in (data, bytearray(data), text, text.decode()):
        assert picture_of({"image": given, "path": None}, name="x", environment={}) == data


@pytest.mark.parametrize(
    "row", [{}, {"image": None, "path": float("nan")}, {"image": b"", "path": "b"}]
)
def test_a_row_gives_bytes_or_a_path(row: dict) -> None:
    """Neither and both are errors."""
    with pytest.raises(DataError, match="either 'image'") as caught:
        picture_of(row, name="picture 1 of 1", environment={})
    assert caught.value.where == "picture 1 of 1"


def test_paths_are_shut_until_a_folder_is_named(tmp_path: Path) -> None:
    """And then lead to files below it alone, by whatever name is tried."""
    folder, secret = tmp_path / "pictures", tmp_path / "secret.txt"
    folder.mkdir()
    secret.write_bytes(b"secret")
    (folder / "a.png").write_bytes(b"a picture")
    (folder / "out.png").symlink_to(secret)
    (tmp_path / "pictures-2").mkdir()
    (tmp_path / "pictures-2" / "b.png").write_bytes(b"beside")
    os.mkfifo(folder / "pipe.png")
    with pytest.raises(DataError, match="reads no paths") as caught:
        picture_of({"path": "a.png"}, name="x", environment={})
    assert FOLDER in caught.value.do
    there = {FOLDER: str(folder)}
    for good in ("a.png", str(folder / "a.png"), "./a.png"):
        assert picture_of({"path": good}, name="x", environment=there) == b"a picture"
    for bad in (
        str(secret),
        "../secret.txt",
        "out.png",
        "../pictures-2/b.png",
        "",
        "pipe.png",
        "a\0",
    ):
        with pytest.raises(DataError, match="no such file in the folder"):
            picture_of({"path": bad}, name="x", environment=there)
