"""The main job through the command line, in processes of its own, read back with other clients.

The five rarest of the bundled digits at 32 pixels, a backbone with random weights and three
trials of a few epochs: smaller than a user's study, and nothing of it is left out.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import optuna
import pytest
from mlflow import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from PIL import Image
from sklearn.metrics import confusion_matrix, recall_score

from tests.tiny_backbone import tiny_backbone
from tuner.home.study_folder import StudyFolder
from tuner.model.archive import read_card
from tuner.model.export_file import load_export

pytestmark = pytest.mark.slow

THINNED = (
    "data.image_px=32",
    'data.exclude=["digit_[0-4]/*"]',
    "split.folds=2",
    "backbone.weights=random",
    "search.trials=3",
    "training.epochs=8",
    "training.hidden_units=256",
    "training.learning_rate=0.001",
)
SETS = [word for override in THINNED for word in ("--set", override)]
CLASSES = [f"digit_{k}" for k in range(5, 10)]
BASELINES = {"baseline-cross_entropy", "baseline-balanced", "baseline-published_recipe"}
PROGRAM = "import sys; from tuner.cli import main; sys.argv[0] = 'tuner'; main()"
CONFIRM = ["confirm", "digits", "--seeds", "2", "--top", "1"]
PATIENCE_S = 400  # for one command on a loaded machine; each takes half a minute on an idle one


@dataclass(frozen=True)
class Place:
    """A working directory with a home in it, and the commands run there.

    Attributes:
        path: The working directory.
        backend: Of Keras.
        more: Words that the study is started with, too.
    """

    path: Path
    backend: str = "tensorflow"
    more: tuple[str, ...] = ()

    @property
    def home(self) -> Path:
        """The home; a space in it must not matter."""
        return self.path / "my home"

    @property
    def folder(self) -> StudyFolder:
        """The study's folder."""
        return StudyFolder(self.home / "studies" / "digits")

    @property
    def run_words(self) -> list[str]:
        """The one command that starts the study and goes on with it."""
        return ["run", "studies/digits.yaml", *SETS, *self.more, "--home", str(self.home)]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start ``tuner WORDS``."""
        environment = os.environ | {"KERAS_BACKEND": self.backend}
        environment.pop("TUNER_HOME", None)
        environment.pop("MLFLOW_TRACKING_URI", None)
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words],
            cwd=self.path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def tuner(self, *words: str, code: int = 0) -> tuple[str, str]:
        """Run ``tuner WORDS`` to its end; stdout and stderr."""
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
        assert process.returncode == code, err
        assert "Traceback" not in err
        return out, err

    def stop(self, when: Callable[[str], bool], number: int, *, after_s: float = 0.0) -> str:
        """Run the study until stderr has a line, send the signal; the rest of stderr."""
        process = self.start(*self.run_words)
        deadline = time.monotonic() + PATIENCE_S
        try:
            for line in process.stderr:
                assert time.monotonic() < deadline
                if when(line):
                    break
            else:
                pytest.fail("the study ended before it could be stopped")
            time.sleep(after_s)
            process.send_signal(number)
            _, rest = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
        assert process.returncode == (130 if number == signal.SIGINT else -number), rest
        return str(rest)

    @property
    def study(self) -> optuna.Study:
        """The study by Optuna's own client."""
        storage = JournalStorage(JournalFileBackend(str(self.home / "optuna.journal")))
        return optuna.load_study(study_name="digits", storage=storage)

    @property
    def trials(self) -> list[tuple[Any, ...]]:
        """What kills must not change: the settings that ended, in order, with their reports."""
        return [
            (t.user_attrs.get("baseline"), t.state.name, t.params, t.value, t.intermediate_values)
            for t in self.study.trials
            if t.state.is_finished() and (t.state.name != "FAIL" or "failed" in t.user_attrs)
        ]

    @property
    def results(self) -> list[tuple[Any, ...]]:
        """What the records say, without numbers and times."""
        records = self.folder.records()
        return [(r.kind, r.state, r.params, r.value, r.matrix, r.curves) for r in records]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A working directory with the study file that ``tuner init`` writes."""
    place = Place(tmp_path_factory.mktemp("begun") / "a place")
    place.path.mkdir()
    place.tuner("init", "digits", "--home", str(place.home))
    return place


@pytest.fixture(scope="module")
def finished(begun: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A study that nobody disturbed; it makes its database, too."""
    place = Place(tmp_path_factory.mktemp("finished") / "a place")
    shutil.copytree(begun.path, place.path)
    out, err = place.tuner(*place.run_words)
    (place.path / "run.out").write_text(out)
    (place.path / "run.err").write_text(err)
    return place


@pytest.fixture(scope="module")
def new_place(begun: Place, migrated: Path) -> Callable[..., Place]:
    """Maker of places as `begun`, with a database, which takes seconds to make."""

    def make(path: Path, **settings: Any) -> Place:
        place = Place(path, **settings)
        shutil.copytree(begun.path, path)
        shutil.copy(migrated, place.home / "mlflow.db")
        return place

    return make


@pytest.fixture(scope="module")
def exported(finished: Place) -> Path:
    """Its export."""
    finished.tuner("export", "digits", "-o", "best.yaml", "--home", str(finished.home))
    return finished.path / "best.yaml"


@pytest.fixture(scope="module")
def client(finished: Place) -> MlflowClient:
    """MLflow's own client on the home's database."""
    return MlflowClient(f"sqlite:///{finished.home / 'mlflow.db'}")


@pytest.fixture(scope="module")
def runs(client: MlflowClient) -> dict[str, Any]:
    """Every run of the study by its record; the study's own under ""."""
    experiment = client.get_experiment_by_name("digits")
    found = client.search_runs([experiment.experiment_id])
    by_record = {run.data.tags.get("tuner.record", ""): run for run in found}
    assert len(by_record) == len(found)
    return by_record


@pytest.fixture(scope="module")
def confirmed(new_place: Callable[..., Place], tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A study of two trials on a tiny backbone, run and confirmed."""
    tiny = ("--set", f"backbone.model={tiny_backbone()}")
    place = new_place(tmp_path_factory.mktemp("confirmed") / "another place", more=tiny)
    place.tuner(*place.run_words, "--trials", "2")
    out, err = place.tuner(*CONFIRM, "--home", str(place.home))
    (place.path / "confirm.out").write_text(out)
    (place.path / "confirm.err").write_text(err)
    return place


def is_trial_line(line: str) -> bool:
    """Whether a line of stderr says that a trial has ended."""
    return line.split()[:1] != [] and line.split()[0].startswith("#")


def test_progress_goes_to_stderr_and_the_result_to_stdout(finished):
    """One line a setting, then the winner, and commands that are ready to be copied."""
    out, err = ((finished.path / f"run.{name}").read_text() for name in ("out", "err"))
    lines = err.splitlines()
    assert sum(line.split()[:1] == ["base"] for line in lines) == 3
    assert sum(is_trial_line(line) for line in lines) == 3
    assert "random weights" in err
    assert all(name in err for name in CLASSES)
    assert "winner" in out
    steps = [line.partition(" tuner ")[2] for line in out.splitlines() if " tuner " in line]
    words = [shlex.split(step) for step in steps]
    assert [line[0] for line in words] == ["ui", "confirm", "export", "train", "run"]
    assert all(line[line.index("--home") + 1] == str(finished.home) for line in words)


def test_optuna_holds_the_trials_and_the_baselines_of_the_space(finished):
    """Three trials of this study's own, all ended, each with the value of its last report."""
    trials = [t for t in finished.study.trials if "baseline" not in t.user_attrs]
    told = [t.user_attrs["baseline"] for t in finished.study.trials if t not in trials]
    assert sorted(told) == sorted(BASELINES)
    assert len(trials) == 3
    for trial in trials:
        assert trial.state.name in ("COMPLETE", "PRUNED")
        if trial.state.name == "COMPLETE":
            assert trial.intermediate_values[7] == trial.value
    records = {r.number: r for r in finished.folder.records() if r.kind == "trial"}
    assert {t.number for t in trials} == set(records)
    assert [records[t.number].params.as_dict() for t in trials] == [t.params for t in trials]


def test_mlflow_holds_one_parent_and_six_children(finished, runs):
    """Every record has one run below the study's; kinds and statuses are the truth."""
    parent = runs[""]
    assert parent.data.tags["tuner.kind"] == "study"
    assert parent.info.status == "FINISHED"
    children = {name: run for name, run in runs.items() if name}
    records = {record.name: record for record in finished.folder.records()}
    assert set(children) == set(records)
    assert len(children) == 6
    kinds = Counter(run.data.tags["tuner.kind"] for run in children.values())
    assert kinds == {"trial": 3, "baseline": 3}
    status = {"complete": ("FINISHED", "COMPLETE"), "pruned": ("KILLED", "PRUNED")}
    for name, run in children.items():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        found = (run.info.status, run.data.tags["tuner.trial_state"])
        assert found == status[records[name].state]
        assert run.data.params["class_weight_mode"] == records[name].params.class_weight_mode
        assert float(run.data.params["gamma"]) == records[name].params.gamma


def test_each_run_holds_matrix_counts_and_predictions(finished, runs, client):
    """From the table of predictions alone come the counts, and the recall of every class."""
    images = finished.folder.images
    expected_paths = [images.paths[i] for i in images.search]
    for name, run in runs.items():
        if not name:
            continue
        place = Path(client.download_artifacts(run.info.run_id, ""))
        (picture,) = place.glob("images/confusion_matrix*.png")
        with Image.open(picture) as image:
            assert min(image.size) > 100
        counts = json.loads((place / "confusion_matrix.json").read_text("utf-8"))
        assert counts["class_names"] == CLASSES
        table = json.loads((place / "predictions.json").read_text("utf-8"))
        columns = dict(zip(table["columns"], zip(*table["data"], strict=True), strict=True))
        assert list(columns["path"]) == expected_paths
        found = confusion_matrix(columns["class"], columns["predicted"], labels=CLASSES)
        np.testing.assert_array_equal(found, counts["matrix"])
        recall = recall_score(columns["class"], columns["predicted"], labels=CLASSES, average=None)
        logged = [run.data.metrics[f"recall/{label}"] for label in CLASSES]
        np.testing.assert_allclose(logged, recall, rtol=1e-12)
        assert run.data.metrics["macro_recall"] == pytest.approx(recall.mean())
        support = [run.data.metrics[f"support/{label}"] for label in CLASSES]
        assert support == [columns["class"].count(label) for label in CLASSES]


def test_every_epoch_is_in_mlflow(finished, runs, client):
    """Curves have a point an epoch; the last macro recall is the final one."""
    for record in finished.folder.records():
        run_id = runs[record.name].info.run_id
        history = client.get_metric_history(run_id, "val/macro_recall")
        assert [point.step for point in history] == list(range(len(record.curves["objective"])))
        assert history[-1].value == runs[record.name].data.metrics["macro_recall"]


def test_nothing_of_the_sealed_test_is_in_mlflow(finished, runs, client):
    """No prediction of a sealed image has been made, let alone recorded."""
    images = finished.folder.images
    sealed = {images.paths[i] for i in images.test}
    assert len(sealed) >= len(CLASSES)
    for name in filter(None, runs):
        path = client.download_artifacts(runs[name].info.run_id, "predictions.json")
        shown = {row[0] for row in json.loads(Path(path).read_text("utf-8"))["data"]}
        assert shown.isdisjoint(sealed)


def test_status_says_what_optuna_says(finished):
    """The JSON of `tuner status` agrees with the study read by Optuna's client."""
    out, _ = finished.tuner("status", "digits", "--home", str(finished.home), "--json")
    (facts,) = json.loads(out)
    assert (facts["state"], facts["finished"], facts["trials"]) == ("finished", 3, 3)
    complete = [t.value for t in finished.study.trials if t.state.name == "COMPLETE"]
    assert facts["best"]["value"] == max(complete)
    assert set(facts["best"]["recall"]) == set(CLASSES)


def test_running_again_does_nothing(finished):
    """The same command on a finished study trains nothing, and says the same result."""
    trials, results, records = finished.trials, finished.results, finished.folder.records()
    before = (finished.path / "run.out").read_text()
    out, err = finished.tuner(*finished.run_words)
    assert out == before
    assert "0 computed now" in err
    assert not any(is_trial_line(line) for line in err.splitlines())
    assert finished.trials == trials
    assert finished.results == results
    assert finished.folder.records() == records


def test_train_reproduces_the_folds_and_opens_the_test_on_request(finished, exported):
    """The recorded matrix comes back cell by cell; each opening of the test is recorded."""
    home = ["--home", str(finished.home)]
    out, _ = finished.tuner("train", "best.yaml", *home)
    assert "reproduced: the out-of-fold confusion matrix is the same" in out
    assert "sealed test" not in out
    assert finished.folder.seal == []
    model = keras.saving.load_model(finished.path / "best.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 50, 40, 3), dtype=np.uint8)
    probabilities = keras.ops.convert_to_numpy(model(pixels, training=False))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert probabilities.shape == (2, len(CLASSES))
    assert read_card(finished.path / "best.keras")["class_names"] == CLASSES

    words = ["train", "best.yaml", *home, "-o", "again.keras", "--open-test"]
    for times in (1, 2):
        out, _ = finished.tuner(*words)
        assert f"sealed test, opened {times} time" in out
        assert len(finished.folder.seal) == times
    assert shlex.split(finished.folder.seal[-1]["command"]) == ["tuner", *words]
    n_sealed = len(finished.folder.images.test)
    rows = [line.split() for line in out.splitlines() if line.startswith("digit_")]
    assert [row[0] for row in rows] == CLASSES[::-1]  # rarest first
    assert sum(int(row[-1]) for row in rows) == n_sealed


def test_confirm_ends_with_the_verdict_and_records_the_opening(confirmed):
    """The verdict is the sentence on disk; the opening is in the seal with its command."""
    done = json.loads((confirmed.folder.path / "confirmation.json").read_text("utf-8"))
    out = (confirmed.path / "confirm.out").read_text()
    assert done["verdict"]["sentence"] in out
    assert "plain cross-entropy" in done["verdict"]["sentence"]
    (opening,) = confirmed.folder.seal
    assert shlex.split(opening["command"])[:2] == ["tuner", "confirm"]
    table = np.array([m["matrix"] for m in done["test"]["models"]])
    assert (table.sum(axis=(1, 2)) == len(confirmed.folder.images.test)).all()


def test_confirming_again_shows_the_same_and_opens_nothing(confirmed):
    """A second `tuner confirm` is a look at the first; only --again opens the test again."""
    home = ["--home", str(confirmed.home)]
    out, err = confirmed.tuner(*CONFIRM, *home)
    assert out == (confirmed.path / "confirm.out").read_text()
    assert err == ""
    _, err = confirmed.tuner("confirm", "digits", "--seeds", "3", *home, code=1)
    assert "has been opened already" in err
    assert "--again" in err
    assert len(confirmed.folder.seal) == 1


def test_mlflow_holds_the_confirmation(confirmed):
    """Retests and tested models are runs of kind confirm; the study's own run has the verdict."""
    client = MlflowClient(f"sqlite:///{confirmed.home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("digits")
    found = client.search_runs([experiment.experiment_id])
    kinds = Counter(run.data.tags["tuner.kind"] for run in found)
    n_tested = sum(r.part == "test" for r in confirmed.folder.records())
    assert kinds == {"study": 1, "trial": 2, "baseline": 3, "confirm": 2 * 4 + n_tested}
    assert n_tested >= 3
    (parent,) = [run for run in found if run.data.tags["tuner.kind"] == "study"]
    done = json.loads((confirmed.folder.path / "confirmation.json").read_text("utf-8"))
    assert parent.data.tags["tuner.verdict"] == done["verdict"]["sentence"]
    assert parent.info.status == "FINISHED"
    gain = done["test"]["comparisons"]
    plain = [row for row in gain if row["against"] == "baseline-cross_entropy"]
    if plain:
        logged = parent.data.metrics["confirm/gain_over_cross_entropy"]
        assert logged == pytest.approx(plain[0]["gain"])
    assert {f.path for f in client.list_artifacts(parent.info.run_id)} >= {"confirmation.json"}


def test_what_was_confirmed_is_exported_and_trains_with_its_adjustment(confirmed):
    """The export holds the verdict; with --tau the model's odds change by the prior alone."""
    home = ["--home", str(confirmed.home)]
    out, _ = confirmed.tuner("export", "digits", "-o", "plain.yaml", *home)
    done = json.loads((confirmed.folder.path / "confirmation.json").read_text("utf-8"))
    assert done["verdict"]["sentence"] in out
    number = next(r.number for r in confirmed.folder.records() if r.kind == "trial")
    trial = ["--trial", str(number), *home]
    confirmed.tuner("export", "digits", "-o", "tau.yaml", "--tau", "1", *trial)
    confirmed.tuner("export", "digits", "-o", "no.yaml", *trial)
    for name in ("tau", "no"):
        confirmed.tuner("train", f"{name}.yaml", *home)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    tau, no = (
        np.log(keras.ops.convert_to_numpy(keras.saving.load_model(path)(pixels, training=False)))
        for path in (confirmed.path / "tau.keras", confirmed.path / "no.keras")
    )
    prior = np.array(load_export(confirmed.path / "tau.yaml").record["adjustment"]["prior"])
    odds = (tau - no) - (tau - no)[:, :1]
    expected = -(np.log(prior) - np.log(prior[0]))
    np.testing.assert_allclose(odds, np.tile(expected, (3, 1)), atol=1e-3)


def test_killed_and_started_again_is_undisturbed(finished, new_place, tmp_path):
    """SIGKILL in the extraction and in the second trial changes no number of the study."""
    place = new_place(tmp_path / "killed")
    place.stop(lambda line: line.startswith("features "), signal.SIGKILL)
    assert not place.folder.records()
    place.stop(is_trial_line, signal.SIGKILL, after_s=0.05)
    n_before = len([r for r in place.folder.records() if r.kind == "trial"])
    assert 1 <= n_before < 3
    assert any(not t.state.is_finished() for t in place.study.trials)
    _, err = place.tuner(*place.run_words)
    assert f"{n_before} finished before this start" in err
    assert place.trials == finished.trials
    assert place.results == finished.results
    assert len([t for t in place.study.trials if not t.state.is_finished()]) == 0
    client = MlflowClient(f"sqlite:///{place.home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("digits")
    found = client.search_runs([experiment.experiment_id])
    kinds = Counter(run.data.tags["tuner.kind"] for run in found)
    assert kinds == {"study": 1, "baseline": 3, "trial": 3}
    assert {run.info.status for run in found} <= {"FINISHED", "KILLED"}


def test_an_interrupt_says_the_command_that_goes_on(finished, new_place, tmp_path):
    """Ctrl-C is code 130 and no traceback; the printed command finishes the same study."""
    place = new_place(tmp_path / "interrupted")
    # Early: an idle machine is through with the trials in half a second.
    rest = place.stop(lambda line: line.split()[:1] == ["base"], signal.SIGINT)
    assert "Traceback" not in rest
    *_, line = rest.splitlines()
    words = shlex.split(line.split("go on", 1)[1])
    assert words == ["tuner", *place.run_words]
    (facts,) = json.loads(place.tuner("status", "--home", str(place.home), "--json")[0])
    assert facts["state"] == "stopped"
    place.tuner(*words[1:])
    assert place.trials == finished.trials
    assert place.results == finished.results


def test_the_main_job_works_on_jax(new_place, tmp_path):
    """Study, export and training on the other backend: recorded as such, and reproduced there."""
    pytest.importorskip("jax", reason="JAX is not installed")
    place = new_place(tmp_path / "jax", backend="jax")
    home = ["--home", str(place.home)]
    _, err = place.tuner(*place.run_words)
    assert "(jax " in err
    assert len(place.folder.records()) == 6
    assert all(r.environment["backend"].startswith("jax") for r in place.folder.records())
    place.tuner("export", "digits", *home)
    out, _ = place.tuner("train", "best.yaml", *home)
    assert "reproduced: the out-of-fold confusion matrix is the same" in out
    assert read_card(place.path / "best.keras")["class_names"] == CLASSES
