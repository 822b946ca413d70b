"""The search: baselines first, then ask, train, record, tell, until the budget is met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
from optuna.storages import BaseStorage

from tuner.config import StudyConfig
from tuner.errors import StudyError
from tuner.home.baselines import PLAIN, baselines
from tuner.home.free import load_free, save_free
from tuner.home.listener import Listener
from tuner.home.recorder import Recorder
from tuner.home.records import Record, load_log_prob
from tuner.home.study_folder import StudyFolder
from tuner.search.ask import next_batch, trials_at_once
from tuner.search.batch import train_batch
from tuner.search.journal import open_storage
from tuner.search.resume import settle_dead_trials
from tuner.search.samplers import make_pruner
from tuner.search.space import distributions
from tuner.search.state import Asked, Search, n_finished
from tuner.search.tell import restore_trials, teach_baseline
from tuner.training.free import evaluate_free
from tuner.training.inputs import Inputs
from tuner.training.trial import Trainer, train_settings

_FAILURES_IN_A_ROW = 3


def open_search(
    storage: BaseStorage,
    *,
    config: StudyConfig,
    inputs: Inputs,
    folder: StudyFolder,
    recorder: Recorder,
    listener: Listener,
    environment: Mapping[str, str],
    trainer: Trainer = train_settings,
) -> Search:
    """Create or load the Optuna study and gather what the search needs."""
    return Search(
        config=config,
        inputs=inputs,
        folder=folder,
        study=open_optuna_study(storage, config),
        recorder=recorder,
        listener=listener,
        environment=dict(environment),
        space=distributions(config, n_classes=inputs.n_classes),
        trainer=trainer,
    )


def open_optuna_study(storage: BaseStorage, config: StudyConfig) -> optuna.Study:
    """The study in Optuna's store; created when it is not there."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=storage,
        study_name=config.name,
        direction="maximize",
        pruner=make_pruner(config.search.pruner),
        load_if_exists=True,
    )


def load_optuna_study(storage: BaseStorage, name: str) -> optuna.Study:
    """A copy of the study in Optuna's store, to look at: what is done to it changes nothing.

    Raises:
        StudyError: If the store has no such study.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    copy = optuna.storages.InMemoryStorage()
    try:
        optuna.copy_study(
            from_study_name=name, from_storage=storage, to_storage=copy, to_study_name=name
        )
    except KeyError as error:
        do = f"start it with: tuner run {name}"
        raise StudyError(f"Optuna's store has no study '{name}'", do=do) from error
    return optuna.load_study(study_name=name, storage=copy)


def run_search(search: Search) -> None:
    """Train the baselines and then trials until `search.trials` have finished.

    Raises:
        StudyError: If three trials in a row fail.
    """
    is_finished = False
    search.recorder.open_study(search.folder)
    try:
        for record in search.folder.records():
            search.recorder.record(search.folder, record)  # those that it missed
        run_baselines(search)
        evaluate_free_baselines(search)
        if restored := restore_trials(search):
            search.listener.warning(
                f"Optuna's store lacked {restored} recorded trials; it has them again"
            )
        settle_dead_trials(search)
        _run_trials(search)
        is_finished = True
    finally:
        search.recorder.close_study(search.folder, is_finished=is_finished)


def run_baselines(search: Search) -> None:
    """Train the baselines that have no record, and give those that have one to the sampler."""
    known = {record.name: record for record in search.folder.records()}
    todo = []
    for name, setting in baselines(n_classes=search.inputs.n_classes).items():
        asked = Asked("baseline", f"baseline-{name}", setting)
        if asked.name in known:
            # A kill may have come between the record and the store.
            teach_baseline(search, known[asked.name])
        else:
            todo.append(asked)
    size = trials_at_once(search.config)
    for start in range(0, len(todo), size):
        for record in train_batch(search, todo[start : start + size]):
            teach_baseline(search, record)


def evaluate_free_baselines(search: Search) -> None:
    """Free baselines once, as soon as there is cross-entropy to adjust."""
    folder = search.folder
    plain = next((r for r in folder.records() if r.name == PLAIN), None)
    if plain is None or plain.state != "complete" or load_free(folder.path):
        return
    log_prob = load_log_prob(folder.records_path, plain.name)
    if log_prob is None:
        return
    search.listener.note("free baselines: logit adjustment, logistic regression, class means")
    save_free(folder.path, evaluate_free(plain, log_prob, search.inputs, config=search.config))


def _run_trials(search: Search) -> None:
    failures = 0
    while batch := next_batch(search):
        failures = count_failures(search, train_batch(search, batch), before=failures)


def count_failures(search: Search, records: Sequence[Record], *, before: int) -> int:
    """Failures in a row after these records.

    Raises:
        StudyError: If they are three.
    """
    failures = before
    for record in records:
        failures = failures + 1 if record.state == "failed" else 0
        if failures >= _FAILURES_IN_A_ROW:
            raise StudyError(
                f"{failures} trials in a row failed, the last one because {record.reason}",
                where=f"study '{search.config.name}', {record.name}",
                do="mend the cause and start the same command again",
            )
    return failures


__all__ = ["Listener", "Search", "n_finished", "open_search", "open_storage", "run_search"]
