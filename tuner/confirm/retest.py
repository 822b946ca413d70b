"""Train the best settings and the baselines again, on fresh seeds and fresh splits.

The best of many settings looks better than it is. Fresh seeds re-divide the same non-test
images and give every head other initial weights, row orders and dropout; the study's views
stay. Nothing here reads the sealed test.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tuner.arrays import Float32, Int64
from tuner.config import StudyConfig
from tuner.data.near_duplicates.groups import divided_by_side
from tuner.data.split import make_split
from tuner.decision.demands import Demands
from tuner.errors import StudyError
from tuner.home.baselines import PLAIN, TITLES
from tuner.home.free import FREE_TITLES
from tuner.home.listener import Epoch, Listener
from tuner.home.recorder import Recorder
from tuner.home.records import Record, load_record, save_record
from tuner.home.study_folder import StudyFolder, need_log_prob
from tuner.imbalance.adjustment import adjust_logits
from tuner.search.ask import trials_at_once
from tuner.training.adjusted import fold_priors, tuned_taus
from tuner.training.free import FITS, out_of_fold
from tuner.training.inputs import Inputs, redivided
from tuner.training.record import make_record
from tuner.training.trial import Trainer, objective_value, train_settings


@dataclass(frozen=True)
class Confirming:
    """Everything that `confirm` needs; functions of this room take it whole.

    Attributes:
        config: The resolved study file.
        inputs: Arrays of the non-test images, with the study's own folds and the views that
            `folds` need.
        folds: Fold of each non-test image by fresh seed, int64 (n_images,) each.
        folder: The study.
        recorder: Who keeps the results beside the records.
        listener: Who shows them.
        environment: Recorded with each run: backend, device, precision, version.
        trainer: What trains settings.
        demands: For which the chosen setting gets a decision rule, if any.
    """

    config: StudyConfig
    inputs: Inputs
    folds: Mapping[int, Int64]
    folder: StudyFolder
    recorder: Recorder
    listener: Listener
    environment: Mapping[str, str]
    trainer: Trainer = train_settings
    demands: Demands = field(default_factory=Demands)

    def config_of(self, seed: int) -> StudyConfig:
        """The study with another seed; a live study, too, is confirmed on the bank."""
        training = self.config.training.model_copy(update={"mode": "bank"})
        return self.config.model_copy(update={"seed": seed, "training": training})

    def inputs_of(self, seed: int) -> Inputs:
        """The images in the folds of a fresh seed."""
        batch_size = self.config.training.batch_size
        return redivided(self.inputs, self.folds[seed], batch_size=batch_size)


@dataclass(frozen=True)
class Retest:
    """What the fresh seeds gave.

    Attributes:
        settings: What was trained, from simple to complex: baselines, then trials.
        records: By setting, then by seed.
        predicted: By setting or free baseline, the class predicted for each non-test image,
            int64 (n_seeds, n_images).
        taus: Strength of the free logit adjustments, by key.
    """

    settings: list[Record]
    records: dict[str, dict[int, Record]]
    predicted: dict[str, Int64]
    taus: dict[str, float]


def fresh_folds(folder: StudyFolder, *, n_seeds: int) -> dict[int, Int64]:
    """Fold of each non-test image for seeds that the study has not used; the test stays.

    Raises:
        SplitError: If a class is too small for a fold.
    """
    config, images = folder.config, folder.images
    found = {}
    for seed in range(config.seed + 1, config.seed + 1 + n_seeds):
        fold = make_split(
            images.labels,
            class_names=folder.class_names,
            n_folds=config.split.folds,
            test_fraction=config.split.test_fraction,
            seed=seed,
            groups=divided_by_side(images.groups, images.is_test),
            is_shipped_test=images.is_test,
        )
        found[seed] = fold[images.search]
    return found


def candidates(records: Sequence[Record], *, top: int) -> list[Record]:
    """Settings to train again, from simple to complex: baselines, then the best trials.

    Raises:
        StudyError: If plain cross-entropy is missing, or no trial has been completed.
    """
    known = {r.name: r for r in records if r.kind == "baseline" and r.state == "complete"}
    trials = [r for r in records if r.kind == "trial" and r.state == "complete"]
    if PLAIN not in known or not trials:
        raise StudyError(
            "there is nothing to confirm yet: "
            + ("no trial has been completed" if known else "plain cross-entropy has not finished"),
            do="go on with: tuner run STUDY",
        )
    best = sorted(trials, key=lambda r: (r.violation, -(r.value or 0.0)))[:top]
    return [known[f"baseline-{name}"] for name in TITLES if f"baseline-{name}" in known] + best


def retest(confirming: Confirming, settings: Sequence[Record]) -> Retest:
    """Train every setting for every fresh seed, or read what an earlier start has trained.

    A setting that fails is left out with a message.

    Raises:
        StudyError: If plain cross-entropy fails.
    """
    records: dict[str, dict[int, Record]] = {setting.name: {} for setting in settings}
    n_all, n_done = len(settings) * len(confirming.folds), 0
    size = trials_at_once(confirming.config)
    for seed in confirming.folds:
        for start in range(0, len(settings), size):
            for record in _retest_batch(confirming, settings[start : start + size], seed):
                n_done += 1
                confirming.recorder.record(confirming.folder, record)
                confirming.listener.trial_ended(record, n_finished=n_done, n_trials=n_all)
                records[str(record.of)][seed] = record
    kept = [s for s in settings if not _failed(confirming, s, records[s.name].values())]
    predicted = {s.name: _predicted(confirming, records[s.name]) for s in kept}
    plain = kept[0]
    free, taus = adjusted_predictions(confirming, plain, records[plain.name])
    for key in FITS:
        confirming.listener.note(f"{FREE_TITLES[key]}, {len(confirming.folds)} fresh splits")
        with_each = [out_of_fold(confirming.inputs_of(seed), key) for seed in confirming.folds]
        free[key] = np.stack([log_prob.argmax(axis=1) for log_prob in with_each])
    return Retest(settings=kept, records=records, predicted=predicted | free, taus=taus)


def adjusted_predictions(
    confirming: Confirming, setting: Record, by_seed: Mapping[int, Record]
) -> tuple[dict[str, Int64], dict[str, float]]:
    """Logit adjustment of a retested setting, its strength from the study's own folds.

    Returns:
        Predicted classes, int64 (n_seeds, n_images), and strengths, by kind of adjustment.
    """
    own = predictions_of(confirming, setting)
    inputs = confirming.inputs
    taus = tuned_taus(
        setting, own, labels=inputs.labels, fold=inputs.fold, config=confirming.config
    )
    predicted = {
        key: np.stack(
            [
                adjust_logits(
                    predictions_of(confirming, record),
                    fold_priors(record, confirming.folds[seed]),
                    tau=tau,
                ).argmax(axis=1)
                for seed, record in by_seed.items()
            ]
        )
        for key, tau in taus.items()
    }
    return predicted, taus


def _known(confirming: Confirming, setting: Record, seed: int) -> Record | None:
    path = confirming.folder.records_path / f"{_name(setting, seed)}.json"
    return load_record(path) if path.exists() else None


def _name(setting: Record, seed: int) -> str:
    return f"confirm-{setting.name}-seed-{seed}"


def _retest_batch(confirming: Confirming, settings: Sequence[Record], seed: int) -> list[Record]:
    """Records of settings for one seed, in their order; what is not on disk is trained."""
    known = {s.name: _known(confirming, s, seed) for s in settings}
    missing = [s for s in settings if known[s.name] is None]
    trained = {r.of: r for r in _train(confirming, missing, seed)} if missing else {}
    return [known[s.name] or trained[s.name] for s in settings]


def _train(confirming: Confirming, settings: Sequence[Record], seed: int) -> list[Record]:
    """Train settings together, as a batch of trials is."""
    config, names = confirming.config_of(seed), [_name(setting, seed) for setting in settings]
    started_s = time.time()

    def on_epoch(i: int, epoch: Epoch) -> bool:
        value = objective_value(epoch.matrix, config=config)
        confirming.listener.epoch_ended(names[i], epoch, value)
        return False

    for name, setting in zip(names, settings, strict=True):
        confirming.listener.trial_started(name, setting.params)
    outcomes = confirming.trainer(
        [setting.params for setting in settings],
        confirming.inputs_of(seed),
        config=config,
        on_epoch=on_epoch,
    )
    records = []
    for name, setting, outcome in zip(names, settings, outcomes, strict=True):
        record = make_record(
            outcome,
            kind="confirm",
            name=name,
            setting=setting.params,
            of=setting.name,
            config=config,
            environment=confirming.environment,
            started_s=started_s,
        )
        save_record(confirming.folder.records_path, record, log_prob=outcome.log_prob)
        records.append(record)
    return records


def _failed(confirming: Confirming, setting: Record, records: Iterable[Record]) -> bool:
    fault = next((r for r in records if r.state == "failed"), None)
    if fault is None:
        return False
    if setting.name == PLAIN:
        raise StudyError(
            f"plain cross-entropy, which everything is compared with, failed: {fault.reason}",
            where=str(confirming.folder.records_path / f"{fault.name}.json"),
            do="mend the cause, delete that file and start the same command again",
        )
    confirming.listener.warning(f"{setting.title} is left out: {fault.reason}")
    return True


def _predicted(confirming: Confirming, by_seed: Mapping[int, Record]) -> Int64:
    return np.stack([predictions_of(confirming, r).argmax(axis=1) for r in by_seed.values()])


def predictions_of(confirming: Confirming, record: Record) -> Float32:
    """Out-of-fold log probabilities of a record, float32 (n_images, n_classes).

    Raises:
        StudyError: If there are none.
    """
    again = f"delete {record.name}.json to train it again"
    return need_log_prob(confirming.folder, record, instead=again)
