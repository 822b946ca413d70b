"""`tuner.Study`: one door, whichever way it is opened, to what lies on disk."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from matplotlib.axes import Axes

import tuner
from tests.cli.conftest import Done
from tests.cli.conftest import tuner as command_line  # noqa: F401  # a fixture
from tests.cli.made import make_folder, make_record
from tests.report.made_study import HOSTILE
from tests.small_study import results_of
from tests.study.conftest import CLASSES, OVERRIDES, Heard, Ran
from tuner.errors import StudyError, StudyFileError, UsageError
from tuner.home.records import winner
from tuner.setting import HYPERPARAMETERS
from tuner.study import Study, names_of_studies

FILE = """\
# Which treatment finds the rare digits?
name: digits
data: {source: digits, image_px: 32}
search: {trials: 7}
"""
KNOWN = ["name", "title", "kind", "number", "state", *HYPERPARAMETERS, "value"]
SCORES = ["macro_recall", "min_recall", "g_mean", "macro_f1", "accuracy"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A study file."""
    path = tmp_path / "digits.yaml"
    path.write_text(FILE)
    return path


# --- how it is opened --------------------------------------------------------------------------


def test_a_file_is_read_with_its_question(file: Path, tmp_path: Path) -> None:
    """Name and numbers are the file's, the question its first comment, the home the given one."""
    study = Study(file, home=tmp_path / "home", overrides=["search.trials=9"], listener=None)
    assert (study.name, study.config.search.trials) == ("digits", 9)
    assert study.question == "Which treatment finds the rare digits?"
    assert study.home.path == tmp_path / "home"
    assert not study.has_begun
    assert not (tmp_path / "home").exists(), "looking at a study writes nothing"
    assert repr(study) == "<Study 'digits': not begun>"
    assert "run() starts it" in study._repr_html_()


def test_every_way_to_name_a_study_is_the_same_study(made: Study) -> None:
    """By its name, by `load`, by its file in the home and by its configuration."""
    home = made.home.path
    written = made.folder.path / "study.yaml"
    ways = [
        Study("made", home=home, listener=None),
        Study.load("made", home=home, listener=None),
        Study(written, home=str(home), listener=None),
        Study(made.config, home=home, listener=None),
    ]
    for study in ways:
        assert study.config == made.config
        assert study.folder.path == made.folder.path
        pd.testing.assert_frame_equal(study.trials_dataframe(), made.trials_dataframe())


def test_a_folder_is_a_study_without_a_file(digits: Path, tmp_path: Path, ran: Ran) -> None:
    """It is what a file of the same words would say, and it finds what has begun."""
    text = f"{{name: some, data: {{source: '{digits}', image_px: 32, range: auto}}}}"
    (tmp_path / "some.yaml").write_text(text)
    of_file = Study(tmp_path / "some.yaml", overrides=OVERRIDES, home=ran.study.home.path)
    assert of_file.config == ran.study.config
    loaded = Study.load("some", home=ran.study.home.path).config
    assert loaded.backbone.engine != "auto"  # settled when the study began
    as_asked = loaded.model_copy(update={"backbone": ran.study.config.backbone})
    assert as_asked == ran.study.config


def test_a_folder_gives_the_study_its_name(digits: Path, tmp_path: Path) -> None:
    """What no study may be called is mended; what is given wins."""
    assert Study.of_folder(digits, home=tmp_path).name == "some_digits"
    assert Study.of_folder(digits, name="x", home=tmp_path).name == "x"
    assert Study.of_folder(digits, home=tmp_path, image_px=64).config.data.image_px == 64


def test_the_home_is_found_as_the_command_line_finds_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The given one, else $TUNER_HOME, else ``mlruns/`` where one stands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNER_HOME", raising=False)
    assert Study(file).home.path.absolute() == tmp_path / "mlruns"
    monkeypatch.setenv("TUNER_HOME", str(tmp_path / "elsewhere"))
    assert Study(file).home.path == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    "override", ["search.trails=3", "seed=abc", "split.folds=1", "search", "training.epochs=0"]
)
def test_overrides_are_checked_as_those_of_the_command_line(
    override: str,
    file: Path,
    command_line: Callable[..., Done],  # noqa: F811
) -> None:
    """A wrong key, a wrong value and no value at all: the same message by either door."""
    with pytest.raises(tuner.TunerError) as caught:
        Study("digits.yaml", overrides=[override])
    done = command_line("run", "digits.yaml", "--set", override)
    assert done.err.rstrip("\n").partition(": ")[2] == str(caught.value)
    assert done.code == caught.value.exit_code


def test_the_number_of_trials_is_checked_like_any_key(file: Path, tmp_path: Path) -> None:
    """No study is begun for fewer than one trial."""
    with pytest.raises(StudyFileError, match=r"search\.trials"):
        Study(file, home=tmp_path / "home", listener=None).run(trials=0)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "opened", [lambda home: Study("x", home=home), lambda home: Study.load("x", home=home)]
)
def test_a_study_that_is_not_there_is_named(opened, tmp_path: Path) -> None:
    """With what there is."""
    make_folder(tmp_path, ["a", "b"], name="steel")
    with pytest.raises(StudyError, match="no study 'x'") as caught:
        opened(tmp_path)
    assert "steel" in str(caught.value)


def test_what_needs_a_begun_study_says_so(file: Path, tmp_path: Path) -> None:
    """Trials, the best of them and the report have nothing to show; nothing is made up."""
    study = Study(file, home=tmp_path / "home", listener=None)
    for ask in ("trials", "baselines", "best_trial", "best_params", "folder"):
        with pytest.raises(StudyError):
            getattr(study, ask)
    begun = Study.load(make_folder(tmp_path, ["a", "b"]).name, home=tmp_path, listener=None)
    with pytest.raises(StudyError, match="no complete trial yet") as caught:
        _ = begun.best_trial
    assert "run()" in caught.value.do
    assert begun.trials == []
    assert begun.trials_dataframe().empty


def test_a_home_lists_its_studies(tmp_path: Path) -> None:
    """By name; one whose file is damaged is met when it is asked for, not when others are."""
    for name in ("b", "a"):
        make_folder(tmp_path, ["a", "b"], name=name)
    assert names_of_studies(tmp_path) == ["a", "b"]
    assert names_of_studies(tmp_path / "nowhere") == []


# --- what came of it ---------------------------------------------------------------------------


def test_the_frame_has_a_row_a_setting_and_the_columns_it_names(made: Study) -> None:
    """Baselines first, then trials by number, with the numbers of their records."""
    frame = made.trials_dataframe()
    records = [r for r in made.folder.records() if r.kind != "confirm"]
    recalls = [f"recall/{name}" for name in HOSTILE]
    assert list(frame.columns[: len(KNOWN)]) == KNOWN
    assert list(frame.columns[-2 - len(recalls) :]) == [*recalls, "epochs", "seconds"]
    assert set(SCORES) <= set(frame.columns)
    assert list(frame["name"]) == [r.name for r in records]
    assert list(frame["kind"]) == sorted(frame["kind"]), "baselines come first"
    for column, values in {
        "value": [r.value for r in records],
        "gamma": [r.params.gamma for r in records],
        "macro_recall": [r.scores.get("macro_recall") for r in records],
        recalls[-1]: [r.recall[-1] if r.recall else None for r in records],
    }.items():
        expected = np.array(values, dtype=float)
        np.testing.assert_array_equal(frame[column].to_numpy(dtype=float), expected)
    failed = frame[frame["state"] == "failed"]
    assert len(failed) == 1
    assert failed[["value", *recalls]].isna().all(axis=None)


def test_the_best_trial_is_the_winner_of_the_records(made: Study) -> None:
    """Best trial, parameters and value are one record; the best baseline is a baseline."""
    best = winner(made.folder.records())
    assert best is not None
    assert made.best_trial.record == best
    assert made.best_params == best.params.as_dict()
    assert made.best_value == best.value
    assert made.best_baseline is not None
    values = {t.name: t.value for t in made.baselines}
    assert values[made.best_baseline.name] == max(values.values())


def test_settings_that_miss_the_floor_are_not_best(tmp_path: Path) -> None:
    """A feasible setting comes before a better one below the recall floor."""
    strong = make_record([[9, 1], [0, 4]], number=3, constraints={"recall_floor": 0.2})
    weak = make_record([[8, 2], [2, 2]], number=4, constraints={"recall_floor": 0.0})
    make_folder(tmp_path, ["a", "b"], records=[strong, weak])
    assert Study.load("made", home=tmp_path).best_trial.number == 4


def test_what_the_hall_shows_is_what_lies_on_disk(made: Study) -> None:
    """Free baselines, confirmation and status are those of the folder."""
    assert next(free.key for free in made.free_baselines) == "logit_adjustment_1"
    assert made.confirmation is not None
    assert made.confirmation.verdict.is_better
    assert made.status()["finished"] == sum(t.state != "failed" for t in made.trials)
    assert made.status()["best"]["name"] == made.best_trial.name
    assert made.importances() is not None


def test_a_study_shows_itself_as_text_and_as_a_table(made: Study) -> None:
    """Name, how far it is and the best; in a notebook the ten best settings and the verdict."""
    n = made.status()["finished"]
    assert n < len(made.trials)  # one has failed
    best = made.best_trial
    assert repr(made) == f"<Study 'made': {n} of 12 trials, best {best.title} {best.value:.4f}>"
    page = made._repr_html_()
    assert page.count("<tr") == 1 + 10
    assert made.confirmation is not None
    assert made.confirmation.verdict.sentence in page


# --- a study that is really run ----------------------------------------------------------------


def test_a_study_runs_to_its_number_of_trials(ran: Ran) -> None:
    """Baselines and trials are complete, of the given images, and MLflow has a run for each."""
    study = ran.study
    assert [t.state for t in study.baselines] == ["complete"] * 3
    assert len(study.trials) == 2
    assert study.status()["state"] == "finished"
    assert study.folder.class_names == list(CLASSES)
    assert study.sync() == 0, "MLflow has every record already"
    assert (study.home.path / "mlflow.db").exists()


def test_a_finished_study_is_left_as_it_is(copied: Study) -> None:
    """Another run of as many trials trains nothing."""
    before = results_of(copied.folder)
    heard = Heard()
    Study.load("some", home=copied.home.path, listener=heard).run()
    assert heard.all("trial_started") == []
    assert results_of(copied.folder) == before


def test_an_interrupted_cell_goes_on(
    ran: Ran, study_of: Callable[..., Study], tmp_path: Path
) -> None:
    """Interrupted within a trial, run again in the same process: the trials of an undisturbed
    study, and a lock that is free in between.
    """
    last = ran.study.trials[-1].name
    study = study_of(tmp_path / "home", listener=Heard(stops_at=last))
    with pytest.raises(KeyboardInterrupt):
        study.run()
    assert study.status()["state"] == "stopped"
    assert [t.name for t in study.trials] == [t.name for t in ran.study.trials[:-1]]
    study.listener = heard = Heard()
    study.run()
    assert len(heard.all("trial_started")) == 1, "only what was interrupted is trained again"
    assert heard.all("training")[0][2] == 4, "what had finished is known to the listener"
    assert results_of(study.folder) == results_of(ran.study.folder)


def test_more_trials_may_be_asked_for(copied: Study) -> None:
    """`run(trials=3)` goes on where two had finished, and the study says so."""
    copied.run(trials=3)
    assert len(copied.trials) == 3
    assert repr(copied).startswith("<Study 'some': 3 of 3 trials")


def test_the_predictions_are_those_the_matrix_counts(ran: Ran) -> None:
    """One row an image outside the test; counted by class and predicted class they are the
    confusion matrix of the record.
    """
    study = ran.study
    for trial in [None, *study.baselines]:
        frame = study.predictions(trial)
        table = study.folder.images
        assert list(frame["path"]) == [table.paths[i] for i in table.search]
        columns = [f"probability/{name}" for name in CLASSES]
        assert list(frame.columns) == ["path", "class", "predicted", "fold", *columns]
        np.testing.assert_allclose(frame[columns].sum(axis=1), 1, atol=1e-5)
        counted = pd.crosstab(frame["class"], frame["predicted"])
        counted = counted.reindex(index=CLASSES, columns=CLASSES, fill_value=0)
        matrix = (trial or study.best_trial).confusion_matrix
        np.testing.assert_array_equal(counted.to_numpy(), matrix.to_numpy())


def test_a_trial_without_predictions_says_so(made: Study) -> None:
    """A failed trial predicted nothing."""
    (failed,) = [trial for trial in made.trials if trial.state == "failed"]
    with pytest.raises(ValueError, match=f"{failed.name} has no predictions"):
        made.predictions(failed)


def test_optunas_study_is_one_to_look_at(ran: Ran) -> None:
    """It holds the same values, Optuna's figures are drawn of it, and what is done to it changes
    nothing.
    """
    study = ran.study.optuna_study
    assert isinstance(study, optuna.Study)
    complete = [t.value for t in study.trials if t.state.name == "COMPLETE" and t.params]
    ours = [t.value for t in [*ran.study.baselines, *ran.study.trials] if t.state == "complete"]
    assert set(complete) <= set(ours)
    assert {t.value for t in ran.study.trials if t.state == "complete"} <= set(complete)
    n = len(study.trials)
    study.set_user_attr("mine", 1)
    study.enqueue_trial({"gamma": 1.0})
    study.ask()
    again = ran.study.optuna_study
    assert len(again.trials) == n
    assert "mine" not in again.user_attrs
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        axes = optuna.visualization.matplotlib.plot_optimization_history(again)
    assert isinstance(axes, Axes)


def test_a_confirmation_is_given_back(copied: Study) -> None:
    """The second `confirm` trains nothing, opens nothing and says the same."""
    first = copied.confirm(seeds=2, top=1)
    assert copied.folder.seal[0]["command"] == "Study.confirm()"
    heard = Heard()
    again = Study.load("some", home=copied.home.path, listener=heard)
    assert again.confirm(seeds=2, top=1) == first == copied.confirmation
    assert heard.events == []
    assert len(copied.folder.seal) == 1
    assert first.verdict.sentence in again._repr_html_()
    with pytest.raises(StudyError, match="opened"):
        again.confirm(seeds=3, top=1)


def test_a_report_is_one_page(copied: Study, tmp_path: Path) -> None:
    """Written where it was asked for, returned, and refused where nothing can lie."""
    path = copied.report(tmp_path / "page.html")
    assert path == tmp_path / "page.html"
    assert "<title>" in path.read_text("utf-8")
    with pytest.raises(UsageError, match="is a folder"):
        copied.report(tmp_path)


def test_a_study_that_has_not_begun_can_be_sent(file: Path, tmp_path: Path) -> None:
    """A worker of a pool may be given one."""
    study = Study(file, home=tmp_path / "home", listener=None)
    assert pickle.loads(pickle.dumps(study)).config == study.config
