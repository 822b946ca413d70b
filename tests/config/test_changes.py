"""What may change between two starts."""

from __future__ import annotations

from tests.config.made import MINIMAL, study
from tuner.config import incomparable_changes, parse_study


def test_changes_that_mix_trials_are_named() -> None:
    """Every key but those of budget, sampling and place of the data must stay as it was."""
    new = parse_study(
        MINIMAL,
        source="x.yaml",
        overrides=[
            "search={trials: 9, retries: 0, sampler: gp, pruner: none, batch: 4}",
            "data={source: elsewhere, root: there}",
        ],
    )
    assert incomparable_changes(study(), new) == []
    changed = parse_study(
        MINIMAL,
        source="x.yaml",
        overrides=[
            "seed=1",
            "search.gamma=[0, 3]",
            "data.group_by=smear",
            "augmentation.flip=false",
        ],
    )
    assert incomparable_changes(study(), changed) == [
        "seed: 0 -> 1",
        "data.group_by: auto -> smear",
        "search.gamma: [0.0, 5.0] -> [0.0, 3.0]",
        "augmentation.flip: true -> false",
    ]
