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
from tuner.home.records import Record, remove_record, save_record, trial_name
from tuner.search.ask import asked_params, queue_again
from tuner.search.outcome import make_record
from tuner.search.state import Search, Slot, n_finished
from tuner.search.tell import TakenOverError, tell
from tuner.setting import Setting
from tuner.training.bank.compiled import is_out_of_memory
from tuner.training.trial import Evaluated, Prepared, objective_value, prepare, train_prepared


def train_batch(search: Search, slots: Sequence[Slot]) -> list[Record]:
    """Train settings together, then record, tell and hand over each in the order of slots."""
    started_s = time.time()

    def on_epoch(i: int, epoch: Epoch) -> bool:
        slot, value = slots[i], objective_value(epoch.matrix, config=search.config)
        search.listener.epoch_ended(slot.name, epoch, value)
        if slot.trial is None:
            return False
        try:
            slot.trial.report(value, epoch.epoch)
        except UpdateFinishedTrialError:  # another worker took it for lost (`finish`)
            return True
        return bool(slot.trial.should_prune())

    evaluated: list[Evaluated | None] = [None] * len(slots)
    prepared: list[Prepared] = []
    reason = None
    try:
        prepared += [prepare(slot.params, search.inputs, config=search.config) for slot in slots]
        for slot in slots:
            search.listener.trial_started(slot.name, slot.params)
        evaluated = [
            *train_prepared(prepared, search.inputs, config=search.config, on_epoch=on_epoch)
        ]
    except KeyboardInterrupt:
        _give_back(search, slots)
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = "memory ran out; lower search.batch or training.batch_size"
    return finish(search, slots, evaluated, started_s=started_s, prepared=prepared, reason=reason)


def finish(
    search: Search,
    slots: Sequence[Slot],
    evaluated: Sequence[Evaluated | None],
    *,
    started_s: float,
    prepared: Sequence[Prepared] = (),
    reason: str | None = None,
) -> list[Record]:
    """Record all slots, then tell and hand over each.

    Args:
        search: The search.
        slots: What was trained.
        evaluated: How it ended, or None with a `reason`.
        started_s: Unix time.
        prepared: Rows and weights of each slot, where they are known.
        reason: Why nothing was evaluated.

    Returns:
        The records, without those of trials that another worker has meanwhile.
    """
    records = []
    for i, slot in enumerate(slots):
        outcome, known = evaluated[i], prepared[i] if i < len(prepared) else None
        record = make_record(
            slot,
            outcome,
            known,
            config=search.config,
            environment=search.environment,
            started_s=started_s,
            reason=reason,
        )
        log_prob = (
            outcome.result.log_prob.astype("float32") if outcome and outcome.matrix else None
        )
        save_record(search.folder.records_path, record, log_prob=log_prob)
        records.append(record)
    kept = []
    for slot, record in zip(slots, records, strict=True):
        if slot.trial is not None:
            try:
                tell(search, slot.trial, record)
            except TakenOverError:
                remove_record(search.folder.records_path, record.name)
                search.listener.message(
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
    params = Setting.from_dict(asked_params(frozen))
    trial = running_trial(search, frozen)
    slot = Slot("trial", trial_name(frozen.number), params, trial, attempt)
    finish(search, [slot], [None], started_s=time.time(), reason=reason)


def running_trial(search: Search, frozen: FrozenTrial) -> Trial:
    """The public class of a running trial; Optuna has no public way to get one back."""
    return Trial(search.study, frozen._trial_id)


def _give_back(search: Search, slots: Sequence[Slot]) -> None:
    """Fail what an interrupt stopped, and queue its parameters; not counted as an attempt."""
    try:
        trials = search.study.get_trials(deepcopy=False)
    except StorageInternalError:
        # The interrupt hit in the middle of a query. Optuna has rolled it back just now.
        trials = search.study.get_trials(deepcopy=False)
    for slot in slots:
        if slot.trial is not None:
            queue_again(search, trials[slot.trial.number], attempt=slot.attempt)
