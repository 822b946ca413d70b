"""Studies in a real Jupyter kernel: what its cells show, and what an interrupt leaves."""

from __future__ import annotations

import time
from pathlib import Path
from queue import Empty

import pytest

pytest.importorskip("nbclient")

from jupyter_client import KernelManager

from docs.make_tour import read, run
from tests.tiny_backbone import tiny_backbone
from tuner.study import Study

ROOT = Path(__file__).parents[2]
PARAMETERS = """
here = Path({here!r})
trials, seeds = 2, 2
overrides = ["backbone.model={backbone}", "training.epochs=3", "training.hidden_units=16"]
"""
CELL = """
import tuner

study = tuner.Study.of_folder("digits", image_px=32, home={home!r}, overrides={overrides!r})
study.run(trials=4)
"""
OVERRIDES = [f"backbone.model={tiny_backbone()}", "split.folds=2", "training.patience=40"]
WAIT_S = 300


@pytest.fixture(autouse=True)
def this_checkout(monkeypatch):
    """Kernels import the package under test."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.slow
def test_the_tour_runs_and_shows_tables_and_figures(tmp_path):
    """Every cell of docs/tour.ipynb runs: check, bar, frame, figures, verdict, predictions."""
    notebook = run(
        read(PARAMETERS.format(here=str(tmp_path), backbone=tiny_backbone())), folder=tmp_path
    )
    shown = {cell.id: outputs_of(cell) for cell in notebook.cells if cell.cell_type == "code"}
    assert "753 images in 10 classes" in shown["check"]["text/html"]
    assert "2 of 2 trials" in shown["run"]["text/html"]
    assert "balanced weights" in shown["study"]["text/html"]
    assert "recall/digit_9" in shown["frame"]["text/html"]
    for cell in ("recall", "history", "matrix", "optuna"):
        assert len(shown[cell]["image/png"]) > 5_000, cell
    assert Study.load("digits", home=tmp_path / "home").confirmation is not None
    assert "plain cross-entropy" in shown["confirm"]["text/html"]
    assert "reproduced" in shown["train"]["text/html"]
    assert "trainings" not in shown["train"]["text/html"]  # a cell shows what is its own
    assert "000.png" in shown["predict"]["text/html"]


@pytest.mark.parametrize("cell", [c for c in read().cells if c.cell_type == "code"])
def test_the_committed_tour_holds_what_its_cells_show(cell):
    """No cell of the notebook that is read here has failed, and none names a machine's places."""
    assert not any(output.output_type == "error" for output in cell.outputs)
    assert cell.execution_count is not None
    assert "/work" not in str(cell.outputs)
    assert "/root" not in str(cell.outputs)


@pytest.mark.slow
def test_an_interrupted_cell_goes_on(tmp_path):
    """A cell interrupted while a trial trains, and run again, ends with all trials, each once."""
    kernel = KernelManager(kernel_name="python3")
    kernel.start_kernel(cwd=str(tmp_path))
    client = kernel.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=WAIT_S)
        code = CELL.format(home=str(tmp_path / "home"), overrides=OVERRIDES)
        first = client.execute(code)
        seen = wait_for(client, first, "#3: epoch")
        kernel.interrupt_kernel()
        reply = reply_to(client, first)
        assert (reply["status"], reply["ename"]) == ("error", "KeyboardInterrupt"), reply
        study = Study.load("digits", home=tmp_path / "home", listener=None)
        assert "epoch" in seen
        assert study.status()["state"] == "stopped"
        assert len(study.baselines) == 3
        n_before = study.status()["finished"]
        assert n_before < 4
        assert reply_to(client, client.execute(code))["status"] == "ok"
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
    assert study.status()["state"] == "finished"
    ended = [trial.number for trial in study.trials if trial.state != "failed"]
    assert len(ended) == len(set(ended)) == 4
    assert len(study.baselines) == 3


def wait_for(client, message_id, text):
    """The first output of a cell that holds a text."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        try:
            message = client.get_iopub_msg(timeout=5)
        except Empty:
            continue
        if message["parent_header"].get("msg_id") == message_id:
            content = message["content"]
            assert message["msg_type"] != "error", content
            html = content.get("data", {}).get("text/html", "")
            if text in html:
                return html
    pytest.fail(f"no output with {text!r}")


def reply_to(client, message_id):
    """What the kernel says of a cell that has ended."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        reply = client.get_shell_msg(timeout=WAIT_S)
        if reply["parent_header"].get("msg_id") == message_id:
            return reply["content"]
    pytest.fail("no reply")


def outputs_of(cell):
    """What a cell shows, by kind; texts of several outputs together."""
    found = {}
    for output in cell.outputs:
        for kind, data in output.get("data", {}).items():
            found[kind] = found.get(kind, "") + data
    return found
