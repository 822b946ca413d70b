"""A study on two Ray nodes with PostgreSQL and an MLflow server, of which parts are killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from mlflow import MlflowClient

from tuner.home.study_folder import StudyFolder
from tuner.search.database import open_database

pytest.importorskip("ray", reason="needs Ray: pip install 'imbalance-tuner[ray]'")
pytestmark = pytest.mark.slow

PROGRAM = "import sys; from tuner.cli import main; sys.argv[0] = 'tuner'; main()"
RAY = "from ray.scripts.scripts import main; main()"
N_TRIALS = 16
STUDY = f"""
name: many
data: {{source: digits, image_px: 32, exclude: ["digit_[0-5]/*"]}}
split: {{folds: 2}}
backbone: {{weights: random}}
search: {{trials: {N_TRIALS}, retries: 100}}
training: {{epochs: 40, hidden_units: 256, learning_rate: 0.0001, patience: 40}}
"""
PATIENCE_S = 600
QUIET = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNER_GRACE_S": "5",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait until something holds; returns it."""
    end = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < end, f"too slow: {what}"
        time.sleep(0.2)
    return found


def environment() -> dict[str, str]:
    """The environment of every process, without what would lead it elsewhere."""
    away = ("TUNER_HOME", "MLFLOW_TRACKING_URI", "RAY_ADDRESS")
    return {k: v for k, v in os.environ.items() if k not in away} | QUIET


@contextmanager
def started(*words: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with all its children, gone at the end; what it prints goes to `output.txt`."""
    with (cwd / "output.txt").open("a") as output:  # a pipe that nobody reads would stop it
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=cwd,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill_tree(process.pid)
        process.wait()


def kill_tree(pid: int) -> None:
    """Kill a process and all that it has started, as a node that loses its power."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def ray_node(address: str, *, is_head: bool, cwd: Path) -> Iterator[int]:
    """A Ray node of two processors in a process of its own; gives that."""
    place = ["--head", "--port", address.split(":")[1]] if is_head else ["--address", address]
    words = ["start", *place, "--num-cpus", "2", "--num-gpus", "0", "--block"]
    words += ["--object-store-memory", str(100 * 2**20), "--disable-usage-stats"]
    words += ["--include-dashboard", "false"] if is_head else []
    words += ["--node-ip-address", "127.0.0.1"]
    with started("-c", RAY, *words, cwd=cwd) as node:
        yield node.pid


@contextmanager
def mlflow_server(url: str, place: Path) -> Iterator[str]:
    """MLflow's server with its records in PostgreSQL; gives its address."""
    port = free_port()
    words = ["-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", url.replace("postgresql:", "postgresql+psycopg:")]
    words += ["--artifacts-destination", str(place / "artifacts")]
    with started(*words, cwd=place):
        until(lambda: answers(port), "MLflow's server")
        yield f"http://127.0.0.1:{port}"


def answers(port: int) -> bool:
    """Whether a server does."""
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
        return True
    return False


def finished(folder: Path) -> int:
    """Records of trials that are there."""
    return len(list((folder / "records").glob("trial-*.json")))


def busy_workers(node: int | None = None) -> list[psutil.Process]:
    """Processes of Ray that train, of all nodes or of one."""
    everyone = (
        psutil.process_iter() if node is None else psutil.Process(node).children(recursive=True)
    )
    found = []
    for process in everyone:
        with suppress(psutil.Error):
            if process.cmdline()[:1] == ["ray::work"]:
                found.append(process)
    return found


def test_a_study_survives_the_loss_of_a_worker_and_of_a_node(
    tmp_path: Path, postgres: Callable[[], str]
) -> None:
    """Exactly the budget is finished, each with one run; split and bank are as on one machine."""
    (tmp_path / "many.yaml").write_text(STUDY)
    alone = ["-c", PROGRAM, "run", "many.yaml", "--trials", "1", "--quiet", "--home", "alone"]
    subprocess.run(
        [sys.executable, *alone], cwd=tmp_path, env=environment(), check=True, timeout=PATIENCE_S
    )
    address, store, folder = f"127.0.0.1:{free_port()}", postgres(), tmp_path / "home/studies/many"
    words = ["run", "many.yaml", "--home", "home", "--storage", store]
    words += ["--ray", address, "--workers", "4", "--tracking-uri"]
    with (
        mlflow_server(postgres(), tmp_path) as server,
        ray_node(address, is_head=True, cwd=tmp_path),
        ray_node(address, is_head=False, cwd=tmp_path) as second,
    ):
        until(lambda: n_nodes(address) == 2, "two nodes")
        with started("-c", PROGRAM, *words, server, cwd=tmp_path) as run:
            until(lambda: finished(folder) >= 3, "the first trials")
            until(busy_workers, "a worker")[0].send_signal(signal.SIGKILL)
            until(lambda: finished(folder) >= 8, "trials after the loss of a worker")
            kill_tree(second)
            code = run.wait(timeout=PATIENCE_S)
        assert code == 0, (tmp_path / "output.txt").read_text()
        check_study(store, StudyFolder(folder), server)
    assert banks(tmp_path / "home") == banks(tmp_path / "alone")
    splits = [
        json.loads((tmp_path / home / "studies/many/about.json").read_text())["split_fingerprint"]
        for home in ("home", "alone")
    ]
    assert splits[0] == splits[1]


def n_nodes(address: str) -> int:
    """Nodes of the cluster that are alive."""
    code = (
        "import ray, sys; ray.init(sys.argv[1], logging_level='ERROR', log_to_driver=False);"
        "print(sum(n['Alive'] for n in ray.nodes()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, address],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return int(done.stdout or 0)


def check_study(store: str, folder: StudyFolder, server: str) -> None:
    """Exactly the budget, nothing running, and one whole run for each record."""
    storage = open_database(store)
    study = optuna.load_study(storage=storage, study_name="many")
    done = [
        t
        for t in study.trials
        if t.state.name in ("COMPLETE", "PRUNED") and "baseline" not in t.user_attrs
    ]
    assert len(done) == N_TRIALS
    assert not [t for t in study.trials if t.state.name == "RUNNING"]
    storage.remove_session()
    storage.engine.dispose()
    records = {r.name for r in folder.records()}
    assert sum(name.startswith("trial") for name in records) == N_TRIALS
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("many")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    parents = [r for r in runs if r.data.tags["tuner.kind"] == "study"]
    assert [r.info.status for r in parents] == ["FINISHED"]
    children = Counter(r.data.tags.get("tuner.record") for r in runs if r not in parents)
    assert children == Counter(records)
    assert not [r for r in runs if r.info.status == "RUNNING"]
    assert all("macro_recall" in r.data.metrics for r in runs if r not in parents)


def banks(home: Path) -> dict[str, bytes]:
    """Every chunk of a home's features, by name."""
    return {p.name: p.read_bytes() for p in (home / "features").rglob("chunk-*")}


def test_a_cluster_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    """What, where and what to do, exit code 1, no traceback."""
    (tmp_path / "many.yaml").write_text(STUDY)
    address = f"127.0.0.1:{free_port()}"
    words = ["run", "many.yaml", "--storage", "postgresql://me:secret@127.0.0.1:1/x"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words, "--ray", address],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "the Ray cluster cannot be reached" in done.stderr
    assert "ray start --head" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stdout + done.stderr
