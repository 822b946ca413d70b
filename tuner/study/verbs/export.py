"""Which setting is exported, with which adjustment and which decision rule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tuner.decision.demands import Costs, Floors, demands_of
from tuner.decision.fit import fit_decision
from tuner.errors import UsageError
from tuner.model.export import build_export, choose_record
from tuner.model.export_file import write_export
from tuner.study.export import Export, load_export, strength_of

if TYPE_CHECKING:
    from tuner.study.study import Study


def export_study(
    study: Study,
    path: Path,
    *,
    trial: int | None = None,
    tau: str | float | None = None,
    cost: Costs | None = None,
    recall_floor: Floors | None = None,
) -> Export:
    """Write the confirmed configuration, or the best so far.

    Args:
        study: Which one.
        path: Where to write.
        trial: Another trial than the chosen one, by its number.
        tau: Logit adjustment that the model is to hold: a strength, or "tuned".
        cost: What each confusion costs.
        recall_floor: Least recall by class.

    Raises:
        UsageError: If costs, floors or tau cannot be meant, or tau and costs come together.
        StudyError: If there is no such complete record, or none meets the study's recall floor.
        ExportError: If no decision meets the floors, or something else lies at `path`.
    """
    folder = study.folder
    demands = demands_of(cost, recall_floor, folder.class_names)
    if tau is not None and demands.costs is not None:
        what = "--tau and --cost both move the decision"
        do = "leave out --tau: costs weigh the classes, and the rule fits its own shifts"
        raise UsageError(what, do=do)
    record = choose_record(folder, trial=trial)
    strength = strength_of(tau, folder, record)
    decision = None
    if not demands.is_empty:
        decision = fit_decision(folder, record, demands, tau=strength)
    write_export(build_export(folder, record, tau=strength, decision=decision), path)
    return load_export(
        path, home=study.home, listener=study.listener, tracking_uri=study.tracking_uri
    )
