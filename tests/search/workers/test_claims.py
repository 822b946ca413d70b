"""Claims on the budget of a study, and what they leave behind."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.search.workers.claims import is_surplus, n_claimed, suggest

SPACE = {
    "gamma": FloatDistribution(0, 5),
    "augmentation_multiplier": IntDistribution(0, 8),
    "class_weight_mode": CategoricalDistribution(["none", "sqrt"]),
}
LETTERS = {
    "C": TrialState.COMPLETE,
    "P": TrialState.PRUNED,
    "R": TrialState.RUNNING,
    "F": TrialState.FAIL,
    "W": TrialState.WAITING,
}


def trials(states: str, *, baselines: str = "", retries: str = "") -> list[FrozenTrial]:
    """Trials by their states; numbers of baselines and of trials that are trained again."""
    made = []
    for number, letter in enumerate(states):
        attrs: dict[str, object] = {}
        if str(number) in baselines:
            attrs["baseline"] = "x"
        if str(number) in retries:
            attrs["retry_of"] = 0
        trial = create_trial(
            state=LETTERS[letter], value=0.5 if letter == "C" else None, user_attrs=attrs
        )
        trial.number = number
        made.append(trial)
    return made


def test_claims_are_the_finished_and_the_running() -> None:
    """Baselines, failed and queued trials claim nothing."""
    assert n_claimed(trials("CPRFWC", baselines="5")) == 3


@pytest.mark.parametrize(
    ("states", "number", "retries", "budget", "expected"),
    [
        ("CCR", 2, "", 3, False),
        ("CCRR", 3, "", 3, True),  # the one before has the last place
        ("CCRR", 2, "", 3, False),  # and keeps it
        ("CRCC", 1, "", 3, True),  # others have finished meanwhile
        ("CFRR", 3, "", 3, False),  # a failed one gives its place back
        ("CWR", 2, "", 2, False),
        ("CRRR", 1, "1", 3, True),  # numbered early and taken late: it gives way to all
        ("CRRR", 3, "1", 3, True),  # and all to it
        ("CRR", 1, "1", 3, False),
    ],
)
def test_surplus(states: str, number: int, retries: str, budget: int, expected: bool) -> None:
    """Whoever asks when all places are claimed lets go, and never too many keep theirs."""
    assert is_surplus(trials(states, retries=retries), number, budget=budget) == expected


def test_whatever_the_order_no_more_keep_a_claim_than_the_budget_has() -> None:
    """Of all that run at once, those that are no surplus fit into the budget."""
    for states in ("RRRRR", "CRRRR", "CPFRRR", "RCRCR"):
        for retries in ("", "0", "2", "13"):
            for budget in range(1, 6):
                all_ = trials(states, retries=retries)
                kept = [
                    t
                    for t in all_
                    if t.state == TrialState.RUNNING
                    and not is_surplus(all_, t.number, budget=budget)
                ]
                finished = sum(t.state.is_finished() and t.state != TrialState.FAIL for t in all_)
                assert len(kept) <= max(budget - finished, 0)


def test_suggest_fills_the_space() -> None:
    """One value of each parameter, inside its range, stored with the trial."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    values = suggest(trial, SPACE)
    assert values == trial.params
    assert values.keys() == SPACE.keys()
    assert trial.distributions == SPACE
