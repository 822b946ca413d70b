from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from tests.small_study import Heard, Kept, Small, fill, quick_engine
from tuner.confirm.confirm import Opening, confirm
from tuner.confirm.retest import Confirming, candidates, fresh_folds, retest
from tuner.confirm.sealed import SealedImages, read_test
from tuner.decision.demands import Demands
from tuner.decision.rule import fit_rule
from tuner.errors import StudyError
from tuner.features.bank import FeatureBank
from tuner.features.wanted import ViewOf
from tuner.home.confirmation import Confirmation, load_confirmation
from tuner.home.records import load_log_prob
from tuner.home.study_folder import StudyFolder
from tuner.search.study import run_search
from tuner.training.final import train_finals
from tuner.training.inputs import load_inputs, rows_to_extract
from tuner.training.plan import plan_of
from tuner.training.trial import OUT_OF_MEMORY, train_settings

N_SEEDS = 2


class StopError(Exception):
    """The test was about to be read."""


NONE = np.empty(0, dtype=np.int64)  # no image has a near-duplicate elsewhere


def ready(small: Small, folder: StudyFolder, **changes) -> tuple[Confirming, FeatureBank]:
    """As ``tuner confirm`` does it, up to the retest."""
    config, images = folder.config, folder.images
    folds = fresh_folds(folder, n_seeds=N_SEEDS)
    bank = FeatureBank(small.data.features, {"features": "pixels"}, n_features=64)
    names, root = tuple(folder.class_names), small.table(config).root
    others = list(folds.values())
    wanted = rows_to_extract(config, images, root, n_classes=len(names), other_folds=others)
    test = [ViewOf(root / images.paths[i], images.sha256[i], 0) for i in images.test]
    fill(bank, [*wanted, *test], augmentation=config.augmentation)
    inputs = load_inputs(config, images, bank, class_names=names, other_folds=others)
    parts = {"recorder": Kept(), "listener": Heard(), "environment": {"backend": "test"}}
    return Confirming(config, inputs, folds, folder, **(parts | changes)), bank


def confirmed(
    small: Small, folder: StudyFolder, *, is_again: bool = False, **changes
) -> Confirmation:
    """Confirm the study."""
    confirming, bank = ready(small, folder, **changes)
    opening = Opening(lambda: read_test(folder, bank), NONE, "tuner confirm small", is_again)
    return confirm(confirming, top=1, opening=opening)


@pytest.fixture(scope="session")
def searched(tmp_path_factory, data_home) -> Path:
    """A home with the small study searched, to be copied."""
    home = tmp_path_factory.mktemp("searched")
    run_search(Small(home, data_home).open("search.trials=2"))
    return home


@pytest.fixture(scope="session")
def finished(tmp_path_factory, data_home, searched) -> Path:
    """A home with the small study confirmed, to be copied."""
    home = tmp_path_factory.mktemp("confirmed") / "home"
    shutil.copytree(searched, home)
    confirmed(Small(home, data_home), StudyFolder(home / "studies" / "small"))
    return home


@pytest.fixture
def folder(small, searched) -> StudyFolder:
    """The searched study in this test's home."""
    shutil.copytree(searched, small.home.path, dirs_exist_ok=True)
    return StudyFolder(small.home.studies / "small")


@pytest.fixture
def done(small, finished) -> StudyFolder:
    """The confirmed study in this test's home."""
    shutil.copytree(finished, small.home.path, dirs_exist_ok=True)
    return StudyFolder(small.home.studies / "small")


def test_fresh_splits_re_divide_the_non_test_images_only(folder):
    """Each seed deals all non-test images anew, and the test stays where it was."""
    folds = fresh_folds(folder, n_seeds=3)
    own = folder.images.fold[folder.images.search]

    assert list(folds) == [1, 2, 3]
    for fold in folds.values():
        assert len(fold) == len(own)
        assert set(fold) == {0, 1}
        assert (fold != own).any()


def test_candidates_go_from_simple_to_complex(folder):
    """Baselines come first, then the best trials by their objective."""
    found = candidates(folder.records(), top=2)

    assert [r.kind for r in found[:3]] == ["baseline"] * 3
    values = [r.value for r in found[3:]]
    assert values == sorted(values, reverse=True)


def test_nothing_before_the_opening_reads_a_test_row(small, folder, data_home):
    """Retest and choice are the same bits when the sealed images' labels are other ones.

    Their features are not even asked for: the bank of this test holds none of them.
    """
    retested = {}
    for name in ("true", "false"):
        home = small.home.path.parent / name
        shutil.copytree(small.home.path, home)
        study = StudyFolder(home / "studies" / "small")
        if name == "false":
            relabel_test(study)
        confirming, _ = ready(Small(home, data_home), study)
        images = study.images
        bank = FeatureBank(home / "features", {"features": "pixels"}, n_features=64)
        root = small.table(study.config).root
        others = list(confirming.folds.values())
        wanted = rows_to_extract(study.config, images, root, n_classes=5, other_folds=others)
        fill(bank, wanted, augmentation=study.config.augmentation)
        inputs = load_inputs(
            study.config,
            images,
            bank,
            class_names=tuple(study.class_names),
            other_folds=others,
        )

        def stop() -> SealedImages:
            raise StopError

        with pytest.raises(StopError):
            confirm(
                replace(confirming, inputs=inputs), top=1, opening=Opening(stop, NONE, "x", False)
            )
        made = [r for r in study.records() if r.kind == "confirm"]
        retested[name] = (
            [(r.name, r.matrix, r.curves) for r in made],
            [load_log_prob(study.records_path, r.name).tobytes() for r in made],
            study.seal[0]["plan"],
        )

    assert retested["true"] == retested["false"]


def relabel_test(study: StudyFolder) -> None:
    """Give every sealed image another class."""
    path = study.path / "images.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        if row["fold"] == "-1":
            row["label"] = str((int(row["label"]) + 1) % 5)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys(), quoting=csv.QUOTE_NONNUMERIC)
        writer.writeheader()
        writer.writerows(rows)


def test_numbers_follow_from_the_kept_predictions(done):
    """Means, matrices and gains are those of the predictions on disk, worked out anew."""
    found = load_confirmation(done)
    with np.load(done.path / "test_predictions.npz") as kept:
        labels = kept["labels"]
        assert (kept["rows"] == done.images.test).all()
        recalls = {
            model.key: [
                balanced_accuracy_score(labels, seed.argmax(axis=1)) for seed in kept[model.key]
            ]
            for model in found.test.models
        }
    for model in found.test.models:
        assert model.values == pytest.approx(recalls[model.key])
        assert model.macro_recall == pytest.approx(np.mean(recalls[model.key]))
    for row in found.test.comparisons:
        gain = np.mean(recalls[row.model]) - np.mean(recalls[row.against])
        assert row.gain == pytest.approx(gain)
        assert row.low <= row.gain <= row.high


def test_a_decision_rule_is_tested_as_any_other_model(folder, small):
    """Fitted to the study's own folds before the opening; its cost follows from what is kept."""
    costs = 1 - np.eye(5)
    costs[4] *= 20
    demands = Demands(costs, {3: 0.5})
    found = confirmed(small, folder, demands=demands)

    key, told = f"{found.chosen}+decision_rule", found.decision
    record = next(r for r in folder.records() if r.name == found.chosen)
    own, images = load_log_prob(folder.records_path, record.name), folder.images
    rule = fit_rule(own, images.labels[images.search], demands).rule
    assert told["rule"] == rule.as_plain()
    with np.load(folder.path / "test_predictions.npz") as kept:
        labels, decided = kept["labels"], kept[key].argmax(axis=2)
        assert (decided == rule.decide(kept[found.chosen])).mean() > 0.99  # float32 on disk
    assert told["after"]["cost"]["value"] == pytest.approx(costs[labels, decided[0]].mean())
    model = found.test.model(key)
    assert np.diag(model.matrix).tolist() == [row["found"] for row in told["after"]["recall"]]
    assert model.title.endswith(", decision rule")
    assert key in {row.key for row in found.retest}
    assert "sealed test the decision rule" in told["sentence"]
    assert load_confirmation(folder) == found
    with pytest.raises(StudyError, match="has been opened already"):
        confirmed(small, folder, demands=Demands(costs, {3: 0.6}))


def test_every_setting_is_retested_with_every_seed(done):
    """The table has each candidate and each free baseline with a value per fresh seed."""
    found = load_confirmation(done)
    rows = {row.key: row for row in found.retest}

    assert found.seeds == [0, 1, 2]
    assert {row.kind for row in rows.values()} >= {"baseline", "trial", "free"}
    assert all(len(row.values) == N_SEEDS for row in rows.values())
    assert rows[found.chosen].is_within
    retests = [r for r in done.records() if r.kind == "confirm" and r.part == "validation"]
    assert len(retests) == N_SEEDS * 4


def test_the_model_of_the_study_seed_is_the_one_that_train_writes(done, small):
    """Its matrix is that of the head which the final training gives for the record."""
    found = load_confirmation(done)
    record = next(r for r in done.records() if r.name == "baseline-balanced")
    confirming, bank = ready(small, done)
    head = train_finals(
        [(record.params, plan_of(record.best_epochs, record.learning_rates))],
        confirming.inputs,
        config=done.config,
    )[0]
    test = read_test(done, bank)
    hidden = np.maximum(test.features @ head.hidden + head.hidden_bias, 0)
    predicted = (hidden @ head.output + head.output_bias).argmax(axis=1)

    model = next(m for m in found.test.models if m.key == "baseline-balanced")
    matrix = np.array(model.matrix)
    assert np.diag(matrix).sum() == (predicted == test.labels).sum()
    assert matrix.sum(axis=0).tolist() == np.bincount(predicted, minlength=5).tolist()


def test_the_opening_is_on_record_with_who_and_when(done):
    """The seal names user, time and command of the one opening."""
    (opening,) = done.seal

    assert opening["command"] == "tuner confirm small"
    assert opening["user"]
    assert opening["opened_at"]
    assert load_confirmation(done).opening == 1


def test_a_second_opening_needs_again_and_is_recorded(done, small):
    """Without it nothing is opened; with it the seal has two entries and trains nothing anew."""
    heard = Heard()
    with pytest.raises(StudyError, match=r"has been opened already(.|\n)*--again"):
        confirmed(small, done)
    assert len(done.seal) == 1

    again = confirmed(small, done, is_again=True, listener=heard)

    assert again.opening == len(done.seal) == 2
    assert heard.started == []


def test_a_damaged_confirmation_is_made_anew_with_again(done, small):
    """It is in the way of a look, as its message says, but not of another opening."""
    sound = load_confirmation(done)
    (done.path / "confirmation.json").write_text("{")
    with pytest.raises(StudyError, match=r"cannot be read(.|\n)*--again"):
        confirmed(small, done)

    again = confirmed(small, done, is_again=True)

    assert again.opening == len(done.seal) == 2
    assert again.test == sound.test
    assert load_confirmation(done) == again


def test_an_opening_that_was_killed_goes_on_without_again(folder, small):
    """A kill after the seal, before the result, costs no second opening."""
    confirming, _ = ready(small, folder)

    def killed() -> SealedImages:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        confirm(confirming, top=1, opening=Opening(killed, NONE, "tuner confirm small", False))
    assert len(folder.seal) == 1
    assert load_confirmation(folder) is None

    found = confirmed(small, folder)

    assert found.opening == len(folder.seal) == 1


def test_a_killed_retest_goes_on_where_it_was(folder, small, finished):
    """Settings that were retested are not trained again, and the result is the same."""

    class Killer(Heard):
        def trial_ended(self, record, *, n_finished, n_trials):
            if n_finished == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        confirmed(small, folder, listener=Killer())
    heard = Heard()

    found = confirmed(small, folder, listener=heard)

    assert len(heard.started) == N_SEEDS * 4 - 3
    other = load_confirmation(StudyFolder(finished / "studies" / "small"))
    for key in ("retest", "test", "chosen", "best_free", "verdict"):
        assert getattr(found, key) == getattr(other, key)


def test_a_setting_for_which_memory_runs_out_is_left_out(folder, small):
    """The retest says so and goes on with the others; plain cross-entropy it cannot do without."""
    hungry = {2.0}  # gamma of the published recipe

    def engine(trials, *args, **options):
        if hungry & {folds[0].head.gamma for folds in trials}:
            raise MemoryError
        return quick_engine(trials, *args, **options)

    heard, settings = Heard(), candidates(folder.records(), top=1)
    trainer = partial(train_settings, engine=engine)
    confirming, _ = ready(small, folder, listener=heard, trainer=trainer)

    found = retest(confirming, settings)

    recipe = next(s for s in settings if s.params.gamma == 2.0)
    assert found.settings == [s for s in settings if s != recipe]
    assert heard.messages[0] == f"{recipe.title} is left out: {OUT_OF_MEMORY}"
    assert all(r.rows and not r.matrix for r in found.records[recipe.name].values())
    for path in folder.records_path.glob("confirm-*"):
        path.unlink()
    hungry.add(0.0)
    with pytest.raises(StudyError, match=r"plain cross-entropy(.|\n)*memory ran out"):
        retest(confirming, settings)


def test_everything_goes_to_the_recorder(folder, small):
    """Each retest and each scored model is handed over once."""
    kept = Kept()
    confirmed(small, folder, recorder=kept)

    named = [name for call, name in kept.calls if call == "record"]
    assert len(named) == len(set(named))
    assert sum(name.startswith("confirm-") for name in named) == N_SEEDS * 4
    assert sum(name.startswith("test-") for name in named) >= 3


def test_a_study_without_trials_cannot_be_confirmed(small):
    """The message says what is missing and what to do."""
    search = small.open("search.trials=1")
    with pytest.raises(StudyError, match=r"no trial has been completed|has not finished"):
        candidates(search.folder.records(), top=1)


def test_a_damaged_confirmation_is_named(done):
    """A file that is no confirmation is one message with its place."""
    (done.path / "confirmation.json").write_text("{")
    with pytest.raises(StudyError, match=r"confirmation cannot be read(.|\n)*confirmation\.json"):
        load_confirmation(done)


def test_the_confirmation_is_plain_json(done):
    """Every number is a number of JSON, none is NaN."""
    text = (done.path / "confirmation.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name))["schema"] == 1


def test_the_script_in_the_documents_gives_the_recorded_numbers(done, monkeypatch, capsys):
    """The lines that docs/confirm.md shows work out what the confirmation has recorded."""
    text = (Path(__file__).parents[2] / "docs" / "confirm.md").read_text("utf-8")
    script = text.split("```python\n")[1].split("```")[0]
    assert 'Path("mlruns/studies/digits")' in script

    exec(script.replace("mlruns/studies/digits", str(done.path)), {})

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(load_confirmation(done).test.models)
    for line in lines:
        found, recorded = line.split()[-3], line.split()[-1]
        assert found == recorded
