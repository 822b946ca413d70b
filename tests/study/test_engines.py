"""A study keeps the engine that it began with, and says which it is."""

from __future__ import annotations

import hashlib

import keras
import numpy as np
import pytest
import yaml

from tests.model.made_model import need_runtimes
from tests.study.conftest import OVERRIDES, Heard
from tuner.data.digits import write_digits
from tuner.errors import ExportError, StudyError, UsageError
from tuner.features.engines.engine import version_of_openvino
from tuner.study import Model, Study


@pytest.fixture
def begin(tmp_path):
    """A small real study in a home of its own, with other values of some keys."""
    write_digits(tmp_path / "digits")

    def make(*overrides: str) -> tuple[Study, Heard]:
        heard = Heard()
        few = 'data.exclude=["digit_[0-6]/*"]'
        found = Study.of_folder(
            tmp_path / "digits",
            name="small",
            image_px=32,
            overrides=(*OVERRIDES, few, *overrides),
            home=tmp_path / "home",
            listener=heard,
        )
        return found, heard

    return make


def banks(study):
    """Names of the banks of a home, and how many chunks each has."""
    return {f.name: len(list(f.glob("*.npy"))) for f in study.home.features.iterdir()}


def facts(heard):
    """What was said to be so, by label."""
    return dict(heard.all("fact"))


@pytest.mark.slow
def test_a_study_from_before_engines_goes_on_as_it_began(begin):
    """Its bank gains no row and no neighbour, no engine is named, and another is refused."""
    study, _ = begin("backbone.engine=null")
    study.run(trials=1)
    stored = study.folder.path / "study.yaml"
    text = stored.read_text()
    assert "  engine: null\n" in text
    stored.write_text(text.replace("  engine: null\n", ""))  # as such studies have it
    before = banks(study)
    again, heard = begin()
    again.run(trials=2)
    assert banks(again) == before
    assert "engine" not in facts(heard)
    assert len(again.trials) == 2
    with pytest.raises(StudyError, match=r"backbone\.engine: null -> keras"):
        begin("backbone.engine=keras")[0].run(trials=3)


@pytest.mark.slow
def test_a_new_study_settles_its_engine(begin):
    """`auto` is stored as what it stands for, said once, and recorded with every trial."""
    study, heard = begin()
    assert study.check().engine.startswith(("OpenVINO", "keras"))
    study.run(trials=1)
    expected = "openvino" if version_of_openvino() else "keras"
    assert study.folder.config.backbone.engine == expected
    assert facts(heard)["engine"].lower().startswith(expected)
    engines = {r.environment["engine"] for r in study.folder.records()}
    assert len(engines) == 1
    assert engines.pop().startswith(expected)


@pytest.mark.slow
def test_trials_on_features_of_another_engine_are_said(begin):
    """After an update of OpenVINO, say, one message tells that earlier trials stand on the old."""
    study, _ = begin("backbone.engine=keras")
    study.run(trials=1)
    for path in (study.folder.path / "records").glob("*.json"):
        path.write_text(path.read_text().replace('"engine": "keras"', '"engine": "keras 0"'))
    again, heard = begin()
    again.run(trials=2)
    said = [text for text, *_ in heard.all("warning") if "another engine" in text]
    assert said == [
        "earlier trials stand on features of another engine (keras 0) than those from now on "
        "(keras): the same but for the last digits"
    ]


@pytest.fixture
def own(tmp_path):
    """A small backbone of the user's own: the grey levels of a coarse picture."""
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.AveragePooling2D(4)(x)
    path = tmp_path / "own.keras"
    keras.Model(inputs, keras.layers.Conv2D(6, 3, activation="relu")(x)).save(path)
    return path


@pytest.mark.slow
def test_a_backbone_of_ones_own_goes_all_the_way(begin, own, tmp_path):
    """Said by `check`, kept in bank and export by its hash, baked into the model and its card."""
    study, heard = begin(f"backbone.model={own}")
    said = study.check().backbone
    known = f"{own}, 6 features of images of any size"
    assert said == f"{known}; licence unknown, ask where the file came from"
    study.run(trials=1)
    sha256 = hashlib.sha256(own.read_bytes()).hexdigest()
    assert facts(heard)["backbone"] == known
    assert {r.environment["weights_sha256"] for r in study.folder.records()} == {sha256}
    export = study.export(tmp_path / "best.yaml")
    written = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert written["fixed"]["backbone_sha256"] == sha256
    need_runtimes()
    model = export.train(tmp_path / "best.keras", formats=["onnx"], precisions=["int8"])
    assert model.card["weights"]["licence"].startswith("unknown")
    own.unlink()  # the model holds it
    found = model.predict(tmp_path / "digits" / "digit_7")
    assert len(found) == 33
    assert found["probability"].notna().all()
    elsewhere = Model(tmp_path / "best.onnx").predict(tmp_path / "digits" / "digit_7")
    np.testing.assert_allclose(found["probability"], elsewhere["probability"], atol=1e-5)
    card = (tmp_path / "best.md").read_text("utf-8")
    assert "| best.onnx | float32 |" in card
    assert "### best.int8.onnx" in card


@pytest.mark.slow
def test_another_file_in_its_place_is_refused(begin, own, tmp_path):
    """Neither a study nor its export goes on with another backbone of the same name."""
    study, _ = begin(f"backbone.model={own}")
    study.run(trials=1)
    export = study.export(tmp_path / "best.yaml")
    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, keras.layers.Conv2D(6, 5)(inputs)).save(own)
    with pytest.raises(StudyError, match="another backbone than the one it began with"):
        begin(f"backbone.model={own}")[0].run(trials=2)
    with pytest.raises(ExportError, match="the backbone is not that of the export"):
        export.train(tmp_path / "best.keras")


@pytest.mark.slow
def test_a_backbone_of_ones_own_has_no_stages(begin, own, tmp_path):
    """Fine-tuning by the stages of ResNet50 is refused in one message."""
    study, _ = begin(f"backbone.model={own}")
    study.run(trials=1)
    with pytest.raises(UsageError, match="stages of ResNet50 only"):
        study.export(tmp_path / "best.yaml").train(tmp_path / "best.keras", fine_tune="conv5")
