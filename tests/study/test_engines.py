"""A study keeps the engine that it began with, and says which it is."""

from __future__ import annotations

import pytest

from tests.study.conftest import OVERRIDES, Heard
from tuner.data.digits import write_digits
from tuner.errors import StudyError
from tuner.features.engines.engine import version_of_openvino
from tuner.study import Study


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
