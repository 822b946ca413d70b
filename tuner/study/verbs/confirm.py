"""Is the winner really better? Images, features, retest, test: a confirmation top to bottom."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tuner.decision.demands import Costs, Demands, Floors, demands_of
from tuner.decision.fit import demands_as_plain
from tuner.ground import (
    Ground,
    find_leaking_images,
    find_weights,
    reopen_ground,
    start_device,
)
from tuner.home import Home
from tuner.home.confirmation import Confirmation, load_confirmation
from tuner.home.listener import Listener
from tuner.home.study_folder import StudyFolder
from tuner.study.verbs.report import keep_report

if TYPE_CHECKING:
    from tuner.study.study import Study


def confirm_study(
    study: Study,
    *,
    seeds: int = 5,
    top: int = 5,
    again: bool = False,
    cost: Costs | None = None,
    recall_floor: Floors | None = None,
    command: str,
) -> Confirmation:
    """Confirm a study, or give what was confirmed where nothing has changed since.

    Args:
        study: Which one.
        seeds: Fresh seeds and splits.
        top: Trials to train again.
        again: Whether a test that was opened before may be opened again.
        cost: Of each confusion, for which the chosen setting gets a decision rule.
        recall_floor: Least recall by class, for the same rule.
        command: What the user wrote, for the seal.

    Raises:
        UsageError: If costs or floors cannot be meant.
        StudyError: If there is nothing to confirm, or the test has been opened before.
    """
    folder, home, listener = study.folder, study.home, study.listener
    demands = demands_of(cost, recall_floor, folder.class_names)
    done = load_confirmation(folder)
    if done is not None and not again and _is_current(done, folder, demands, n_seeds=seeds):
        return done
    with folder.locked():
        found = _confirm(
            folder,
            home,
            listener,
            seeds=seeds,
            top=top,
            again=again,
            demands=demands,
            command=command,
            tracking_uri=study.tracking_uri,
        )
    keep_report(folder, home, study.tracking_uri, listener)
    return found


def _is_current(
    done: Confirmation, folder: StudyFolder, demands: Demands, *, n_seeds: int
) -> bool:
    """Whether the study and the question are those that were confirmed."""
    asked = demands_as_plain(demands, folder.class_names)
    told = {key: (done.decision or {}).get(key) for key in asked}
    if not demands.is_empty and asked != told:
        return False
    n_settings = sum(record.kind != "confirm" for record in folder.records())
    return (
        done.n_search_settings == n_settings
        and len(done.seeds) == n_seeds + 1
        and done.opening == len(folder.seal)
    )


def _confirm(
    folder: StudyFolder,
    home: Home,
    listener: Listener,
    *,
    seeds: int,
    top: int,
    again: bool,
    demands: Demands,
    command: str,
    tracking_uri: str | None,
) -> Confirmation:
    config = folder.config
    device = start_device(config, listener)
    from tuner.confirm.confirm import Opening, check_seal, confirm
    from tuner.confirm.retest import Confirming, candidates, fresh_folds
    from tuner.confirm.sealed import SealedImages, read_test
    from tuner.features.source import open_features
    from tuner.tracking.mirror import make_recorder

    check_seal(folder, is_again=again)
    candidates(folder.records(), top=top)  # said before minutes go into features
    _, weights = find_weights(config, listener)
    source = open_features(config, home, weights=weights, device=device)
    ground = _on_the_bank(reopen_ground(source, home, listener))
    leaking = find_leaking_images(ground, listener)
    folds = fresh_folds(folder, n_seeds=seeds)
    ground.extract(listener, other_folds=list(folds.values()))
    inputs = ground.inputs(listener, other_folds=list(folds.values()))

    def read() -> SealedImages:
        source.fill(ground.files(ground.table.test), on_progress=listener.progress)
        return read_test(folder, source.bank)

    recorder = make_recorder(home, tracking_uri, on_trouble=listener.warning)
    recorder.open_study(folder)
    is_finished = False
    try:
        with listener.training(folder, n_trials=1, unit="trainings"):
            confirming = Confirming(
                config=ground.config,
                inputs=inputs,
                folds=folds,
                folder=folder,
                recorder=recorder,
                listener=listener,
                environment=source.environment,
                demands=demands,
            )
            opening = Opening(read=read, leaking=leaking, command=command, is_again=again)
            found = confirm(confirming, top=top, opening=opening)
        is_finished = True
    finally:
        recorder.close_study(folder, is_finished=is_finished)
    return found


def _on_the_bank(ground: Ground) -> Ground:
    """The same with heads on features: a retest on images would take days."""
    training = ground.config.training.model_copy(update={"mode": "bank"})
    return replace(ground, config=ground.config.model_copy(update={"training": training}))
