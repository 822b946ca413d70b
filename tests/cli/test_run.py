"""``tuner run`` before and after the search: what it refuses early, what it tells to go on."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.commands import COMMANDS, parse
from tests.cli.made import make_baseline, make_folder, make_matrix, make_record
from tuner.cli.show.run import refuse_unfit, run_command
from tuner.cli.show.terminal import make_console
from tuner.cli.show.winner import print_winner
from tuner.errors import UsageError
from tuner.home import Home
from tuner.home.free import FreeBaseline, save_free
from tuner.home.study_folder import StudyFolder
from tuner.study import Study

PLAIN = COMMANDS["run"].make_context("run", ["x.yaml"]).params

words = st.text(min_size=1).filter(lambda text: "\0" not in text)


@given(
    study=words.filter(lambda text: not text.startswith("-")),
    trials=st.none() | st.integers(1, 10**6),
    overrides=st.lists(words, max_size=3),
    home=st.none() | words,
    storage=st.none() | words,
)
def test_the_command_that_goes_on_is_the_command_that_was_given(
    study, trials, overrides, home, storage
):
    """Typed into a shell, it gives every option the value that the first start had."""
    params = PLAIN | {
        "study": study,
        "trials": trials,
        "overrides": overrides,
        "home": home,
        "storage": storage,
    }
    program, name, *rest = shlex.split(run_command(params, trials=trials))
    assert (program, name) == ("tuner", "run")
    given_ = COMMANDS["run"].make_context(name, rest).params
    assert given_["study"] == study
    assert given_["trials"] == trials
    assert list(given_["overrides"] or []) == overrides
    assert (str(given_["home"]) if given_["home"] else None) == (str(Path(home)) if home else None)
    assert given_["storage"] == storage


def test_the_command_that_goes_on_says_once_how_many_trials():
    """An override of them has done its part."""
    params = PLAIN | {"overrides": ["search.trials=3", "seed=1"]}
    assert "search.trials" not in run_command(params, trials=6)
    assert "seed=1" in run_command(params, trials=6)
    assert "search.trials=3" in run_command(params, trials=None)


def test_the_demo_goes_on_as_demo():
    """Without its flag, a demo on random weights would be refused when it goes on."""
    again = run_command(PLAIN | {"demo": True}, trials=3)
    assert "--demo" in again
    assert parse(again) == "run"


def test_a_run_on_a_cluster_goes_on_there():
    """Address, workers and share of a card come back in the command that goes on."""
    where = {"storage": "postgresql://db/x", "ray": "h:6379", "workers": 4}
    params = PLAIN | where | {"gpus_per_worker": 0.5}
    refuse_unfit(params)
    words = shlex.split(run_command(params, trials=9))[2:]
    given_ = COMMANDS["run"].make_context("run", words).params
    kept = (given_["ray"], given_["workers"], given_["gpus_per_worker"], given_["storage"])
    assert kept == ("h:6379", 4, 0.5, "postgresql://db/x")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": 2}, "--ray is missing"),
        ({"gpus_per_worker": 1.0}, "--ray is missing"),
        ({"ray": "local"}, "needs a database"),
        ({"ray": "local", "storage": "sqlite:///x.db"}, "needs a database"),
    ],
)
def test_options_that_cannot_go_together_are_refused(options, said):
    """Before anything is read, with the option that is missing."""
    with pytest.raises(UsageError, match=said):
        refuse_unfit(PLAIN | options)


def test_the_server_is_the_option_then_the_environment_then_the_home(tmp_path, monkeypatch):
    """MLflow's own variable is respected, and beaten by the option."""
    home = Home(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert home.resolve_tracking_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert home.resolve_tracking_uri(None) == "http://environment"
    assert home.resolve_tracking_uri("http://option") == "http://option"


@pytest.mark.parametrize("command", ["run", pytest.param("check", marks=pytest.mark.slow)])
def test_a_backend_that_cannot_be_used_is_wrong_usage(tmp_path, command):
    """Keras's traceback for a backend that it does not know becomes one message."""
    (tmp_path / "x.yaml").write_text("{name: x, data: {source: digits, image_px: 32}}")
    program = "import sys; from tuner.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, command, "x.yaml"],
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": "abacus"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "the Keras backend cannot be used" in done.stderr
    assert "KERAS_BACKEND=tensorflow" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_study_that_runs_is_not_run_twice(tuner, tmp_path):
    """The second start names the process of the first, and changes nothing."""
    folder = make_folder(tmp_path / "mlruns", ["a", "b"])
    with folder.locked():
        done = tuner("run", "made")
    assert done.code == 1
    assert f"already running (process {os.getpid()})" in done.err
    assert "tuner status made" in done.err


def study_in(folder: StudyFolder) -> Study:
    """The study of a folder."""
    return Study.load(folder.name, home=folder.path.parents[1], listener=None)


STRONG, WEAK = make_matrix([8, 4], [1, 0]), make_matrix([8, 4], [4, 2])


@pytest.mark.parametrize(
    ("best", "sentence"),
    [
        (make_record(STRONG), "best of 2 settings: the winner's number is optimistic"),
        (make_record(STRONG, constraints={"recall_floor": 0.1}), "No setting meets"),
        (make_baseline(STRONG, "balanced"), "The winner is a baseline"),
    ],
    ids=["trial", "floor", "baseline"],
)
def test_the_winner_comes_with_what_to_think_of_it(tmp_path, capsys, best, sentence):
    """A number chosen among many, a broken floor and a winning baseline are each said."""
    missed = {name: 2 * miss for name, miss in best.constraints.items()}
    other = replace(make_baseline(WEAK, "cross_entropy"), constraints=missed)
    folder = make_folder(tmp_path, ["a", "b"], records=[other, best])
    print_winner(study_in(folder), make_console(is_result=True))
    out = capsys.readouterr().out
    assert sentence in out
    assert str(best.params) in out


@pytest.mark.parametrize(("value", "is_said"), [(0.99, True), (0.5, False)])
def test_a_free_baseline_that_does_as_well_is_named(tmp_path, capsys, value, is_said):
    """Free baselines stand below the table; one that reaches the winner is pointed at."""
    best, other = make_record(STRONG), make_baseline(WEAK, "cross_entropy")
    folder = make_folder(tmp_path, ["a", "b"], records=[other, best])
    scores = {"macro_recall": value}
    free = FreeBaseline("logistic_regression", "logistic regression", None, value, scores, STRONG)
    save_free(folder.path, [free])
    print_winner(study_in(folder), make_console(is_result=True))
    out = capsys.readouterr().out
    assert f"logistic regression {value:.3f}" in out
    assert ("Logistic regression needs no search and does as well" in out) is is_said
