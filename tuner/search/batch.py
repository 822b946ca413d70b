"""Train settings together, then record, tell and hand over each.

Order for each: record on disk, tell Optuna, hand to the recorder. Whatever the moment of a kill,
the next start finds a trial either recorded (and tells it) or not (and trains it again with the
same parameters before anything new is asked).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial

from tuner.home.listener import Epoch
from tuner.home.records import Record, remove_record, trial_name
from tuner.search.ask import asked_params, queue_again
from tuner.search.keep import keep
from tuner.search.state import Asked, Search, n_finished
from tuner.search.tell import TakenOverError, tell
from tuner.setting import Setting
from tuner.training.outcome import Outcome
from tuner.training.record import make_record
from tuner.training.trial import objective_value


def train_batch(search: Search, batch: Sequence[Asked]) -> list[Record]:
    """Train settings together, then record, tell and hand over each in their order."""
    started_s = time.time()

    def on_epoch(i: int, epoch: Epoch) -> bool:
        asked, value = batch[i], objective_value(epoch.matrix, config=search.config)
        search.listener.epoch_ended(asked.name, epoch, value)
        if asked.trial is None:
            return False
        try:
            asked.trial.report(value, epoch.epoch)
        except UpdateFinishedTrialError:  # another worker took it for lost (`finish`)
            return True
        return bool(asked.trial.should_prune())

    try:
        for asked in batch:
            search.listener.trial_started(asked.name, asked.setting)
        outcomes = search.trainer(
            [asked.setting for asked in batch],
            search.inputs,
            config=search.config,
            on_epoch=on_epoch,
        )
    except KeyboardInterrupt:
        _give_back(search, batch)
        raise
    return finish(search, batch, outcomes, started_s=started_s)


def finish(
    search: Search, batch: Sequence[Asked], outcomes: Sequence[Outcome], *, started_s: float
) -> list[Record]:
    """Record all of a batch, then tell and hand over each.

    Args:
        search: The search.
        batch: What was trained.
        outcomes: What came of each.
        started_s: Unix time.

    Returns:
        The records, without those of trials that another worker has meanwhile.
    """
    records = []
    for asked, outcome in zip(batch, outcomes, strict=True):
        record = make_record(
            outcome,
            kind=asked.kind,
            name=asked.name,
            setting=asked.setting,
            number=asked.trial.number if asked.trial else None,
            attempt=asked.attempt,
            config=search.config,
            environment=search.environment,
            started_s=started_s,
        )
        keep(search, record, log_prob=outcome.log_prob)
        records.append(record)
    kept = []
    for asked, record in zip(batch, records, strict=True):
        if asked.trial is not None:
            try:
                tell(search, asked.trial, record)
            except TakenOverError:
                remove_record(search.folder.records_path, record.name)
                search.listener.warning(
                    f"{record.title} was taken for lost; another worker has it"
                )
                continue
        kept.append(record)
        search.recorder.record(search.folder, record)
        search.listener.trial_ended(
            record, n_finished=n_finished(search), n_trials=search.config.search.trials
        )
    return kept


def give_up(search: Search, frozen: FrozenTrial, *, attempt: int) -> None:
    """Let a trial fail for good whose process died too often."""
    reason = f"its process died {attempt} times (search.retries: {search.config.search.retries})"
    setting = Setting.from_dict(asked_params(frozen))
    trial = running_trial(search, frozen)
    asked = Asked("trial", trial_name(frozen.number), setting, trial, attempt)
    finish(search, [asked], [Outcome("failed", reason)], started_s=time.time())


def running_trial(search: Search, frozen: FrozenTrial) -> Trial:
    """The public class of a running trial; Optuna has no public way to get one back."""
    return Trial(search.study, frozen._trial_id)


def _give_back(search: Search, batch: Sequence[Asked]) -> None:
    """Fail what an interrupt stopped, and queue its parameters; not counted as an attempt."""
    try:
        trials = search.study.get_trials(deepcopy=False)
    except StorageInternalError:
        # The interrupt hit in the middle of a query. Optuna has rolled it back just now.
        trials = search.study.get_trials(deepcopy=False)
    for asked in batch:
        # One that another worker has failed meanwhile is queued already.
        if asked.trial is not None and not trials[asked.trial.number].state.is_finished():
            queue_again(search, trials[asked.trial.number], attempt=asked.attempt)
