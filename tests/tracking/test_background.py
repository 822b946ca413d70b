"""Recording beside the search: never waits, never raises, loses nothing."""

import os
import resource
import sys
import threading
import time

import pytest

from tuner.home.recorder import NoRecorder
from tuner.tracking.background import BackgroundRecorder
from tuner.tracking.mlflow_recorder import sync_study

AT_ONCE_S = 5.0  # a call that does not wait, on a machine that is busy with other tests
NOBODY = "http://127.0.0.1:9"


class Diary(NoRecorder):
    """Notes what it is told; fails or waits as its test wants."""

    def __init__(self, fails=lambda what: False, gate=None):
        self.notes, self.attempts, self._fails, self._gate = [], [], fails, gate

    def _note(self, what):
        self.attempts.append(what)
        if self._gate is not None:
            self._gate.wait(20)
        if self._fails(what):
            raise ConnectionError("refused")
        self.notes.append(what)

    def open_study(self, folder):
        self._note("open")

    def record(self, folder, record):
        self._note(record.name)

    def close_study(self, folder, *, is_finished):
        self._note("finished" if is_finished else "interrupted")


def background(inner, troubles, **settings):
    """A recorder that does not wait long between tries."""
    return BackgroundRecorder(
        inner, on_trouble=troubles.append, **{"retry_s": (0.01, 0.05), "flush_s": 20} | settings
    )


def until(condition, seconds=10):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "too slow"
        time.sleep(0.005)


def test_everything_is_handed_over_in_order_and_kept_at_the_end(study, troubles):
    """Open, records and close reach the inner recorder once each, from one other thread."""
    inner = Diary()
    recorder = background(inner, troubles)
    recorder.open_study(study.folder)
    for number in range(3):
        recorder.record(study.folder, study.add(number=number))
    recorder.close_study(study.folder, is_finished=True)
    assert inner.notes == ["open", "trial-00000", "trial-00001", "trial-00002", "finished"]
    assert troubles == []


def test_the_search_never_waits_for_a_slow_recorder(study, troubles):
    """Handing over takes no time while the inner recorder is stuck."""
    gate = threading.Event()
    recorder = background(Diary(gate=gate), troubles)
    record = study.add()
    begun = time.monotonic()
    recorder.open_study(study.folder)
    recorder.record(study.folder, record)
    assert time.monotonic() - begun < AT_ONCE_S
    gate.set()
    recorder.close_study(study.folder, is_finished=True)


def test_the_end_of_a_study_waits_for_a_bounded_time(study, troubles):
    """A server that never answers costs `flush_s`; then it is said what is missing."""
    gate = threading.Event()
    inner = Diary(gate=gate)
    recorder = background(inner, troubles, flush_s=0.2)
    recorder.open_study(study.folder)
    for number in range(2):
        recorder.record(study.folder, study.add(number=number))
    begun = time.monotonic()
    recorder.close_study(study.folder, is_finished=True)
    assert 0.2 <= time.monotonic() - begun < 0.2 + AT_ONCE_S
    (trouble,) = troubles
    assert "lacks 2 records" in trouble
    assert "tuner sync digits" in trouble
    gate.set()
    until(lambda: inner.notes == ["open"])  # and nothing of what was given up follows


def test_the_end_of_a_study_waits_for_a_slow_server_that_goes_on(study, troubles):
    """Tasks that take less than `flush_s` each are all done, however long they take together."""

    class Slow(Diary):
        def _note(self, what):
            time.sleep(0.6)
            super()._note(what)

    inner = Slow()
    recorder = background(inner, troubles, flush_s=2)
    recorder.open_study(study.folder)
    for number in range(3):
        recorder.record(study.folder, study.add(number=number))
    recorder.close_study(study.folder, is_finished=True)
    assert inner.notes == ["open", "trial-00000", "trial-00001", "trial-00002", "finished"]
    assert troubles == []


def test_an_outage_is_said_once_and_made_good_by_itself(study, troubles):
    """While it fails only the tries go on; once it works, every record is kept."""
    is_down = threading.Event()
    is_down.set()
    inner = Diary(fails=lambda what: is_down.is_set())
    recorder = background(inner, troubles)
    recorder.open_study(study.folder)
    for number in range(3):
        recorder.record(study.folder, study.add(number=number))
    until(lambda: len(inner.attempts) > 8)
    (trouble,) = troubles
    assert trouble.startswith("MLflow cannot be reached: refused; ")
    assert trouble.endswith("they are kept in the home: tuner sync digits")
    is_down.clear()
    until(lambda: len(inner.notes) == 4)
    recorder.close_study(study.folder, is_finished=False)
    assert sorted(inner.notes[:4]) == ["open", "trial-00000", "trial-00001", "trial-00002"]
    assert inner.notes[4:] == ["interrupted"]
    assert len(troubles) == 1


def test_a_try_that_began_before_the_close_is_not_the_last(study, troubles):
    """The server of before may have failed; the one that answers at the close gets everything."""
    gate, is_broken = threading.Event(), threading.Event()
    is_broken.set()

    class Recovering(Diary):
        def _note(self, what):
            was_broken = is_broken.is_set()
            self.attempts.append(what)
            if was_broken and len(self.attempts) > 3:
                gate.wait(20)
            if was_broken:
                raise ConnectionError("refused")
            self.notes.append(what)

    inner = Recovering()
    recorder = background(inner, troubles)
    recorder.open_study(study.folder)
    recorder.record(study.folder, study.add())
    until(lambda: len(inner.attempts) > 3)
    is_broken.clear()
    closing = threading.Thread(
        target=recorder.close_study, args=(study.folder,), kwargs={"is_finished": True}
    )
    closing.start()
    until(lambda: recorder._is_closing)
    gate.set()
    closing.join(20)
    assert sorted(inner.notes) == ["finished", "open", "trial-00000"]
    assert len(troubles) == 1


def test_a_second_outage_is_said_again(study, troubles):
    """Once all was caught up, a new outage is news."""
    is_down = threading.Event()
    inner = Diary(fails=lambda what: is_down.is_set())
    recorder = background(inner, troubles)
    for number in range(2):
        is_down.set()
        recorder.record(study.folder, study.add(number=number))
        until(lambda n=number: len(troubles) == n + 1)
        is_down.clear()
        until(lambda n=number: len(inner.notes) == n + 1)
    recorder.close_study(study.folder, is_finished=True)
    assert len(troubles) == 2


def test_a_record_that_always_fails_keeps_no_other_out(study, troubles):
    """It goes to the end of the line, is given up after some tries, and is named at the end."""
    inner = Diary(fails=lambda what: what == "trial-00000")
    recorder = background(inner, troubles)
    recorder.open_study(study.folder)
    for number in range(9):
        recorder.record(study.folder, study.add(number=number))
    recorder.close_study(study.folder, is_finished=True)
    assert inner.notes == ["open", *(f"trial-{k:05d}" for k in range(1, 9)), "finished"]
    assert "cannot be reached: refused" in troubles[0]
    assert "lacks 1 record of study" in troubles[-1]
    assert len(troubles) == 2


def test_a_lone_record_that_fails_does_not_leave_the_study_running(study, troubles):
    """Many failures of one record are no reason to think that the end would fail, too."""
    inner = Diary(fails=lambda what: what == "trial-00000")
    recorder = background(inner, troubles)
    recorder.record(study.folder, study.add())
    until(lambda: len(inner.attempts) > 4)
    recorder.close_study(study.folder, is_finished=True)
    assert inner.notes == ["finished"]


def test_a_damaged_record_is_said_and_not_tried_again(study, troubles):
    """Trying again cannot mend a file."""
    inner = Diary()
    recorder = background(inner, troubles)
    record = study.add()
    (study.folder.records_path / f"{record.name}.json").write_text("{")
    recorder.record(study.folder, record)
    recorder.close_study(study.folder, is_finished=True)
    assert inner.notes == ["finished"]
    (trouble,) = troubles
    assert "trial-00000.json" in trouble


def test_only_names_are_kept_waiting(study, troubles):
    """A record handed over twice while MLflow is down waits once and is read from disk later."""
    is_down = threading.Event()
    is_down.set()
    inner = Diary(fails=lambda what: is_down.is_set())
    recorder = background(inner, troubles)
    record = study.add()
    for _ in range(1000):
        recorder.record(study.folder, record)
    assert len(recorder._tasks) == 1
    assert all(not hasattr(field, "matrix") for task in recorder._tasks for field in task)
    is_down.clear()
    recorder.close_study(study.folder, is_finished=True)
    assert inner.notes == [record.name, "finished"]


def test_a_server_nobody_started_costs_nothing_and_sync_brings_all(
    study, make_recorder, kept, troubles
):
    """A real MLflow client at a dead address: no wait, one word, and later every run."""
    recorder = background(make_recorder(NOBODY), troubles, retry_s=(30, 30), flush_s=30)
    records = [study.add(number=number) for number in range(3)]
    begun = time.monotonic()
    recorder.open_study(study.folder)
    for record in records:
        recorder.record(study.folder, record)
    assert time.monotonic() - begun < AT_ONCE_S
    until(lambda: troubles, seconds=20)
    begun = time.monotonic()
    recorder.close_study(study.folder, is_finished=True)
    assert time.monotonic() - begun < 15  # known to be down: no use in waiting for all of flush_s
    assert len(troubles) == 2
    assert troubles[0].startswith("MLflow cannot be reached: ")
    assert "lacks 3 records of study 'digits'" in troubles[1]
    assert sync_study(study.folder, make_recorder()) == 3
    assert list(kept().children) == [record.name for record in records]


def test_a_whole_study_reaches_mlflow_from_the_thread(study, make_recorder, kept, troubles):
    """The same runs as without a thread, and the parent is finished."""
    recorder = background(make_recorder(), troubles)
    recorder.open_study(study.folder)
    for number in range(2):
        recorder.record(study.folder, study.add(number=number))
    recorder.close_study(study.folder, is_finished=True)
    assert troubles == []
    assert list(kept().children) == ["trial-00000", "trial-00001"]
    assert kept().parent.info.status == "FINISHED"


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_recorder_goes_on_after_a_close(is_finished, study, troubles):
    """The next study in the same process is recorded like the first."""
    inner = Diary()
    recorder = background(inner, troubles)
    for _ in range(2):
        recorder.open_study(study.folder)
        recorder.record(study.folder, study.add())
        recorder.close_study(study.folder, is_finished=is_finished)
    end = "finished" if is_finished else "interrupted"
    assert inner.notes == ["open", "trial-00000", end] * 2


def test_a_full_disk_at_home_is_an_outage(study, make_recorder, kept, troubles):
    """Neither MLflow's database nor its artifacts can grow; with space again the run is whole."""
    recorder = background(make_recorder(), troubles)
    recorder.open_study(study.folder)
    until(lambda: not recorder._tasks, seconds=60)
    record = study.add()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        recorder.record(study.folder, record)
        until(lambda: troubles, seconds=60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    recorder.close_study(study.folder, is_finished=True)
    (trouble,) = troubles
    assert "MLflow cannot be reached" in trouble
    run = kept().children[record.name]
    assert (run.info.status, kept().parent.info.status) == ("FINISHED", "FINISHED")
    assert len(kept().artifacts(run, "images")) == 2
    assert sync_study(study.folder, make_recorder()) == 0


def test_a_recorder_outlives_a_close_that_does_not_wait(study, troubles):
    """What was taken off its list while it held back is no reason to end."""
    inner = Diary()
    recorder = background(inner, troubles, flush_s=0)
    recorder.open_study(study.folder)
    recorder.close_study(study.folder, is_finished=True)
    recorder.open_study(study.folder)
    until(lambda: "open" in inner.notes)


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has no niceness of its own here")
def test_recording_gives_way_to_training_and_to_nothing_else(study, troubles):
    """Where cores are short, training goes first; at the end somebody waits for recording."""
    nice = {}

    def own():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    class Asked(Diary):
        def open_study(self, folder):
            nice.setdefault("at the start", []).append(own())
            super().open_study(folder)

        def record(self, folder, record):
            nice.setdefault("beside training", []).append(own())
            super().record(folder, record)

        def close_study(self, folder, *, is_finished):
            nice.setdefault("at the end", []).append(own())
            super().close_study(folder, is_finished=is_finished)

    before, record = own(), study.add(number=0)
    inner = Asked()
    recorder = background(inner, troubles)
    for _ in range(2):
        inner.notes.clear()
        recorder.open_study(study.folder)
        recorder.record(study.folder, record)
        until(lambda: inner.notes == ["open", record.name])
        recorder.close_study(study.folder, is_finished=True)
        assert inner.notes == ["open", record.name, "finished"]
    assert nice["at the start"] == nice["at the end"] == [before, before]
    assert nice["beside training"] == [15, 15]
    assert own() == before
