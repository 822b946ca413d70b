"""Follow a study that workers elsewhere search: their records, and what they train."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from tuner.home.listener import Listener
from tuner.home.records import load_record, trial_name
from tuner.home.study_folder import StudyFolder
from tuner.search.state import DONE, is_counted
from tuner.setting import HYPERPARAMETERS, Setting


class Watch:
    """Tells a listener what has happened since the last look.

    Args:
        study: Optuna's study.
        folder: The study's folder.
        n_trials: Trials in all.
        listener: Who is told.
    """

    def __init__(
        self, study: optuna.Study, folder: StudyFolder, *, n_trials: int, listener: Listener
    ) -> None:
        self._study, self._folder = study, folder
        self._n_trials, self._listener = n_trials, listener
        self._recorded = set(self._records())
        self._started: set[int] = set()

    def look(self) -> bool:
        """Tell what is new; returns whether the budget is met and nothing is trained any more."""
        trials = [*filter(is_counted, self._study.get_trials(deepcopy=False))]
        running = [t for t in trials if t.state == TrialState.RUNNING]
        n_finished = sum(t.state in DONE for t in trials)
        for trial in running:
            self._start(trial)
        new = [path for path in self._records() if path not in self._recorded]
        for path in sorted(new, key=lambda path: path.stat().st_mtime):
            self._recorded.add(path)
            self._listener.trial_ended(
                load_record(path), n_finished=n_finished, n_trials=self._n_trials
            )
        return n_finished >= self._n_trials and not running

    def _start(self, trial: FrozenTrial) -> None:
        is_asked = trial.params.keys() >= HYPERPARAMETERS.keys()  # each value is stored by itself
        if is_asked and trial.number not in self._started:
            self._started.add(trial.number)
            params = Setting.from_dict(trial.params)
            self._listener.trial_started(trial_name(trial.number), params)

    def _records(self) -> list[Path]:
        return list(self._folder.records_path.glob("*.json"))
