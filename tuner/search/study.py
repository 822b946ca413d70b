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
from tuner.search.state import Search, Slot, n_finished
from tuner.search.tell import restore_trials, teach_baseline
from tuner.training.free import evaluate_free
from tuner.training.inputs import Inputs

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
) -> Search:
    """Create or load the Optuna study and gather what the search needs."""
    study = open_optuna_study(storage, config)
    space = distributions(config, n_classes=inputs.n_classes)
    return Search(config, inputs, folder, study, recorder, listener, dict(environment), space)


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
            search.listener.message(
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
    for name, params in baselines(n_classes=search.inputs.n_classes).items():
        slot = Slot("baseline", f"baseline-{name}", params)
        if slot.name in known:
            # A kill may have come between the record and the store.
            teach_baseline(search, known[slot.name])
        else:
            todo.append(slot)
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
    search.listener.step("free baselines: logit adjustment, logistic regression, class means")
    save_free(folder.path, evaluate_free(plain, log_prob, search.inputs, config=search.config))


def _run_trials(search: Search) -> None:
    failures = 0
    while slots := next_batch(search):
        failures = count_failures(search, train_batch(search, slots), before=failures)


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
