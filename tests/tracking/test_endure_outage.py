"""A real MLflow server that is slow, answers 500 or has no space: nothing waits, all arrives."""

from __future__ import annotations

import http.client
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.tracking.test_server import server, until
from tuner.home.study_folder import StudyFolder
from tuner.tracking.background import BackgroundRecorder
from tuner.tracking.mlflow_recorder import sync_study

pytestmark = pytest.mark.slow

AT_ONCE_S = 5.0  # a call that does not wait, on a machine that is busy with other tests
SLOW_S = 2.0
SECRET = "hunter2"
PROGRAM = "import sys; from tuner.cli import main; sys.argv[0] = 'tuner'; main()"
STUDY = """
name: away
data: {source: digits, image_px: 32, exclude: ["digit_[0-6]/*"]}
split: {folds: 2}
backbone: {weights: random}
search: {trials: 2}
training: {epochs: 3, hidden_units: 16, learning_rate: 0.001}
"""


class Front(ThreadingHTTPServer):
    """Hands every request on to a real MLflow server, late or not at all.

    Args:
        port: Of the MLflow server.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.delay_s, self.is_broken, self.n_asked = port, 0.0, False, 0
        self.uri = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Front

    def _answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.n_asked += 1
        time.sleep(self.server.delay_s)
        if self.server.is_broken:
            status, kind, body = 500, "text/html", b"<h1>Internal Server Error</h1>"
        else:
            behind = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
            sent = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            behind.request(self.command, self.path, content, sent)
            found = behind.getresponse()
            body = found.read()
            status, kind = found.status, found.getheader("Content-Type", "text/plain")
            behind.close()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Front]:
    """One server of this file, with a front before it."""
    place = tmp_path_factory.mktemp("server")
    (place / "server.db").write_bytes(migrated.read_bytes())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with server(port, place, place / "server.db"):
        front = Front(port)
        front.place = place
        yield front
        front.shutdown()
        front.server_close()


@pytest.fixture(autouse=True)
def well(front: Front) -> Iterator[None]:
    """Each test begins and ends with a server that answers."""
    yield
    front.delay_s, front.is_broken = 0.0, False


def background(inner, troubles, **settings) -> BackgroundRecorder:
    """A recorder that tries again soon."""
    return BackgroundRecorder(
        inner, on_trouble=troubles.append, **{"retry_s": (0.2, 0.5), "flush_s": 90} | settings
    )


def assert_whole(kept, front: Front, name: str, *, n: int) -> None:
    """Every record has one run below the study's, with its numbers and its pictures."""
    found = kept(name=name, uri=front.uri)
    assert found.parent.info.status == "FINISHED"
    assert list(found.children) == [f"trial-{k:05d}" for k in range(n)]
    for run in found.children.values():
        assert run.info.status == "FINISHED"
        assert "macro_recall" in run.data.metrics
        assert len(found.artifacts(run, "images")) == 2


def test_a_server_of_two_seconds_a_call_holds_nobody_up(
    new_study, make_recorder, kept, front, troubles
):
    """Handing over takes no time; the end waits as long as it may and says what is missing."""
    study = new_study("slow")
    recorder = background(make_recorder(front.uri), troubles, flush_s=3)
    front.delay_s = SLOW_S
    records = [study.add(number=k) for k in range(3)]
    begun = time.monotonic()
    recorder.open_study(study.folder)
    for record in records:
        recorder.record(study.folder, record)
    assert time.monotonic() - begun < AT_ONCE_S
    recorder.close_study(study.folder, is_finished=True)
    assert 3 <= time.monotonic() - begun < 3 + 2 * SLOW_S + AT_ONCE_S
    (trouble,) = troubles
    assert "MLflow lacks 3 records of study 'slow'" in trouble
    assert "tuner sync slow" in trouble
    front.delay_s = 0
    until(lambda: not recorder._tasks, seconds=60)
    sync_study(study.folder, make_recorder(front.uri))
    assert_whole(kept, front, "slow", n=3)


def test_a_server_that_answers_500_is_tried_again(new_study, make_recorder, kept, front, troubles):
    """It is said once that records wait; when the server is well they arrive by themselves."""
    study = new_study("broken")
    recorder = background(make_recorder(front.uri), troubles)
    front.is_broken = True
    begun = time.monotonic()
    recorder.open_study(study.folder)
    for number in range(3):
        recorder.record(study.folder, study.add(number=number))
    assert time.monotonic() - begun < AT_ONCE_S
    asked = front.n_asked
    until(lambda: troubles and front.n_asked > asked + 3, seconds=60)
    (trouble,) = troubles
    assert "MLflow cannot be reached" in trouble
    assert "wait" in trouble
    assert "<h1>" not in trouble
    front.is_broken = False
    recorder.close_study(study.folder, is_finished=True)
    assert len(troubles) == 1
    assert_whole(kept, front, "broken", n=3)


def limit_files(front: Front, n_bytes: int) -> None:
    """Let no process of the server write beyond so many bytes of a file."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and str(front.behind) in _words(entry):
            _, hard = resource.prlimit(int(entry.name), resource.RLIMIT_FSIZE)
            resource.prlimit(int(entry.name), resource.RLIMIT_FSIZE, (n_bytes, hard))


def _words(entry: Path) -> list[str]:
    try:
        return (entry / "cmdline").read_text().split("\0")
    except OSError:
        return []


def test_a_full_disk_of_the_server_is_an_outage(new_study, make_recorder, kept, front, troubles):
    """Neither database nor artifacts can grow there; with space again every run is whole."""
    study = new_study("full")
    recorder = background(make_recorder(front.uri), troubles)
    recorder.open_study(study.folder)
    until(lambda: not recorder._tasks, seconds=60)
    limit_files(front, 10_000)
    try:
        for number in range(2):
            recorder.record(study.folder, study.add(number=number))
        until(lambda: troubles, seconds=90)
    finally:
        limit_files(front, resource.RLIM_INFINITY)
    recorder.close_study(study.folder, is_finished=True)
    assert len(troubles) == 1
    assert_whole(kept, front, "full", n=2)


def tuner(place: Path, *words: str) -> str:
    """Run ``tuner WORDS`` in a place with its own home; all that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=place,
        env=os.environ | {"TUNER_HOME": str(place / "home")},
        text=True,
        capture_output=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_study_runs_on_beside_a_slow_and_broken_server(tmp_path, front, kept):
    """Trials follow each other at once, records wait, sync brings them, no password is kept."""
    uri = front.uri.replace("//", f"//me:{SECRET}@")
    (tmp_path / "away.yaml").write_text(STUDY)
    front.delay_s, front.is_broken = SLOW_S, True
    said = tuner(tmp_path, "run", "away.yaml", "--tracking-uri", uri)
    assert "MLflow cannot be reached" in said
    assert "nothing is lost" in said
    folder = StudyFolder(tmp_path / "home" / "studies" / "away")
    records = folder.records()
    assert [r.kind for r in records] == ["baseline"] * 3 + ["trial"] * 2
    trained_s = sum(r.ended_s - r.started_s for r in records)
    took_s = max(r.ended_s for r in records) - min(r.started_s for r in records)
    assert took_s - trained_s < SLOW_S  # one call of the server
    front.delay_s, front.is_broken = 0.0, False
    said += tuner(tmp_path, "sync", "away", "--tracking-uri", uri)
    said += tuner(tmp_path, "export", "away", "-o", "best.yaml")
    found = kept(name="away", uri=front.uri)
    assert sorted(found.children) == sorted(record.name for record in records)
    assert SECRET not in said
    for place in (tmp_path, front.place):
        files = [path for path in place.rglob("*") if path.is_file()]
        assert len(files) > 5
        assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
