"""From a study to a configuration, from there to a model, and from files to classes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.model.made_model import NAMES, write_model, write_photos
from tests.study.conftest import CLASSES, Heard, Ran
from tuner.errors import ExportError, StudyError, UsageError
from tuner.study import Model, Study, load_export
from tuner.study.export import strength_of


def test_an_export_is_the_best_setting(made: Study, tmp_path: Path) -> None:
    """Written where it was asked for, with the setting that was confirmed; it reads back alike."""
    export = made.export(tmp_path / "best.yaml")
    assert made.confirmation is not None
    chosen = made.confirmation.chosen
    assert export.content.record["study"]["record"] == chosen
    assert export.path == tmp_path / "best.yaml"
    again = load_export(tmp_path / "best.yaml", home=made.home.path, listener=None)
    assert again.params == export.params
    assert again.content == export.content
    assert again.home.path == made.home.path


def test_another_trial_may_be_exported(made: Study, tmp_path: Path) -> None:
    """By its number; one that is not complete, or not there, is refused with those that are."""
    complete = [trial for trial in made.trials if trial.state == "complete"]
    export = made.export(tmp_path / "other.yaml", trial=complete[-1].number)
    assert export.params == complete[-1].params
    with pytest.raises(StudyError, match="no complete trial 99") as caught:
        made.export(tmp_path / "none.yaml", trial=99)
    assert str(complete[0].number) in caught.value.do
    assert not (tmp_path / "none.yaml").exists()


def test_what_is_no_export_is_left_alone(made: Study, tmp_path: Path) -> None:
    """A file of the user's is not replaced."""
    (tmp_path / "mine.yaml").write_text("mine: 1\n")
    with pytest.raises(ExportError, match="did not export"):
        made.export(tmp_path / "mine.yaml")
    assert (tmp_path / "mine.yaml").read_text() == "mine: 1\n"


def test_a_tuned_adjustment_is_the_records_best(made: Study, tmp_path: Path) -> None:
    """A number is taken as it is, "tuned" is found on the folds, none leaves the model alone."""
    assert made.export(tmp_path / "a.yaml").content.adjustment is None
    given = made.export(tmp_path / "b.yaml", tau=0.5).content.adjustment
    tuned = made.export(tmp_path / "c.yaml", tau="tuned").content.adjustment
    assert given is not None
    assert tuned is not None
    assert given[0] == 0.5
    assert tuned[0] >= 0
    np.testing.assert_allclose(given[1], tuned[1])
    for wrong in ("much", -1, 11, "nan"):
        with pytest.raises(UsageError, match="is not a strength"):
            strength_of(wrong, made.folder, made.best_trial.record)


def test_the_name_of_a_study_is_no_export(made: Study) -> None:
    """The command that writes one is named."""
    with pytest.raises(UsageError, match="is a study, not an exported file") as caught:
        load_export("made", home=made.home.path)
    assert "tuner export made" in caught.value.do
    with pytest.raises(UsageError, match="does not exist"):
        load_export("nowhere.yaml", home=made.home.path)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"path": "model.h5"}, "does not end in .keras"),
        ({"path": "folder.keras"}, "is a folder"),
        ({"path": "file/model.keras"}, "cannot be written there"),
        ({"path": "model.keras", "formats": ["tflite"]}, "no format of a model"),
    ],
    ids=["suffix", "folder", "place", "format"],
)
def test_what_could_not_be_written_is_refused_before_training(
    asked: dict, message: str, made: Study, tmp_path: Path
) -> None:
    """Hours of training do not end in a wrong name."""
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "file").write_text("")
    export = made.export(tmp_path / "best.yaml")
    heard = Heard()
    export = load_export(tmp_path / "best.yaml", home=made.home.path, listener=heard)
    with pytest.raises((UsageError, ExportError), match=message):
        export.train(**asked | {"path": tmp_path / asked["path"]})
    assert heard.events == []


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model of random weights that tells pictures apart."""
    return Model(write_model(tmp_path_factory.mktemp("model") / "best.keras"))


def test_a_model_answers_a_row_a_file(model: Model, tmp_path: Path) -> None:
    """Class, its probability and those of all; the broken and the missing with their reason."""
    photos = write_photos(tmp_path)
    frame = model.predict([photos, photos / "nowhere.png"]).set_index("path")
    columns = [f"probability/{name}" for name in NAMES]
    assert list(frame.columns) == ["class", "probability", *columns, "reason"]
    assert len(frame) == 5
    good = frame[frame["reason"] == ""]
    assert len(good) == 3
    np.testing.assert_allclose(good[columns].sum(axis=1), 1, atol=1e-5)
    assert (good["probability"] == good[columns].max(axis=1)).all()
    assert [NAMES[k] for k in good[columns].to_numpy().argmax(axis=1)] == list(good["class"])
    bad = frame[frame["reason"] != ""]
    assert bad["class"].isna().all()
    assert bad[["probability", *columns]].isna().all(axis=None)
    assert frame.loc[str(photos / "nowhere.png"), "reason"].startswith("no such file")
    assert frame.loc[str(photos / "broken.jpg"), "reason"]


def test_one_file_is_a_row(model: Model, tmp_path: Path) -> None:
    """A path alone, as text or not, is one file."""
    photo = write_photos(tmp_path) / "a.png"
    assert list(model.predict(photo)["path"]) == list(model.predict(str(photo))["path"])
    assert model.class_names == tuple(NAMES)


def test_what_is_no_model_says_so(tmp_path: Path) -> None:
    """Its card is read before anything is loaded."""
    (tmp_path / "x.keras").write_text("no model")
    with pytest.raises(ExportError):
        _ = Model(tmp_path / "x.keras").card


def test_an_export_is_trained_to_a_model(ran: Ran, digits: Path, tmp_path: Path) -> None:
    """The folds are reproduced, the sealed test is opened once and recorded, the model predicts;
    what happened went to the listener.
    """
    shutil.copytree(ran.study.home.path, tmp_path / "home")
    heard = Heard()
    study = Study.load("some", home=tmp_path / "home", listener=heard)
    model = study.export(tmp_path / "best.yaml").train(open_test=True)
    assert model.path == tmp_path / "best.keras"
    assert model.path.with_suffix(".md").is_file()
    assert model.class_names == CLASSES
    assert model.test is not None
    assert model.test.opening == 1
    assert model.test.matrix.sum() == len(study.folder.images.test)
    assert study.folder.seal[0]["command"] == "Export.train(open_test=True)"
    results = [text for (text,) in heard.all("result")]
    assert any(text.startswith("reproduced: ") for text in results)
    assert f"model written to {model.path}" in results
    frame = model.predict(digits / "digit_3")
    assert len(frame) == 24
    assert set(frame["class"]) <= set(CLASSES)
