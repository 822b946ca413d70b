"""Several workers on one study: real processes, a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from tests.search.workers.many_workers import BANK
from tests.small_study import Heard, Kept, Small
from tuner.errors import StudyError
from tuner.home.records import save_record
from tuner.search import database, journal
from tuner.search.state import n_finished
from tuner.search.study import open_storage
from tuner.search.workers import membership
from tuner.search.workers.heart import Heart
from tuner.search.workers.lost import settle_lost_trials
from tuner.search.workers.watch import Watch
from tuner.search.workers.worker import join_study, run_worker
from tuner.training.trial import Trainer

ROOT = Path(__file__).parents[3]
_ALONE = "TUNER_TEST_ALONE"
ASKED_BY_HAND = pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is lost after two seconds."""
    monkeypatch.setenv("TUNER_GRACE_S", "2")


@pytest.fixture(autouse=True)
def closed_stores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closes the connections of every store that a test opens."""
    opened = []

    def open_and_keep(url: str) -> Any:
        opened.append(database.open_database(url))
        return opened[-1]

    monkeypatch.setattr(journal, "open_database", open_and_keep)
    yield
    for storage in opened:
        storage.remove_session()
        storage.engine.dispose()


@pytest.fixture
def url(postgres: Callable[[], str]) -> str:
    """An empty database."""
    return postgres()


@pytest.fixture
def shared(tmp_path: Path, data_home: Path, url: str, trainer: Trainer) -> Small:
    """The small study in a fresh home and a fresh database."""
    return Small(tmp_path / "home", data_home, storage=url, trainer=trainer)


def join(search: Any, **bank: str) -> list[str]:
    """Join the search's study with this identity; returns what was said."""
    said: list[str] = []
    storage = search.study._storage._backend
    join_study(storage, search.config, search.folder, bank=BANK | bank, on_message=said.append)
    return said


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kills"), [(4, 0), (3, 6)])
def test_workers_together_train_what_was_wanted(
    workers: int, kills: int, tmp_path: Path, data_home: Path, url: str
) -> None:
    """Killed or not, exactly the budget is finished and recorded, and nothing is left running."""
    spec = {
        "place": str(tmp_path),
        "data": str(data_home),
        "url": url,
        "workers": workers,
        "overrides": ["search.trials=20", "search.retries=100"],
        "kills": kills,
        "seed": 1,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.search.workers.many_workers", json.dumps(spec)],
        cwd=ROOT,
        env=os.environ | {"TUNER_GRACE_S": "2"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["killed"] > 0 or not kills  # a signal may meet one that has ended
    assert len(found["finished"]) == 20
    assert found["recorded"] == found["finished"]
    assert found["running"] == 0
    assert not found["trained_twice"]  # workers that ask at once draw different settings
    assert found["baselines"] == 3
    assert kills or not found["retries"]  # a kill may fall between two trials


def test_a_trial_is_the_same_whoever_trains_it(shared: Small, quick: None) -> None:
    """What comes of a setting depends on the setting, not on the worker or the order."""
    search = shared.open("search.trials=3")
    join(search)
    run_worker(search, search.study._storage._backend)
    records = [r for r in search.folder.records() if r.kind == "trial"]
    assert len(records) == 3
    for record in records:
        (again,) = shared.trainer(
            [record.params],
            search.inputs,
            config=search.config,
            on_epoch=lambda i, epoch: False,
        )
        if record.state == "complete":
            assert again.matrix == record.matrix


def test_a_worker_flushes_and_leaves_the_study_open(shared: Small, quick: None) -> None:
    """Its recorder is closed with None: others may go on."""
    kept = Kept()
    search = shared.open("search.trials=1", recorder=kept)
    join(search)
    run_worker(search, search.study._storage._backend)
    assert kept.calls[0] == ("open", "small")
    assert kept.calls[-1] == ("close", None)


def lose(search: Any) -> optuna.Trial:
    """A running trial whose worker never beat."""
    return search.study.ask(fixed_distributions=dict(search.space))


@pytest.fixture
def heart(shared: Small) -> Heart:
    """Of another worker, which does not beat by itself here."""
    return Heart(open_storage(shared.home, shared.storage), every_s=1)


def wait_for_grace() -> None:
    """Longer than TUNER_GRACE_S."""
    time.sleep(3)


@ASKED_BY_HAND
def test_a_lost_trial_is_queued_once_with_its_parameters(
    shared: Small, heart: Heart, quick: None
) -> None:
    """Even without a single beat it is found after the grace, and two looks queue it once."""
    listener = Heard()
    search = shared.open("search.trials=3", listener=listener)
    lost = lose(search)
    settle_lost_trials(search, heart)
    assert search.study.trials[lost.number].state == TrialState.RUNNING  # it may yet beat
    wait_for_grace()
    settle_lost_trials(search, heart)
    settle_lost_trials(search, heart)
    assert search.study.trials[lost.number].state == TrialState.FAIL
    (queued,) = [t for t in search.study.trials if t.state == TrialState.WAITING]
    assert queued.system_attrs["fixed_params"] == lost.params
    assert queued.user_attrs == {"attempt": 2, "retry_of": lost.number}
    assert len(listener.messages) == 1
    assert "gave no sign of life" in listener.messages[0]
    join(search)
    run_worker(search, search.study._storage._backend)
    assert n_finished(search) == 3
    assert any(r.params.as_dict() == lost.params for r in search.folder.records())


@ASKED_BY_HAND
def test_a_setting_that_was_queued_twice_is_trained_once(
    shared: Small, heart: Heart, quick: None
) -> None:
    """Who queued it first was killed before it knew; the second gives way, and none is lost."""
    search = shared.open("search.trials=3")
    lost = lose(search)
    settle_lost_trials(search, heart)
    wait_for_grace()
    settle_lost_trials(search, heart)
    (queued,) = [t for t in search.study.trials if t.state == TrialState.WAITING]
    search.study.enqueue_trial(
        queued.system_attrs["fixed_params"], user_attrs=dict(queued.user_attrs)
    )
    join(search)
    run_worker(search, search.study._storage._backend)
    settle_lost_trials(search, heart)
    assert n_finished(search) == 3
    settings = [str(r.params) for r in search.folder.records() if r.kind == "trial"]
    assert len(settings) == len(set(settings)) == 3
    assert any(r.params.as_dict() == lost.params for r in search.folder.records())
    states = [t.state for t in search.study.trials]
    assert TrialState.WAITING not in states
    assert TrialState.RUNNING not in states


@ASKED_BY_HAND
def test_a_trial_lost_too_often_fails_with_its_reason(
    shared: Small, heart: Heart, quick: None
) -> None:
    """A setting that kills its worker is not tried for ever."""
    search = shared.open("search.retries=0")
    lost = lose(search)
    heart.start_grace(lost._trial_id)
    wait_for_grace()
    settle_lost_trials(search, heart)
    (record,) = search.folder.records()
    assert (record.number, record.state) == (lost.number, "failed")
    assert record.reason == "its process died 1 times (search.retries: 0)"
    settle_lost_trials(search, heart)
    assert not [t for t in search.study.trials if t.state == TrialState.WAITING]


@ASKED_BY_HAND
def test_a_recorded_trial_is_told_not_trained_again(
    shared: Small, another: Callable[[str], Small], heart: Heart, quick: None
) -> None:
    """Its worker died between record and tell."""
    search = shared.open("search.trials=1")
    join(search)
    run_worker(search, search.study._storage._backend)
    (done,) = [r for r in search.folder.records() if r.kind == "trial"]
    lost = lose(search)
    save_record(
        search.folder.records_path,
        replace(done, name=f"trial-{lost.number:05d}", number=lost.number),
        log_prob=None,
    )
    settle_lost_trials(search, heart)
    told = search.study.trials[lost.number]
    assert told.state == TrialState.COMPLETE
    assert told.value == done.value


def test_a_trial_that_others_took_over_leaves_no_record(shared: Small, quick: None) -> None:
    """A worker that slept too long finds its trial failed by others, and drops what it has."""
    listener = Heard()
    search = shared.open("search.trials=2", listener=listener)
    join(search)
    taken: list[int] = []

    def started(name: str, params: Any) -> None:
        if name.startswith("trial") and not taken:
            taken.append(int(name[-5:]))
            search.study.tell(taken[0], state=TrialState.FAIL)  # as another worker would

    listener.trial_started = started  # type: ignore[method-assign]
    run_worker(search, search.study._storage._backend)
    assert n_finished(search) == 2
    names = [r.name for r in search.folder.records()]
    assert f"trial-{taken[0]:05d}" not in names
    assert sum(name.startswith("trial") for name in names) == 2
    assert any("was taken for lost" in message for message in listener.messages)


def test_homes_that_are_not_shared_are_found(
    shared: Small, another: Callable[[str], Small], url: str
) -> None:
    """A worker with a home of its own is refused, with both homes named."""
    first = shared.open()
    join(first)
    other = another("elsewhere")
    other.storage = url
    with pytest.raises(StudyError) as caught:
        join(other.open())
    said = str(caught.value)
    assert "was begun in another home" in said
    assert str(first.folder.path) in said
    assert str(other.home.path) in said
    assert "one --home on a file system that they share" in said


def test_workers_with_other_versions_are_refused(shared: Small) -> None:
    """What differs is named, with both values."""
    search = shared.open()
    join(search, keras="3.15.1")
    join(search, keras="3.15.1")
    with pytest.raises(StudyError) as caught:
        join(search, keras="3.14.0")
    assert "keras is 3.14.0 here and 3.15.1 there" in str(caught.value)
    assert "install the same versions" in str(caught.value)


def test_a_clock_that_is_off_is_said(shared: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times will be off, results not; which way and by how much is said once."""
    search = shared.open()
    assert join(search) == []
    now = membership.clock_skew_s
    monkeypatch.setattr(membership, "clock_skew_s", lambda storage: now(storage) - 420)
    (said,) = join(search)
    assert "clock is 4" in said
    assert "behind the database's" in said


def test_a_database_that_goes_away_ends_a_worker_with_one_message(
    shared: Small, quick: None
) -> None:
    """Dropped in the middle of a study: one error, and what to do."""
    psycopg = pytest.importorskip("psycopg")
    listener = Heard()
    search = shared.open("search.trials=50", listener=listener)
    join(search)
    name = str(shared.storage).rsplit("/", 1)[1]

    def ended(record: Any, *, n_finished: int, n_trials: int) -> None:
        if n_finished == 2:
            with psycopg.connect(dbname="postgres", autocommit=True) as connection:
                connection.execute(f"alter database {name} allow_connections false")
                connection.execute(
                    f"select pg_terminate_backend(pid) from pg_stat_activity "
                    f"where datname = '{name}'"
                )

    listener.trial_ended = ended  # type: ignore[method-assign]
    with pytest.raises(StudyError) as caught:
        run_worker(search, search.study._storage._backend)
    assert "Optuna's store went away" in str(caught.value)
    assert "start the same command again" in str(caught.value)


def test_an_interrupt_in_the_middle_of_a_query_gives_the_trial_back(shared: Small) -> None:
    """A preempted worker leaves its parameters to the others at once, whatever it was at.

    In a process of its own: one that the tests share was once lost to the interrupt (SIGSEGV).
    """
    test = f"{__file__}::test_alone_an_interrupt_gives_the_trial_back"
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "faulthandler",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            test,
        ],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if "XDIST" not in k} | {_ALONE: "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.skipif(_ALONE not in os.environ, reason="run by the test before, in a process")
def test_alone_an_interrupt_gives_the_trial_back(
    shared: Small, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preempted worker leaves its parameters to the others at once, whatever it was at."""
    listener = Heard()
    search = shared.open("search.trials=3", listener=listener)
    join(search)
    storage = search.study._storage._backend

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    def while_asking(name: str, epoch: Any, value: float) -> None:
        if name.startswith("trial"):
            signal.setitimer(signal.ITIMER_REAL, 2.0)  # when the query surely runs
            storage.scoped_session().execute(sqlalchemy.text("select pg_sleep(30)"))

    listener.epoch_ended = while_asking  # type: ignore[method-assign]
    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_worker(search, storage)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # one that is left would end this process
        signal.signal(signal.SIGALRM, before)
    states = [t.state.name for t in search.study.trials if "baseline" not in t.user_attrs]
    assert states == ["FAIL", "WAITING"]


def test_a_store_that_lost_its_trials_gets_them_from_the_records(
    shared: Small, postgres: Callable[[], str], quick: None
) -> None:
    """With a fresh database the study goes on where the records end."""
    search = shared.open("search.trials=2")
    join(search)
    run_worker(search, search.study._storage._backend)
    shared.storage = postgres()
    again = shared.open("search.trials=3")
    join(again)
    run_worker(again, again.study._storage._backend)
    assert n_finished(again) == 3


def test_a_watcher_tells_what_workers_do(shared: Small, quick: None) -> None:
    """Each record once, and whether all is done."""
    search = shared.open("search.trials=2")
    join(search)
    heard = Heard()
    study = open_search_study(shared)
    watch = Watch(study, search.folder, n_trials=2, listener=heard)
    assert not watch.look()
    run_worker(search, search.study._storage._backend)
    assert watch.look()
    assert watch.look()
    assert sorted(name for name, *_ in heard.ended) == sorted(
        r.name for r in search.folder.records()
    )
    assert {n for _, n, _ in heard.ended} == {2}


def open_search_study(shared: Small) -> optuna.Study:
    """The study as another process opens it."""
    storage = open_storage(shared.home, shared.storage)
    return optuna.load_study(storage=storage, study_name="small")
