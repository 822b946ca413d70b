from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from optuna.storages.journal import JournalFileBackend

from tests.small_study import Heard, Small, quick_trainer, results_of, trials_of
from tuner.home import records
from tuner.home.records import Record
from tuner.search import batch, keep, study
from tuner.search.study import Search, n_finished, run_search

# Optuna's journal operations.
CREATE_TRIAL, SET_PARAM, SET_STATE, REPORT, SET_STUDY_ATTR = 4, 5, 6, 7, 2
RUNNING, COMPLETE, FAIL, WAITING = 0, 1, 3, 4

ROOT = Path(__file__).parents[2]


class Died(BaseException):
    """Stands for the end of the process where a test stays in its own."""


@contextmanager
def death(
    monkeypatch: pytest.MonkeyPatch, is_moment: Callable[[dict[str, Any]], bool], *, nth: int = 1
) -> Iterator[None]:
    """Die right before the n-th such line is written to the journal."""
    left = nth
    original = JournalFileBackend.append_logs

    def append(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        nonlocal left
        left -= any(is_moment(log) for log in logs)
        if left == 0:
            left = -1
            raise Died
        original(self, logs)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", append)
        yield


def start(small: Small, *overrides: str, listener: Any = None) -> Search:
    """One start of the study, to its end."""
    search = small.open(*overrides, listener=listener)
    run_search(search)
    return search


def start_and_die(
    small: Small,
    *overrides: str,
    monkeypatch: pytest.MonkeyPatch,
    moment: Callable[[dict[str, Any]], bool],
    nth: int = 1,
) -> None:
    """One start of the study that dies before a line of the journal."""
    search = small.open(*overrides)
    with death(monkeypatch, moment, nth=nth), pytest.raises(Died):
        run_search(search)


def trials_in(search: Search) -> list[Record]:
    """Records of trials alone."""
    return [record for record in search.folder.records() if record.kind == "trial"]


Outcome = tuple[list[Any], list[Any]]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, data_home: Path) -> Callable[..., Outcome]:
    """Trials and results of the undisturbed study with quick training, run once for each."""
    known: dict[tuple[str, ...], Outcome] = {}

    def outcome(*overrides: str) -> Outcome:
        if overrides not in known:
            small = Small(tmp_path_factory.mktemp("home"), data_home, trainer=quick_trainer)
            search = start(small, *overrides)
            known[overrides] = trials_of(search.study), results_of(search.folder)
        return known[overrides]

    return outcome


def assert_same(search: Search, straight: Outcome) -> None:
    """What came out of a broken study is what came out of an undisturbed one."""
    assert (trials_of(search.study), results_of(search.folder)) == straight
    assert all(t.state.is_finished() for t in search.study.trials)
    recorded = [r.number for r in trials_in(search) if r.state != "failed"]
    finished = [
        t.number
        for t in search.study.trials
        if t.state.name in ("COMPLETE", "PRUNED") and "baseline" not in t.user_attrs
    ]
    assert recorded == finished
    assert len(recorded) == n_finished(search) == search.config.search.trials


MOMENTS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "the batch is written down": lambda log: log["op_code"] == SET_STUDY_ATTR,
    "a trial is asked for": lambda log: log["op_code"] == CREATE_TRIAL and "state" not in log,
    "a parameter is stored": lambda log: log["op_code"] == SET_PARAM,
    "an epoch is reported": lambda log: log["op_code"] == REPORT,
    "a result is told": lambda log: log["op_code"] == SET_STATE and log["state"] == COMPLETE,
    "a baseline is given": lambda log: log["op_code"] == CREATE_TRIAL and log.get("state") == 1,
}
SETTLING: dict[str, Callable[[dict[str, Any]], bool]] = {
    "parameters are queued": lambda log: log.get("state") == WAITING,
    "the dead one is failed": lambda log: log["op_code"] == SET_STATE and log["state"] == FAIL,
    "a queued one is taken": lambda log: log["op_code"] == SET_STATE and log["state"] == RUNNING,
    "its parameters are stored": lambda log: log["op_code"] == SET_PARAM,
}
SETTINGS = [
    ("tpe", 1),
    ("tpe", 3),
    ("qmc", 1),
    *(
        pytest.param(*rest, marks=pytest.mark.slow)
        for rest in [("qmc", 3), ("random", 1), ("random", 3)]
    ),
]


@pytest.mark.usefixtures("quick")
class TestSameStudy:
    """Killed and resumed equals undisturbed."""

    @pytest.mark.parametrize("moment", MOMENTS)
    @pytest.mark.parametrize(("sampler", "size"), SETTINGS)
    def test_death_at_each_kind_of_moment(
        self,
        small: Small,
        straight: Callable[..., Outcome],
        monkeypatch: pytest.MonkeyPatch,
        moment: str,
        sampler: str,
        size: int,
    ) -> None:
        """Wherever it dies, once or again, the study ends with the same trials in order."""
        options = (
            f"search.sampler={sampler}",
            f"search.batch={size}",
            "search.trials=9",
            "training.epochs=2",
        )
        for nth in (2, 1):
            start_and_die(
                small, *options, monkeypatch=monkeypatch, moment=MOMENTS[moment], nth=nth
            )
        assert_same(start(small, *options), straight(*options))

    @pytest.mark.parametrize("size", [1, 3])
    def test_death_between_record_and_tell(
        self, small: Small, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        """A recorded trial is told at the next start and not trained again."""
        options = (f"search.batch={size}", "search.trials=3")
        with monkeypatch.context() as patch:
            patch.setattr(batch, "tell", _die)
            with pytest.raises(Died):
                start(small, *options)
        recorded = {r.name: r for r in small.open(*options).folder.records()}
        assert len(recorded) == 3 + size
        heard = Heard()
        search = start(small, *options, listener=heard)
        assert not set(heard.started) & set(recorded)
        for trial in search.study.trials[3 : 3 + size]:
            record = recorded[f"trial-{trial.number:05d}"]
            assert (trial.value, trial.state.name) == (record.value, "COMPLETE")
            assert list(trial.intermediate_values.values()) == record.curves["objective"]

    def test_death_in_the_middle_of_telling(
        self, small: Small, straight: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Reports and constraints that were told already are not told twice."""
        options = ("objective.recall_floor=0.9", "search.trials=2")

        def is_constraint(log: dict[str, Any]) -> bool:
            return log["op_code"] == 9

        for nth in (1, 1):
            start_and_die(small, *options, monkeypatch=monkeypatch, moment=is_constraint, nth=nth)
        assert_same(start(small, *options), straight(*options))

    def test_death_between_records_of_a_batch(
        self, small: Small, straight: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those recorded are told, the others trained again, and the batch ends as one."""
        options = ("search.batch=3", "search.trials=9")
        for nth in (4 + 2, 1):  # three baselines, one trial; then not even one
            with monkeypatch.context() as patch:
                patch.setattr(batch, "keep", _dying_save(nth))
                with pytest.raises(Died):
                    start(small, *options)
        assert_same(start(small, *options), straight(*options))

    def test_death_between_table_and_record(
        self, small: Small, straight: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A table without its JSON is no record: the trial is trained again."""
        original = records.write_whole

        def write_whole(path: Path, content: str | bytes) -> None:
            if path.name == "trial-00004.json":
                raise Died
            original(path, content)

        with monkeypatch.context() as patch:
            patch.setattr(records, "write_whole", write_whole)
            with pytest.raises(Died):
                start(small)
        search = start(small)
        assert_same(search, straight())
        assert [r.attempt for r in trials_in(search)] == [1, 2, 1, 1]

    @pytest.mark.parametrize("nth", [1, 2, 3])
    @pytest.mark.parametrize("settling", SETTLING)
    def test_death_while_settling_a_death(
        self,
        small: Small,
        straight: Callable[..., Outcome],
        monkeypatch: pytest.MonkeyPatch,
        settling: str,
        nth: int,
    ) -> None:
        """Three dead trials are queued once each, and keep their order, wherever that breaks."""
        options = ("search.batch=3", "search.trials=9", "search.retries=9")
        die = partial(start_and_die, small, *options, monkeypatch=monkeypatch)
        die(moment=MOMENTS["an epoch is reported"], nth=30)  # in the second batch
        for n in (nth, 1):
            die(moment=SETTLING[settling], nth=n)
        assert_same(start(small, *options), straight(*options))

    def test_pruned_trials_too(
        self, small: Small, straight: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Pruning depends on the told trials alone, so it is the same after a death."""
        options = ("search.trials=9", "training.epochs=18")
        for nth in (100, 70):
            start_and_die(
                small,
                *options,
                monkeypatch=monkeypatch,
                moment=MOMENTS["an epoch is reported"],
                nth=nth,
            )
        search = start(small, *options)
        assert "pruned" in {r.state for r in trials_in(search)}
        assert_same(search, straight(*options))

    def test_death_with_an_rdb(
        self,
        small: Small,
        straight: Callable[..., Outcome],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        """With SQLite as the store a dead trial is trained again just so."""
        small.storage = f"sqlite:///{tmp_path / 'optuna.db'}"
        with monkeypatch.context() as patch:
            patch.setattr(batch, "keep", _dying_save(5))
            with pytest.raises(Died):
                start(small)
        search = start(small)
        assert_same(search, straight())
        search.study._storage.remove_session()
        search.study._storage._backend.engine.dispose()


@pytest.mark.usefixtures("quick")
class TestRetries:
    """A dead trial is trained again at most `search.retries` times."""

    @pytest.mark.parametrize("retries", [0, 2])
    def test_stays_failed_after_too_many_deaths(
        self, small: Small, monkeypatch: pytest.MonkeyPatch, retries: int
    ) -> None:
        """Each retry has the same parameters; then it is failed, says so, and others follow."""
        options = (f"search.retries={retries}", "search.trials=2")
        for _ in range(retries + 1):
            start_and_die(
                small, *options, monkeypatch=monkeypatch, moment=MOMENTS["an epoch is reported"]
            )
        search = start(small, *options)
        dead, *others = trials_in(search)
        assert dead.state == "failed"
        assert dead.attempt == retries + 1
        assert dead.reason == (f"its process died {retries + 1} times (search.retries: {retries})")
        assert (dead.value, dead.matrix) == (None, [])
        assert [r.state for r in others] == ["complete", "complete"]
        attempts = [t for t in search.study.trials if t.params == dead.params.as_dict()]
        assert len(attempts) == retries + 1
        assert {t.state.name for t in attempts} == {"FAIL"}
        assert dead.params not in {r.params for r in others}
        again = Heard()
        start(small, *options, listener=again)
        assert again.started == []

    def test_too_many_deaths_do_not_count_as_failures_in_a_row(
        self, small: Small, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Three such trials of one batch are settled, and the study goes on."""
        options = ("search.retries=0", "search.batch=3", "search.trials=3")
        start_and_die(
            small, *options, monkeypatch=monkeypatch, moment=MOMENTS["an epoch is reported"]
        )
        search = start(small, *options)
        assert [r.state for r in trials_in(search)] == ["failed"] * 3 + ["complete"] * 3

    def test_death_while_giving_up(self, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
        """A trial that is given up is given up once, also when that is interrupted."""
        options = ("search.retries=0", "search.trials=1")
        start_and_die(
            small, *options, monkeypatch=monkeypatch, moment=MOMENTS["an epoch is reported"]
        )
        with monkeypatch.context() as patch:
            patch.setattr(batch, "tell", _die)
            with pytest.raises(Died):
                start(small, *options)
        search = start(small, *options)
        assert [r.state for r in trials_in(search)] == ["failed", "complete"]
        assert [t.user_attrs.get("failed") for t in search.study.trials][3:] == [
            "its process died 1 times (search.retries: 0)",
            None,
        ]

    def test_baselines_die_as_often_as_they_like(
        self, small: Small, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A baseline has no limit: without it the study would answer nothing."""
        for _ in range(3):
            with monkeypatch.context() as patch:
                patch.setattr(batch, "keep", _dying_save(1))
                with pytest.raises(Died):
                    start(small, "search.retries=0")
        assert [r.attempt for r in start(small, "search.retries=0").folder.records()] == [1] * 7

    def test_given_to_the_sampler_once(
        self, small: Small, straight: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A baseline recorded but not yet given is given at the next start, in its place."""
        for nth in (1, 2):
            with monkeypatch.context() as patch:
                patch.setattr(study, "teach_baseline", _die_at(study.teach_baseline, nth=nth))
                with pytest.raises(Died):
                    start(small)
        search = start(small)
        told = [t.user_attrs.get("baseline") for t in search.study.trials][:3]
        assert told == [r.name for r in search.folder.records()][:3]
        assert_same(search, straight())


def killed(
    place: Path, data: Path, *overrides: str, plans: list[Any], is_quick: bool
) -> list[Any]:
    """Outcome of each plan of `killed.py`."""
    spec = {"place": str(place), "data": str(data), "overrides": overrides, "plans": plans}
    done = subprocess.run(
        [sys.executable, "-m", "tests.search.killed", json.dumps({**spec, "quick": is_quick})],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_equal_outcomes(outcomes: list[Any]) -> None:
    """Every plan gave what the first, undisturbed one gave."""
    straight, *others = outcomes
    assert straight["killed"] == 0
    for other in others:
        assert other["killed"] > 0
        assert other["trials"] == straight["trials"]
        assert other["results"] == straight["results"]
        assert other["finished"] == other["recorded"]
        assert other["unsettled"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "size"), [("tpe", 1), ("tpe", 3), ("qmc", 3), ("random", 1)])
def test_sigkill_at_any_write(
    tmp_path: Path, data_home: Path, straight: Callable[..., Outcome], sampler: str, size: int
) -> None:
    """Killed right before and after durable writes all over a study, and again and again."""
    options = [f"search.sampler={sampler}", f"search.batch={size}", "search.trials=9"]
    longest = 60 * size
    once = [[n] for n in range(1, 230, 17)]  # every 17th border of a write
    often = [{"seed": seed, "most": longest} for seed in range(4)]
    twice = [[150, n] for n in range(1, 40, 7)]  # in the middle, and while settling that
    outcomes = killed(
        tmp_path,
        data_home,
        *options,
        "search.retries=100",
        plans=[[], *once, *often, *twice],
        is_quick=True,
    )
    assert_equal_outcomes(outcomes)
    assert len(outcomes[0]["recorded"]) == 9
    # Nor does it matter which process it was: this one hashes its strings otherwise.
    trials, _ = straight(*options)
    assert outcomes[0]["trials"] == json.loads(json.dumps(trials))


@pytest.mark.slow
def test_sigkill_with_real_training(tmp_path: Path, data_home: Path) -> None:
    """Killed while real heads train, in a baseline and in two trials: the same to the bit."""
    options = ["search.trials=4", "search.batch=2", "objective.recall_floor=0.5"]
    plans = [[], [2, 45, 30]]
    outcomes = killed(tmp_path, data_home, *options, plans=plans, is_quick=False)
    assert_equal_outcomes(outcomes)
    assert max(outcomes[1]["attempts"]) > 1


def _die(*_: Any, **__: Any) -> None:
    raise Died


def _die_at(function: Callable[..., Any], *, nth: int) -> Callable[..., Any]:
    left = [nth]

    def called(*args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise Died
        return function(*args, **options)

    return called


def _dying_save(nth: int) -> Callable[..., Any]:
    return _die_at(keep.keep, nth=nth)
