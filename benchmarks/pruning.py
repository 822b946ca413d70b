"""What median pruning costs and saves, replayed on a study that was trained without it.

    tuner run studies/digits.yaml --set name=digits_unpruned --set search.pruner=none \
        --set search.sampler=random --trials 20
    python benchmarks/pruning.py mlruns/studies/digits_unpruned

Random orders of the recorded trials are replayed with each warm-up under budgets that are shares
of all epochs trained; prints the mean of the best final objective found, one JSON line each.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _common import emit

from tuner.home.study_folder import StudyFolder

WARM_UPS = (5, 10, 15, 20, None)  # None: no pruning
BUDGETS = (0.2, 0.3, 0.4, 0.5)
ORDERS = 400
STARTUP_TRIALS = 5


class Curve(NamedTuple):
    """Objective after each epoch, kept to the end; epochs really trained; final value."""

    values: np.ndarray
    n_epochs: int
    final: float


def read_curves(folder: StudyFolder, kind: str) -> list[Curve]:
    epochs = folder.config.training.epochs
    curves = []
    for record in folder.records():
        if record.kind == kind and record.state == "complete":
            seen = record.curves["objective"]
            values = np.array(seen + [record.value] * (epochs - len(seen)))
            curves.append(Curve(values, len(seen), record.value or 0.0))
    return curves


def replay(
    trials: list[Curve], baselines: list[Curve], warm_up: int | None, budget: float
) -> tuple[float, int]:
    """Best final value found within a budget of epochs, and how many trials were started."""
    completed = [curve.values for curve in baselines]
    best, spent, started = max(curve.final for curve in baselines), 0, 0
    for curve in trials:
        stop = prune_epoch(curve, completed, warm_up)
        spent += curve.n_epochs if stop is None else stop
        if spent > budget:
            break
        started += 1
        if stop is None:
            completed.append(curve.values)
            best = max(best, curve.final)
    return best, started


def prune_epoch(curve: Curve, completed: list[np.ndarray], warm_up: int | None) -> int | None:
    """Epochs trained when Optuna's median pruner stops it, or None."""
    if warm_up is None or len(completed) < STARTUP_TRIALS:
        return None
    for epoch in range(warm_up, curve.n_epochs):
        if curve.values[: epoch + 1].max() < np.median([values[epoch] for values in completed]):
            return epoch + 1
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a study trained with pruner: none")
    folder = StudyFolder(parser.parse_args().study)
    trials, baselines = read_curves(folder, "trial"), read_curves(folder, "baseline")
    total = sum(curve.n_epochs for curve in trials)
    for share in BUDGETS:
        for warm_up in WARM_UPS:
            rng = np.random.default_rng(0)
            runs = [
                replay(
                    [trials[i] for i in rng.permutation(len(trials))],
                    baselines,
                    warm_up,
                    share * total,
                )
                for _ in range(ORDERS)
            ]
            emit(
                "pruning",
                study=folder.name,
                budget=share,
                warm_up=warm_up,
                best=round(float(np.mean([best for best, _ in runs])), 4),
                trials=round(float(np.mean([n for _, n in runs])), 1),
            )


if __name__ == "__main__":
    main()
