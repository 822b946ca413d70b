from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from scipy.stats import qmc

from tests.small_study import small_config
from tuner.errors import StudyError
from tuner.home import Home
from tuner.search import samplers
from tuner.search.journal import open_storage
from tuner.search.samplers import make_pruner, make_sampler, unfit_pruner
from tuner.search.space import distributions

SPACE = distributions(small_config(), n_classes=5)
NAMES = ["tpe", "random", "qmc"]


def study_with(n_trials: int, *, home: Path | None = None) -> optuna.Study:
    """A study with so many finished random trials, the same for the same number."""
    storage = open_storage(Home(home)) if home else None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", storage=storage, sampler=optuna.samplers.RandomSampler(seed=0)
    )
    for _ in range(n_trials):
        trial = study.ask(fixed_distributions=SPACE)
        study.tell(trial, -abs(trial.params["gamma"] - 2))
    return study


def draw(study: optuna.Study, name: str, *, place: int, seed: int = 0) -> dict[str, Any]:
    """Parameters of the next trial by a fresh sampler."""
    study.sampler = make_sampler(name, seed=seed, place=place, space=SPACE)
    return study.ask(fixed_distributions=SPACE).params


@pytest.mark.parametrize("name", NAMES)
def test_same_history_seed_and_place_give_the_same_point(name: str, tmp_path: Path) -> None:
    """A fresh sampler repeats what another one drew, whatever store holds the history."""
    first = draw(study_with(12), name, place=12)
    assert draw(study_with(12), name, place=12) == first
    assert draw(study_with(12, home=tmp_path), name, place=12) == first


@pytest.mark.parametrize("name", NAMES)
def test_point_depends_on_place_and_seed(name: str) -> None:
    """Two places of a study, and two studies, do not draw the same points."""
    first = draw(study_with(12), name, place=12)
    assert draw(study_with(12), name, place=13) != first
    assert draw(study_with(12), name, place=12, seed=1) != first


@pytest.mark.parametrize("name", NAMES)
def test_trials_of_dead_processes_do_not_move_the_sampler(name: str) -> None:
    """Failed trials, also those that died while being asked, change no later point."""
    clean, scarred = study_with(12), study_with(12)
    for _ in range(3):
        scarred.sampler = make_sampler(name, seed=0, place=12, space=SPACE)
        trial = scarred.ask()  # dies before any parameter is asked for
        scarred.tell(trial, state=optuna.trial.TrialState.FAIL)
        trial = scarred.ask(fixed_distributions=SPACE)
        scarred.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert draw(scarred, name, place=12) == draw(clean, name, place=12)


def test_tpe_learns() -> None:
    """After its start-up trials TPE draws nearer to the best gamma than chance does."""
    study = study_with(40)
    gammas = [draw(study, "tpe", place=40 + i)["gamma"] for i in range(20)]
    assert np.mean(np.abs(np.array(gammas) - 2)) < 1.0  # chance: 1.3


def test_qmc_points_are_one_scrambled_sobol_sequence() -> None:
    """Places 0, 1, … give the points of SciPy's Sobol engine with the study seed."""
    study = study_with(0)
    drawn = [draw(study, "qmc", place=i, seed=7) for i in range(16)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy renames its seed
        points = qmc.Sobol(4, scramble=True, seed=7).random(16)
    names = list(SPACE)  # the order in which Optuna lays out the space
    gamma, alpha = names.index("gamma"), names.index("alpha")
    np.testing.assert_allclose([p["gamma"] for p in drawn], 5 * points[:, gamma])
    np.testing.assert_allclose([p["alpha"] for p in drawn], 0.05 + 0.95 * points[:, alpha])


def test_qmc_fills_the_space_evenly() -> None:
    """Of 16 Sobol points each quarter of a range holds four, and each mode comes four times."""
    study = study_with(0)
    drawn = [draw(study, "qmc", place=i) for i in range(16)]
    quarters = np.histogram([p["gamma"] for p in drawn], bins=4, range=(0, 5))[0]
    modes = [p["class_weight_mode"] for p in drawn]
    assert quarters.tolist() == [4, 4, 4, 4]
    assert {modes.count(mode) for mode in SPACE["class_weight_mode"].choices} == {4}


@pytest.mark.parametrize("name", NAMES)
def test_fixed_ranges_are_kept(name: str) -> None:
    """A range of one value, and a single choice, are drawn as they are."""
    config = small_config("search.gamma=[2, 2]", "search.class_weight_mode=[sqrt]")
    space = distributions(config, n_classes=5)
    study = optuna.create_study(direction="maximize")
    for place in range(14):
        study.sampler = make_sampler(name, seed=0, place=place, space=space)
        trial = study.ask(fixed_distributions=space)
        assert (trial.params["gamma"], trial.params["class_weight_mode"]) == (2.0, "sqrt")
        study.tell(trial, place)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_missing_package_of_gp_is_one_message_with_the_command() -> None:
    """Without torch the GP sampler is refused at once, with what to install."""
    with pytest.raises(StudyError) as caught:
        make_sampler("gp", seed=0, place=0, space=SPACE)
    assert "'gp' needs a package that is not installed: torch" in caught.value.what
    assert "pip install 'imbalance-tuner[samplers]'" in caught.value.do


def pruned_at(epoch: int, *, n_before: int, value: float = 0.0) -> bool:
    """Whether a trial with a bad report is pruned after so many good trials."""
    study = optuna.create_study(direction="maximize", pruner=make_pruner("median"))
    for _ in range(n_before):
        good = dict.fromkeys(range(50), 1.0)
        study.add_trial(optuna.trial.create_trial(value=1.0, intermediate_values=good))
    trial = study.ask()
    trial.report(value, epoch)
    return trial.should_prune()


def test_median_pruner_waits_for_warm_up_and_trials() -> None:
    """Nothing is pruned in the first 15 epochs, nor before 5 trials are complete."""
    assert not any(pruned_at(epoch, n_before=9) for epoch in range(15))
    assert pruned_at(15, n_before=9)
    assert not pruned_at(40, n_before=4)
    assert pruned_at(40, n_before=5)
    assert not pruned_at(40, n_before=9, value=1.0)


def test_no_pruner_prunes_nothing() -> None:
    """`pruner: none` lets the worst trial run to the end."""
    study = optuna.create_study(direction="maximize", pruner=make_pruner("none"))
    for _ in range(9):
        study.add_trial(
            optuna.trial.create_trial(value=1.0, intermediate_values=dict.fromkeys(range(50), 1.0))
        )
    trial = study.ask()
    trial.report(0.0, 40)
    assert not trial.should_prune()


@pytest.mark.parametrize(
    ("sampler", "pruner", "is_said"),
    [("gp", "median", True), ("gp", "none", False), ("tpe", "median", False)],
)
def test_a_pruner_that_starves_the_gaussian_process_is_named(
    sampler: str, pruner: str, is_said: bool
) -> None:
    """Optuna's GPSampler models complete trials only: said where many would be pruned."""
    assert ("search.pruner: none" in unfit_pruner(sampler, pruner)) is is_said


def test_tpe_looks_at_the_best_and_the_newest() -> None:
    """Beyond 250 trials TPE still knows the 25 best of all, and costs no more than before."""
    study = optuna.create_study(direction="maximize")
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    rng = np.random.default_rng(0)
    for number in range(700):
        x = float(rng.random())
        best = number < 25
        study.add_trial(
            optuna.trial.create_trial(
                params={"x": 0.9 + x / 100 if best else x},
                distributions=space,
                value=2.0 + x if best else x / 2,
            )
        )
    seen = samplers.bounded(study)
    numbers = [t.number for t in seen._get_trials(deepcopy=False)]
    assert numbers == [*range(25), *range(475, 700)]
    study.sampler = make_sampler("tpe", seed=0, place=700, space=space)
    assert 0.8 < study.ask(space).params["x"] <= 1
    assert len(study.trials) == 701  # the study itself has all


def test_tpe_is_optunas_up_to_so_many_trials() -> None:
    """With up to 250 trials the study is handed on as it is."""
    study = optuna.create_study(direction="maximize")
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    for x in np.linspace(0, 1, 30):
        trial = optuna.trial.create_trial(params={"x": x}, distributions=space, value=x)
        study.add_trial(trial)
    assert samplers.bounded(study) is study
