"""Who hears what: nobody, a log, lines, a bar in a notebook, or whoever wants to."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.cli.made import make_baseline, make_record
from tests.study.conftest import Heard, Ran
from tuner.home.listener import Listener, LogListener, Progress
from tuner.study import Study
from tuner.study.listeners import LineListener, line_of
from tuner.study.places import listener_of


def test_an_own_listener_hears_everything_in_order(ran: Ran) -> None:
    """Facts, extraction (groups are found by it), the opened study, then each setting."""
    names = ran.heard.names()
    first = {name: names.index(name) for name in names}
    order = ["fact", "progress", "opened", "training", "trial_started", "epoch_ended"]
    order += ["trial_ended", "trained"]
    assert [name for name in first if name in order] == order
    started = [name for (name,) in ran.heard.all("trial_started")]
    ended = [name for name, *_ in ran.heard.all("trial_ended")]
    assert sorted(started) == sorted(ended) == sorted(r.name for r in ran.study.folder.records())
    for name in started:
        at = [i for i, event in enumerate(ran.heard.events) if event[1:2] == (name,)]
        told = [ran.heard.events[i][0] for i in at]
        assert told[0] == "trial_started"
        assert told[-1] == "trial_ended"
        assert set(told[1:-1]) == {"epoch_ended"}
        epochs = [ran.heard.events[i][2] for i in at[1:-1]]
        assert epochs == list(range(len(epochs)))
    assert ran.heard.all("trial_ended")[-1][1:] == (2, 2)
    assert ran.heard.all("opened") == [("some", "")]
    assert ran.heard.all("training") == [(2, "trials", 0)]
    done, total = ran.heard.all("progress")[-1]
    assert done == total > 0


def test_the_facts_are_those_of_the_study(ran: Ran) -> None:
    """Each is named once, but for features: of the images, by which groups are found, then all."""
    labels = [label for label, _ in ran.heard.all("fact")]
    assert labels[:4] == ["study", "device", "backbone", "engine"]
    assert {"features", "images"} <= set(labels)
    assert (labels.count("features"), labels.count("images")) == (2, 1)
    facts = dict(ran.heard.all("fact"))
    assert facts["study"] == "some"
    assert facts["images"].startswith("54 in 3 classes")


def test_warnings_reach_the_listener(ran: Ran) -> None:
    """A class of few images is a warning, the same that `check` notes."""
    told = [text for text, _ in ran.heard.all("warning")]
    assert told == ran.study.check().notes
    assert any("digit_8" in text for text in told)


def test_nobody_listens_to_none(copied: Study, capfd: pytest.CaptureFixture[str]) -> None:
    """With `listener=None` nothing is printed, whatever happens."""
    capfd.readouterr()
    copied.run(trials=3)
    copied.report(copied.home.path / "page.html")
    copied.check()
    assert capfd.readouterr() == ("", "")
    assert len(copied.trials) == 3


def test_lines_are_what_happened(copied: Study, capsys: pytest.CaptureFixture[str]) -> None:
    """Facts, warnings and a line a trial go to standard error, epochs and statuses do not."""
    again = Study.load("some", home=copied.home.path, listener=LineListener())
    again.run(trials=3)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "study    some"
    assert "trials   2 finished before this start" in lines
    assert [line for line in lines if line.startswith("#")] == [line_of(again.trials[-1].record)]
    told = [line[2:] for line in lines if line.startswith("! ")]
    assert [text for text in told if "its home is another" not in text] == again.check().notes


def test_progress_is_a_line_a_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand batches are eleven lines, the first and the last among them."""
    lines = LineListener()
    for done in range(1001):
        lines.progress(Progress(done=done, total=1000, seconds=done / 100))
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 11
    assert shown[-1] == "features 1,000/1,000 rows  100 rows/s"


def test_a_line_says_what_a_trial_came_to() -> None:
    """Title, setting and macro recall; of a failed one the reason, of a pruned one that it was."""
    trial, baseline = make_record(), make_baseline([[8, 2], [1, 3]])
    assert line_of(trial) == f"#3 {trial.params}: macro recall 0.775"
    assert line_of(baseline) == f"{baseline.title}: macro recall 0.775"
    assert line_of(replace(trial, state="pruned")).endswith("macro recall 0.775, pruned")
    failed = make_record([], state="failed", value=None, reason="loss is nan at step 12")
    assert line_of(failed) == f"#3 {failed.params}: failed, loss is nan at step 12"


def test_a_log_keeps_what_the_user_should_know(caplog: pytest.LogCaptureFixture) -> None:
    """A worker without a screen logs warnings and nothing else."""
    log = LogListener()
    with caplog.at_level(logging.INFO, logger="tuner"):
        log.fact("device", "CPU")
        log.warning("MLflow is down")
    assert [record.getMessage() for record in caplog.records] == ["MLflow is down"]


def test_who_listens_when_nobody_was_named() -> None:
    """Lines outside of a notebook, nobody for None, and a given listener as it is."""
    own = Heard()
    assert listener_of(own) is own
    assert type(listener_of(None)) is Listener
    assert type(listener_of("auto")) is LineListener


NOTEBOOK = """
import sys
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
shell = InteractiveShell.instance()
shown = []
class Publisher(type(shell.display_pub)):
    def publish(self, data, metadata=None, *, transient=None, update=False, **_):
        shown.append((update, transient or {}, data))
shell.display_pub = Publisher(parent=shell)
from pathlib import Path
from tests.cli.made import make_baseline, make_folder, make_record
from tuner.home.listener import Progress
from tuner.study.listeners import LineListener, NotebookListener, listener_for_this_place
assert type(listener_for_this_place()) is LineListener  # a shell in a terminal draws no bar
shell.config["IPKernelApp"] = Config()
heard = listener_for_this_place()
assert type(heard) is NotebookListener
folder = make_folder(Path(sys.argv[1]), ["a", "b"])
heard.warning("<b>copies</b> & more")
heard.progress(Progress(5, 10, 1.0))
with heard.training(folder, n_trials=2):
    heard.trial_ended(make_baseline([[5, 5], [2, 2]]), n_finished=0, n_trials=2)
    heard.trial_ended(make_record([[9, 1], [0, 4]]), n_finished=1, n_trials=2)
    heard.trial_ended(make_record([[0, 9], [4, 0]], number=4), n_finished=2, n_trials=2)
heard.note("waiting")
updates = [update for update, _, _ in shown]
assert updates[0] is False and not updates.index(False), updates
assert updates.count(False) == 2, updates  # what follows a training is another output
ids = [transient["display_id"] for _, transient, _ in shown]
assert len(set(ids)) == 2, ids
pages = [data["text/html"] for _, _, data in shown]
assert "&lt;b&gt;copies&lt;/b&gt; &amp; more" in pages[0]
assert "<b>copies" not in "".join(pages)
last = pages[updates.index(False, 1) - 1]
assert "2 of 2" in last and "100" in last, last
assert "best so far: #3" in last.lower(), last
print("ok")
"""


def test_a_notebook_shows_one_output_that_moves(tmp_path) -> None:
    """A bar that is drawn again in its place, the best so far, and news with their marks escaped.

    In a real shell of IPython with a publisher that remembers.
    """
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, str(tmp_path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
