"""From a study to a configuration, from there to a model, and from files to classes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.model.made_model import NAMES, write_model, write_photos
from tests.report.made_study import HOSTILE
from tests.study.conftest import CLASSES, Heard, Ran
from tuner.errors import ExportError, StudyError, UsageError
from tuner.evaluation.metrics import confusion_matrix
from tuner.home.records import load_log_prob
from tuner.model.card import card_text, make_card
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


def test_a_decision_rule_is_fitted_kept_and_told(made: Study, tmp_path: Path) -> None:
    """From a file of costs to the export and the card: rule, costs, recalls, before and after."""
    names = list(made.folder.class_names)
    n = len(names)
    costs = pd.DataFrame(1 - np.eye(n), index=names, columns=names)
    costs.iloc[-1] *= 25
    costs.to_csv(tmp_path / "costs.csv")
    assert made.export(tmp_path / "plain.yaml").content.rule is None
    floor = {names[0]: 0.5}
    export = made.export(tmp_path / "a.yaml", cost=tmp_path / "costs.csv", recall_floor=floor)
    again = made.export(tmp_path / "b.yaml", cost=costs, recall_floor=[f"{names[0]}=0.5"])
    assert export.content.record["decision"] == again.content.record["decision"]
    part, rule = export.content.record["decision"], export.content.rule
    assert rule is not None
    assert part["costs"] == costs.to_numpy().tolist()
    assert part["recall_floors"] == floor
    assert part["sealed_test"] is None
    assert part["after"]["cost"]["value"] < part["before"]["cost"]["value"]
    table, record = made.folder.images, part["on_its_own"]
    log_prob = load_log_prob(made.folder.records_path, export.content.record["study"]["record"])
    assert log_prob is not None
    labels, decided = table.labels[table.search], rule.decide(log_prob)
    found = costs.to_numpy()[labels, decided].mean()
    assert record["cost"]["value"] == pytest.approx(found)
    card = make_card(
        export.content,
        class_names=names,
        fingerprint=export.content.record["data"]["fingerprint"],
        folds=confusion_matrix(labels, decided, n_classes=n),
        images_per_class=[1] * n,
        weights="random",
        weights_kind="random",
        fine_tuned=None,
        saved=rule.saved,
    )
    assert card["answers"] == "score"
    assert card["sealed_test"] is None, "the setting was confirmed, its rule was not"
    text = card_text(card, name="best")
    assert "a rule for costs and recall floors" in text
    assert "Not confirmed on a sealed test" in text
    assert "the output of the layer 'probabilities'" in text


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"tau": 1, "cost": pd.DataFrame()}, UsageError, "the costs cannot be used"),
        ({"recall_floor": {"nobody": 0.9}}, UsageError, "no class 'nobody'"),
        ({"recall_floor": dict.fromkeys(HOSTILE, 1.0)}, ExportError, "no decision meets"),
    ],
)
def test_demands_that_cannot_be_met_write_nothing(
    asked: dict, error: type[Exception], message: str, made: Study, tmp_path: Path
) -> None:
    """One error, before the file."""
    with pytest.raises(error, match=message):
        made.export(tmp_path / "best.yaml", **asked)
    assert not (tmp_path / "best.yaml").exists()


def test_tau_and_costs_exclude_each_other(made: Study, tmp_path: Path) -> None:
    """Both would move the same decision; floors go on top of tau."""
    names = list(made.folder.class_names)
    costs = pd.DataFrame(1 - np.eye(len(names)), index=names, columns=names)
    with pytest.raises(UsageError, match="--tau and --cost both move the decision"):
        made.export(tmp_path / "best.yaml", tau=1, cost=costs)
    found = made.export(tmp_path / "best.yaml", tau=1, recall_floor={names[0]: 0.3}).content
    assert found.adjustment is not None
    assert found.rule is not None
    assert found.rule.costs is None


def test_a_damaged_rule_is_no_export(made: Study, tmp_path: Path) -> None:
    """It is said when the file is read, not after the training."""
    names, path = list(made.folder.class_names), tmp_path / "best.yaml"
    made.export(path, recall_floor={names[0]: 0.3})
    path.write_text(path.read_text("utf-8").replace("    scale: 1.0", "    scale: -1.0"), "utf-8")
    with pytest.raises(ExportError, match="a rule of 8 classes"):
        load_export(path, home=made.home.path)


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
