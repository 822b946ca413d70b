"""Data that tempt a program to fail: two classes through every command, names made to collide."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from PIL import Image

from tests.cli.conftest import tuner  # noqa: F401  # a fixture
from tests.tiny_backbone import write_tiny_backbone
from tuner.home.study_folder import StudyFolder
from tuner.model.archive import read_card

TINY = """
name: {name}
data: {{source: {source}, image_px: 32, group_by: none}}
split: {{folds: 2}}
backbone: {{model: {backbone}}}
search: {{trials: 2}}
training: {{epochs: 4, hidden_units: 16, learning_rate: 0.001}}
"""


def pictures(folder: Path, **counts: int) -> None:
    """Noise around a level of gray of its own for each class."""
    rng = np.random.default_rng(0)
    for level, (name, n) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(
                30 * level % 160, 30 * level % 160 + 90, (12, 12, 3), dtype=np.uint8
            )
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


@pytest.fixture
def done(tuner, database):  # noqa: F811
    """Runs ``tuner WORDS``, which must succeed; stdout and stderr."""

    def run(*words: str) -> tuple[str, str]:
        found = tuner(*words)
        assert found.code == 0, found.err
        assert "Traceback" not in found.err
        return found.out, found.err

    return run


@pytest.mark.slow
def test_two_classes_through_every_command(tmp_path, done):
    """Run, status, confirm, report, export and train: alpha is a class weight throughout."""
    pictures(tmp_path / "data", good=30, rare=9)
    (tmp_path / "two.yaml").write_text(
        TINY.format(
            backbone=write_tiny_backbone(tmp_path / "tiny.keras"), name="two", source="data"
        )
    )
    done("check", "two.yaml")
    done("run", "two.yaml")
    folder = StudyFolder(tmp_path / "mlruns" / "studies" / "two")
    records = folder.records()
    assert [r.kind for r in records] == ["baseline"] * 3 + ["trial"] * 2
    assert {r.params.alpha for r in records if r.kind == "baseline"} == {0.5}
    assert all(0.05 <= r.params.alpha <= 0.95 for r in records)

    (facts,) = json.loads(done("status", "two", "--json")[0])
    assert (facts["state"], facts["finished"]) == ("finished", 2)
    assert set(facts["best"]["recall"]) == {"good", "rare"}

    out, _ = done("confirm", "two", "--seeds", "2", "--top", "1")
    found = json.loads((folder.path / "confirmation.json").read_text("utf-8"))
    assert found["verdict"]["sentence"] in out.replace("\n", " ")
    assert len(found["test"]["support"]) == 2
    assert len(folder.seal) == 1

    done("report", "two")
    assert "good" in (tmp_path / "report.html").read_text("utf-8")
    done("export", "two", "-o", "best.yaml")
    exported = yaml.safe_load((tmp_path / "best.yaml").read_text("utf-8"))
    assert exported["confirmation"]["is_chosen"]
    out, _ = done("train", "best.yaml")
    assert "reproduced" in out
    assert read_card(tmp_path / "best.keras")["class_names"] == ["good", "rare"]
    model = keras.saving.load_model(tmp_path / "best.keras")
    answer = model(np.zeros((1, 20, 30, 3), np.uint8), training=False)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(answer).sum(), 1, atol=1e-5)


@pytest.mark.slow
def test_classes_named_to_collide_stay_apart_and_follow_a_moved_home(tmp_path, done):
    """Five recalls in every run, whatever classes are called; `tuner sync` finds a new home."""
    names = ["support", "Support", "a/b(c)%", "macro_recall", "recall"]
    pictures(tmp_path / "data", **{f"k{k}": 7 for k in range(5)})
    lines = [f"k{k}/{i}.png,{name}" for k, name in enumerate(names) for i in range(7)]
    (tmp_path / "data" / "all.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    (tmp_path / "names.yaml").write_text(
        TINY.format(
            backbone=write_tiny_backbone(tmp_path / "tiny.keras"),
            name="names",
            source="data/all.csv",
        )
    )
    out, _ = done("check", "names.yaml")
    assert "'Support' and 'support' differ only by case" in out
    done("run", "names.yaml", "--trials", "1")
    (tmp_path / "mlruns").rename(tmp_path / "moved")
    _, err = done("sync", "names", "--home", str(tmp_path / "moved"))
    client = MlflowClient(f"sqlite:///{tmp_path / 'moved' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("names")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 1 + 3 + 1, err
    for run in runs:
        assert str(tmp_path / "moved") in run.info.artifact_uri
        if "tuner.record" in run.data.tags:
            recalls = [key for key in run.data.metrics if key.startswith("recall/")]
            assert len(recalls) == 5
            assert {"macro_recall", "min_recall"} <= run.data.metrics.keys()
            assert client.list_artifacts(run.info.run_id, "images")


@pytest.mark.slow
def test_two_hundred_classes_are_a_study(tmp_path, done):
    """Five images of each: run, status, report and MLflow have every class."""
    pictures(tmp_path / "data", **{f"class {k:03d}": 5 for k in range(200)})
    (tmp_path / "many.yaml").write_text(
        TINY.format(
            backbone=write_tiny_backbone(tmp_path / "tiny.keras"), name="many", source="data"
        )
    )
    _, err = done("run", "many.yaml", "--trials", "1")
    assert err.count("out-of-fold images") == 8
    assert "and 192 more classes of so few images" in err
    (facts,) = json.loads(done("status", "many", "--json")[0])
    assert len(facts["best"]["recall"]) == 200
    done("report", "many")
    assert "class 199" in (tmp_path / "report.html").read_text("utf-8")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("many")
    for run in client.search_runs([experiment.experiment_id], "tags.`tuner.kind` != 'study'"):
        assert sum(key.startswith("recall/") for key in run.data.metrics) == 200


@pytest.mark.slow
def test_images_that_are_all_the_same_teach_nothing_and_say_so(tmp_path, done):
    """Copies of one picture under two labels: chance, and a verdict in words."""
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(8):
            Image.new("RGB", (12, 12), "gray").save(tmp_path / "data" / name / f"{i}.png")
    (tmp_path / "same.yaml").write_text(
        TINY.format(
            backbone=write_tiny_backbone(tmp_path / "tiny.keras"), name="same", source="data"
        )
    )
    out, err = done("check", "same.yaml")
    assert "same bytes, different labels" in out + err
    out, err = done("run", "same.yaml")
    assert "1 set of images has the same bytes and different labels" in err
    assert "The winner is a baseline" in out
    folder = StudyFolder(tmp_path / "mlruns" / "studies" / "same")
    assert {record.value for record in folder.records()} == {0.5}
    out, err = done("confirm", "same", "--seeds", "2", "--top", "1")
    assert "No better than plain cross-entropy" in out
    assert "Warning" not in err


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"only": 9}, "only one class was found, 'only'"),
        ({"many": 12, "one": 1}, "class 'one' has 1 image, but 3 folds and a sealed test need"),
    ],
)
def test_data_that_make_no_study_are_refused_by_name(tmp_path, counts, said, monkeypatch, capsys):
    """One class, or a class that cannot be in every fold, is one message before any network."""
    from tuner.cli import main

    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "data", **counts)
    Path("x.yaml").write_text("name: x\ndata: {source: data}\n")
    monkeypatch.setattr(sys, "argv", ["tuner", "check", "x.yaml", "--home", "home"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert said in capsys.readouterr().err
