"""The mirror in a real MLflow on SQLite, read back with MLflow's own client."""

import gc
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.errors import TrackingError
from tuner.home.study_folder import StudyFolder
from tuner.setting import Setting
from tuner.tracking.content import record_points
from tuner.tracking.mlflow_recorder import sync_study
from tuner.tracking.names import safe_names
from tuner.tracking.tables import FILES

HOSTILE = ["support", "a/b(c)%", "..", "x" * 300, "😀", "猫", "<script>", "Cat", "cat", "$a$ `b`"]


def write(recorder, study, *records, is_finished=True):
    """Record a whole study as a search does."""
    recorder.open_study(study.folder)
    for record in records:
        recorder.record(study.folder, record)
    recorder.close_study(study.folder, is_finished=is_finished)


def test_each_record_is_a_child_with_the_state_and_times_of_the_record(study, make_recorder, kept):
    """Complete, pruned and failed become FINISHED, KILLED and FAILED under one parent."""
    records = [
        study.add("baseline", None, name="baseline-cross_entropy", started_s=1.79e9 - 50),
        study.add(number=0),
        study.add(number=1, state="pruned"),
        study.add(number=2, state="failed", reason="training loss is nan at step 3", value=None,
                  matrix=[], scores={}, curves={}, rows=[], class_weights=[], log_prob=None),
    ]  # fmt: skip
    write(make_recorder(), study, *records)
    parent, children = kept().parent, kept().children
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "digits"
    assert list(children) == [record.name for record in records]
    status = {name: run.info.status for name, run in children.items()}
    assert list(status.values()) == ["FINISHED", "FINISHED", "KILLED", "FAILED"]
    states = [run.data.tags["tuner.trial_state"] for run in children.values()]
    assert states == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"]
    assert [run.data.tags["tuner.kind"] for run in children.values()] == [
        "baseline", "trial", "trial", "trial",
    ]  # fmt: skip
    for record, run in zip(records, children.values(), strict=True):
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.start_time == round(record.started_s * 1000)
        assert run.info.end_time == round(record.ended_s * 1000)
    names = [run.info.run_name for run in children.values()]
    assert names[:2] == ["cross-entropy", "#0 γ1.80 α0.40 ×3 balanced"]
    assert children["trial-00002"].data.tags["tuner.reason"] == "training loss is nan at step 3"


def test_params_and_metrics_can_be_searched_and_charted(study, make_recorder, kept):
    """The four hyperparameters are params; recalls are metrics; curves have every epoch."""
    record = study.add(number=3)
    write(make_recorder(), study, record, study.add(number=4, params=Setting(0, 1, 0, "none")))
    (found,) = kept().runs("params.class_weight_mode = 'balanced' and metrics.`recall/two` > 0.1")
    assert found.data.params["gamma"] == "1.8"
    assert found.data.metrics["trial_number"] == 3
    assert found.data.metrics["recall/two"] == pytest.approx(record.recall[2])
    assert found.data.metrics["objective"] == record.value
    history = kept().client.get_metric_history(found.info.run_id, "val/recall/two")
    assert [(m.step, m.value) for m in history] == [
        (epoch, row[2]) for epoch, row in enumerate(record.curves["val/recall"])
    ]


def test_the_image_grid_finds_the_confusion_matrix_of_each_run(study, make_recorder, kept):
    """A PNG, its small WebP and MLflow's tag are there, and the PNG is what was drawn."""
    record = study.add()
    write(make_recorder(), study, record)
    run = kept().children[record.name]
    assert run.data.tags["mlflow.loggedImages"] == "True"
    png, webp = sorted(kept().artifacts(run, "images"), key=lambda path: path.endswith(".webp"))
    end_ms = round(record.ended_s * 1000)
    assert png.startswith(f"images/confusion_matrix+step+0+timestamp+{end_ms}+")
    assert webp == png.removesuffix(".png") + "+compressed.webp"
    path = kept().client.download_artifacts(run.info.run_id, png)
    pixels = np.asarray(Image.open(path))
    counts = np.array(record.matrix)
    np.testing.assert_array_equal(
        pixels[::8, ::8, 0], np.rint(255 * counts / counts.max()).astype(np.uint8)
    )


def test_counts_and_predictions_answer_later_questions(
    study, make_recorder, kept, tracking_uri, monkeypatch
):
    """MLflow reads the predictions as a table of its own; the matrix can be made from them."""
    record = study.add()
    write(make_recorder(), study, record)
    run = kept().children[record.name]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)  # load_table asks the default store
    table = kept().client.load_table(kept().experiment.experiment_id, "predictions.json",
                                     run_ids=[run.info.run_id])  # fmt: skip
    names = study.class_names
    again = [[((table["class"] == a) & (table["predicted"] == b)).sum() for b in names]
             for a in names]  # fmt: skip
    assert again == record.matrix
    assert json.loads(kept().text(run, "confusion_matrix.json"))["matrix"] == record.matrix


def test_the_parent_carries_the_study(study, make_recorder, kept):
    """Study file, images with folds, versions, commit, description and dataset are there."""
    write(make_recorder(), study, study.add("baseline", None, name="baseline-balanced"))
    parent = kept().parent
    assert kept().artifacts(parent) == [
        "about.json", "class_names.json", "images.csv", "study.yaml",
    ]  # fmt: skip
    for name in ("about.json", "images.csv", "study.yaml"):
        assert kept().text(parent, name) == (study.folder.path / name).read_text("utf-8")
    tags = parent.data.tags
    assert tags["tuner.version.keras"] == "3.15.1"
    assert tags["mlflow.source.git.commit"] == study.folder.about["git"]["commit"]
    assert tags["tuner.git_dirty"] == "no"
    assert tags["mlflow.source.name"] == "tuner"
    assert tags["tuner.data_fingerprint"] == study.folder.about["data_fingerprint"]
    assert "cross-entropy, balanced weights" in tags["mlflow.note.content"]
    for run in (parent, *kept().children.values()):
        (given,) = run.inputs.dataset_inputs
        assert given.dataset.name == "digits"
        assert given.dataset.digest == study.folder.about["data_fingerprint"][:32]
        n_images = len(study.folder.images.paths)
        assert json.loads(given.dataset.profile)["num_rows"] == n_images
        columns = json.loads(given.dataset.schema)["mlflow_colspec"]
        assert [column["name"] for column in columns] == ["path", "class", "fold"]


def test_hostile_class_names_are_kept_apart(new_study, make_recorder, kept, troubles):
    """Ten names that MLflow, a path, HTML or a database would trip over make ten recalls."""
    study = new_study(class_names=HOSTILE)
    record = study.add()
    write(make_recorder(), study, record)
    run = kept().children[record.name]
    rows = json.loads(kept().text(run, "class_names.json"))
    assert [row["name"] for row in rows] == HOSTILE
    for row, recall in zip(rows, record.recall, strict=True):
        assert run.data.metrics[f"recall/{row['metric']}"] == pytest.approx(recall)
    assert troubles == []


def test_a_long_trial_of_many_classes_takes_several_calls(new_study, make_recorder, kept):
    """More than 1000 metrics, MLflow's limit for a call, all arrive."""
    names = [f"класс {k} " + "ж" * 50 for k in range(26)]  # six bytes a letter on the wire
    study = new_study(class_names=names)
    n_epochs = 45
    recall = np.random.default_rng(0).random((n_epochs, 26))
    record = study.add(curves={"val/recall": recall.tolist()})
    write(make_recorder(), study, record)
    run = kept().children[record.name]
    safe = [row["metric"] for row in json.loads(kept().text(run, "class_names.json"))]
    for k in (0, 25):
        history = kept().client.get_metric_history(run.info.run_id, f"val/recall/{safe[k]}")
        assert [point.value for point in history] == recall[:, k].tolist()


def test_recording_twice_and_syncing_write_nothing_new(study, make_recorder, kept):
    """A whole run is left alone, by the same recorder, another one, and sync."""
    record = study.add()
    recorder = make_recorder()
    write(recorder, study, record)
    before = {run.info.run_id for run in kept().runs()}
    recorder.record(study.folder, record)
    write(make_recorder(), study, record)
    assert sync_study(study.folder, make_recorder()) == 0
    assert {run.info.run_id for run in kept().runs()} == before


def test_sync_restores_everything_from_the_folder(study, make_recorder, kept, tmp_path, migrated):
    """With MLflow's database and artifacts gone, the same runs are there again."""
    records = [study.add(number=k, state=s) for k, s in enumerate(["complete", "pruned"])]
    write(make_recorder(), study, *records)
    other = tmp_path / "other.db"
    other.write_bytes(migrated.read_bytes())
    uri = f"sqlite:///{other}"
    assert sync_study(study.folder, make_recorder(uri, tmp_path / "other")) == 2

    def said(run):
        tags = {k: v for k, v in run.data.tags.items() if k != "mlflow.parentRunId"}
        times = run.info.start_time, run.info.end_time
        return run.info.run_name, run.info.status, times, run.data.params, run.data.metrics, tags

    before, after = kept(), kept(uri=uri)
    assert said(after.parent) == said(before.parent)
    for name in ("trial-00000", "trial-00001"):
        assert said(after.children[name]) == said(before.children[name])
        for key in ("train/loss", "val/recall/two"):
            a, b = (k.client.get_metric_history(k.children[name].info.run_id, key)
                    for k in (before, after))  # fmt: skip
            assert [dict(m) for m in a] == [dict(m) for m in b]
        files = [[path.split("timestamp")[0] for path in k.artifacts(k.children[name], place)]
                 for k in (before, after) for place in ("", "images")]  # fmt: skip
        assert files[:2] == files[2:]


class Cut(BaseException):
    """Stands for a kill: nothing of ours catches it."""


class CutClient:
    """A real client that dies, or fails once, right after so many calls."""

    def __init__(self, client, n_calls, error=Cut):
        self._client, self.left, self._error = client, n_calls, error

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*args, **kwargs):
            result = method(*args, **kwargs)
            self.left -= 1
            if not self.left:
                raise self._error
            return result

        return call


N_CALLS = 19  # of a new study and its first record


@pytest.mark.parametrize(
    "n_calls",
    [n if n % 5 == 1 else pytest.param(n, marks=pytest.mark.slow) for n in range(1, N_CALLS + 1)],
)
def test_a_kill_after_any_call_leaves_one_whole_run_per_record_after_sync(
    n_calls, study, make_recorder, kept
):
    """Wherever recording dies, sync ends with each record once, nothing RUNNING, nothing cut."""
    record, names = study.add(number=0), safe_names(study.class_names)
    study.add(number=1)
    recorder = make_recorder()
    recorder._connected = CutClient(kept().client, n_calls)
    with pytest.raises(Cut):
        write(recorder, study, record)
    sync_study(study.folder, make_recorder())
    assert kept().parent.info.status == "FINISHED"
    assert list(kept().children) == ["trial-00000", "trial-00001"]
    for run in kept().children.values():
        assert run.info.status == "FINISHED"
        assert "tuner.record_sha" in run.data.tags
        assert run.data.metrics.keys() == {p.key for p in record_points(record, names)}
        assert len(kept().artifacts(run, "images")) == 2
        assert kept().artifacts(run) == sorted(file.name for file in FILES)
    assert len(kept().artifacts(kept().parent)) == 4


def test_the_kills_above_go_through_the_whole_record(study, make_recorder, kept):
    """A new study and its first record take exactly as many calls as the kills count."""
    client = CutClient(kept().client, 1000)
    recorder = make_recorder()
    recorder._connected = client
    recorder.open_study(study.folder)
    recorder.record(study.folder, study.add(number=0))
    assert 1000 - client.left == N_CALLS


def test_a_failure_at_any_call_is_made_good_by_the_same_recorder(study, make_recorder, kept):
    """What a failed write left behind is deleted when the record comes again."""
    recorder = make_recorder()
    recorder.open_study(study.folder)
    client = recorder._connected
    for number in range(7):  # the calls that write one record
        record = study.add(number=number)
        recorder._connected = CutClient(client, number + 1, ConnectionError)
        with pytest.raises(TrackingError, match="ConnectionError"):
            recorder.record(study.folder, record)
        recorder.record(study.folder, record)
    assert list(kept().children) == [f"trial-{number:05d}" for number in range(7)]
    assert {run.info.status for run in kept().children.values()} == {"FINISHED"}
    assert all("tuner.record_sha" in run.data.tags for run in kept().children.values())


def test_the_parent_is_running_while_the_search_is(study, make_recorder, kept):
    """RUNNING, then KILLED when interrupted, RUNNING again on going on, FINISHED at the end."""
    recorder = make_recorder()
    recorder.open_study(study.folder)
    assert kept().parent.info.status == "RUNNING"
    recorder.close_study(study.folder, is_finished=False)
    assert kept().parent.info.status == "KILLED"
    recorder = make_recorder()
    recorder.open_study(study.folder)
    assert kept().parent.info.status == "RUNNING"
    recorder.close_study(study.folder, is_finished=True)
    assert kept().parent.info.status == "FINISHED"


def test_sync_says_of_an_unfinished_study_that_it_was_interrupted(study, make_recorder, kept):
    """One of two trials is there and nobody runs the study: KILLED, not RUNNING."""
    study.add(number=0)
    sync_study(study.folder, make_recorder())
    assert kept().parent.info.status == "KILLED"
    study.add(number=1)
    sync_study(study.folder, make_recorder())
    assert kept().parent.info.status == "FINISHED"


def test_sync_beside_a_running_study_leaves_it_running(study, make_recorder, kept):
    """The lock of the study tells that it runs."""
    study.add(number=0)
    with study.folder.locked():
        assert sync_study(StudyFolder(study.folder.path), make_recorder()) == 1
    assert kept().parent.info.status == "RUNNING"


def test_a_record_that_was_trained_again_replaces_its_run(study, make_recorder, kept):
    """The hash of the file decides, not the name."""
    recorder = make_recorder()
    write(recorder, study, study.add(number=0, value=0.1))
    again = study.add(number=0, value=0.2)
    recorder.record(study.folder, again)
    assert kept().children["trial-00000"].data.metrics["objective"] == 0.2


def test_runs_deleted_by_hand_come_back(study, make_recorder, kept):
    """A child, the parent, or the whole experiment in the trash: sync mends each."""
    write(make_recorder(), study, study.add(number=0), study.add(number=1))
    client = kept().client
    client.delete_run(kept().children["trial-00000"].info.run_id)
    assert sync_study(study.folder, make_recorder()) == 1
    assert set(kept().children) == {"trial-00000", "trial-00001"}
    client.delete_run(kept().parent.info.run_id)
    assert sync_study(study.folder, make_recorder()) == 2
    parent = kept().parent.info.run_id
    assert {run.data.tags["mlflow.parentRunId"] for run in kept().children.values()} == {parent}
    client.delete_experiment(kept().experiment.experiment_id)
    sync_study(study.folder, make_recorder())
    assert kept().experiment.lifecycle_stage == "active"
    assert set(kept().children) == {"trial-00000", "trial-00001"}
    assert kept().parent.info.status == "FINISHED"


def test_a_study_begun_anew_under_an_old_name_leaves_the_old_runs_alone(
    new_study, make_recorder, kept, tmp_path
):
    """Runs of another study with the same name are neither taken nor deleted."""
    old = new_study()
    write(make_recorder(), old, old.add(number=0))
    old.folder.path.rename(tmp_path / "old")
    new = new_study()
    new.folder.about["created_at"] = "2027-01-01T00:00:00+0000"
    (new.folder.path / "about.json").write_text(json.dumps(new.folder.about))
    write(make_recorder(), new, new.add(number=0))
    kinds = sorted(run.data.tags["tuner.kind"] for run in kept().runs())
    assert kinds == ["study", "study", "trial", "trial"]


def test_artifacts_lie_in_the_home_wherever_it_is(tmp_path, migrated, make_recorder, new_study):
    """Spaces and other scripts in the path of the home do no harm."""
    home = tmp_path / "mein Heim 家 #1"
    home.mkdir()
    uri = f"sqlite:///{home / 'mlflow.db'}"
    (home / "mlflow.db").write_bytes(migrated.read_bytes())
    study = new_study()
    write(make_recorder(uri, home / "artifacts"), study, study.add())
    assert len(list(home.glob("artifacts/digits/*/artifacts/images/*.png"))) == 1


def test_a_home_that_moved_is_written_anew(
    tmp_path, tracking_uri, make_recorder, study, kept, troubles
):
    """MLflow's absolute paths lead nowhere after a move; then the mirror is made again."""
    write(make_recorder(), study, study.add())
    moved = (tmp_path / "home").rename(tmp_path / "moved")
    uri = f"sqlite:///{moved / 'mlflow.db'}"
    folder = StudyFolder(moved / "studies" / "digits")
    assert sync_study(folder, make_recorder(uri, moved / "artifacts")) == 1
    assert "its home is another now" in troubles[0]
    run = kept(uri=uri).children["trial-00000"]
    assert run.info.artifact_uri.startswith((moved / "artifacts").as_uri())
    assert len(kept(uri=uri).artifacts(run, "images")) == 2
    assert sync_study(folder, make_recorder(uri, moved / "artifacts")) == 0


def test_a_copy_of_a_home_leaves_the_first_alone(
    tmp_path, tracking_uri, make_recorder, study, kept
):
    """What is recorded in the copy lies in the copy, though the old folder is still there."""
    write(make_recorder(), study, study.add())
    copy = shutil.copytree(tmp_path / "home", tmp_path / "copy")
    uri = f"sqlite:///{copy / 'mlflow.db'}"
    folder = StudyFolder(copy / "studies" / "digits")
    assert sync_study(folder, make_recorder(uri, copy / "artifacts")) == 1
    for run in (kept(uri=uri).parent, *kept(uri=uri).children.values()):
        assert run.info.artifact_uri.startswith((copy / "artifacts").as_uri())
    assert sync_study(folder, make_recorder(uri, copy / "artifacts")) == 0
    assert sync_study(study.folder, make_recorder()) == 0


@pytest.mark.parametrize("lost", ["a picture", "a run's", "the study's", "all"])
def test_artifacts_that_are_gone_come_back(tmp_path, make_recorder, study, kept, lost):
    """Files deleted under MLflow's feet are noticed by the next start or sync, and written."""
    write(make_recorder(), study, study.add(number=0), study.add(number=1))

    def files():
        return {
            (name, place): sorted(
                path.split("timestamp")[0] for path in kept().artifacts(run, place)
            )
            for name, run in {**kept().children, "": kept().parent}.items()
            for place in (("", "images") if name else ("",))
        }

    before = files()
    place = tmp_path / "home" / "artifacts" / "digits"
    run = {"the study's": kept().parent}.get(lost, kept().children["trial-00001"])
    own = place / run.info.run_id / "artifacts"
    if lost == "a picture":
        next(own.glob("images/*.png")).unlink()
    else:
        shutil.rmtree(place if lost == "all" else own)
    n_lost = {"the study's": 0, "all": 2}.get(lost, 1)
    assert sync_study(study.folder, make_recorder()) == n_lost
    assert files() == before
    assert sync_study(study.folder, make_recorder()) == 0


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # NumPy leaves a damaged file open
@pytest.mark.parametrize("damage", ["cut", "other"])
def test_damaged_probabilities_cost_the_table_and_nothing_else(
    damage, study, make_recorder, kept, troubles
):
    """The run is written without predictions, and it is said which."""
    record = study.add()
    path = study.folder.records_path / f"{record.name}.npz"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:200])
    else:
        np.savez(path, log_prob=study.log_prob[:5])
    write(make_recorder(), study, record)
    run = kept().children[record.name]
    assert kept().artifacts(run) == sorted(file.name for file in FILES if not file.is_table)
    assert "mlflow.loggedArtifacts" not in run.data.tags
    (trouble,) = troubles
    assert "no table of predictions of trial-00000" in trouble
    gc.collect()  # here, where the warning is expected


def test_a_damaged_record_does_not_keep_the_others_out(study, make_recorder, kept):
    """Sync writes what can be read and names the file that cannot."""
    study.add(number=0)
    study.add(number=1)
    (study.folder.records_path / "trial-00000.json").write_text("{")
    with pytest.raises(TrackingError, match=r"1 written, 1 failed.*cannot be read") as caught:
        sync_study(study.folder, make_recorder())
    assert "trial-00000.json" in str(caught.value)
    assert list(kept().children) == ["trial-00001"]


def test_a_server_that_is_not_there_is_one_short_message_without_the_password(
    study, make_recorder
):
    """No traceback of MLflow's and no secret reaches the user."""
    recorder = make_recorder("http://user:secret@127.0.0.1:9")
    with pytest.raises(TrackingError) as caught:
        recorder.open_study(study.folder)
    text = str(caught.value)
    assert "secret" not in text
    assert "http://***@127.0.0.1:9" in text
    assert "tuner sync" in text
    assert len(text) < 600


def test_mlflow_is_imported_on_use_only():
    """Whoever merely builds the recorders does not pay seconds for MLflow."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tuner.tracking.mlflow_recorder import MlflowRecorder\n"
        "from tuner.tracking.background import BackgroundRecorder\n"
        "inner = MlflowRecorder('sqlite:///x.db', artifacts=None, draw_confusion_matrix=None,\n"
        "                       on_trouble=print)\n"
        "BackgroundRecorder(inner, on_trouble=print)\n"
        "print([m for m in ('mlflow', 'matplotlib', 'sqlalchemy.orm') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "[]"
