"""What may change between two starts."""

from __future__ import annotations

import pytest

from tests.config.made import MINIMAL, study
from tuner.config import incomparable_changes, parse_study


@pytest.mark.parametrize("group_by", ["{pattern: '(a)'}", "auto"])
def test_groups_by_a_pattern_are_compared(group_by):
    """A pattern is written as it stands in the file, before and after."""
    old = parse_study(f"{{name: x, data: {{source: x, group_by: {group_by}}}}}", source="x")
    new = parse_study("{name: x, data: {source: x, group_by: {pattern: '(b)'}}}", source="x")
    (said,) = incomparable_changes(old, new)
    assert said.startswith("data.group_by: ")
    assert said.endswith("-> {pattern: (b)}")


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
