"""One range for gray of more than 8 bits, from the index to the probabilities of new files."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import tuner
from tests.study.conftest import OVERRIDES
from tuner.data.digits import write_digits
from tuner.errors import StudyError

pytestmark = pytest.mark.slow
RANGE = (0.0, 4095.0)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuner.Study, Path]:
    """A finished study of 12-bit digits in 16-bit files, and the folder that holds it."""
    folder = tmp_path_factory.mktemp("range")
    digits = write_digits(folder / "digits")
    for label in ("digit_3", "digit_5"):
        for path in sorted((digits / label).iterdir())[: 24 if label == "digit_3" else 14]:
            values = np.asarray(Image.open(path).convert("L")).astype(np.uint16) << 4
            target = folder / "data" / label / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(target)
    study = tuner.Study.of_folder(
        folder / "data",
        image_px=32,
        home=folder / "home",
        listener=None,
        overrides=[*OVERRIDES, "search.trials=1"],
    )
    study.run()
    return study, folder


def test_the_range_is_kept_with_study_export_model_and_rows(
    ran: tuple[tuner.Study, Path], tmp_path: Path
) -> None:
    """What was seen once stands wherever numbers depend on it."""
    study, folder = ran
    about = json.loads((folder / "home" / "studies" / "data" / "about.json").read_text())
    assert tuple(about["range"]) == RANGE
    study.export(tmp_path / "best.yaml")
    exported = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert tuple(exported["study_file"]["data"]["range"]) == RANGE
    (bank,) = (folder / "home" / "features").iterdir()
    keys = [
        key for path in bank.glob("chunk-*.json") for key in json.loads(path.read_text())["rows"]
    ]
    assert keys
    assert all(key.endswith(":0..4095") for key in keys)


def test_predict_reads_new_files_by_it(ran: tuple[tuner.Study, Path], tmp_path: Path) -> None:
    """A 12-bit file and its 8-bit copy get the same probabilities."""
    study, folder = ran
    model = study.export(tmp_path / "best.yaml").train(tmp_path / "best.keras")
    assert tuple(model.card["range"]) == RANGE
    with zipfile.ZipFile(tmp_path / "best.keras") as archive:
        assert tuple(json.loads(archive.read("tuner.json"))["range"]) == RANGE
    assert "0 is black and 4095 white" in (tmp_path / "best.md").read_text()
    deep = sorted((folder / "data").rglob("*.png"))[0]
    values = np.asarray(Image.open(deep))
    Image.fromarray((values >> 4).astype(np.uint8)).save(tmp_path / "copy.png")
    frame = model.predict([deep, tmp_path / "copy.png"])
    text = frame.drop(columns="path").to_csv(index=False)
    first, second = csv.reader(io.StringIO(text.split("\n", 1)[1]))
    assert first == second


def test_another_range_is_another_study(ran: tuple[tuner.Study, Path]) -> None:
    """Going on with another range would mix what cannot be compared; one message says so."""
    _, folder = ran
    other = tuner.Study.of_folder(
        folder / "data",
        image_px=32,
        home=folder / "home",
        listener=None,
        overrides=[*OVERRIDES, "search.trials=2", "data.range=full"],
    )
    with pytest.raises(StudyError, match=r"data.range: \[0, 4095\] -> full"):
        other.run()
