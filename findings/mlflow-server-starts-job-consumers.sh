#!/usr/bin/env bash
# One would expect `mlflow server`, started to look at runs in a SQLite file, to be one process or
# the four workers that its --workers option says. It is some fifteen: beside the four that answer
# it starts a job runner, which starts one consumer for each kind of background job (all of them for
# evaluating language models) and one for periodic tasks, whether or not any job was ever submitted.
# Each imports the whole of MLflow, so that a server in which nothing happens holds more than
# three times the memory of the same server without jobs. MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
# turns them off; it is on by default.
# Source: mlflow/environment_variables.py and mlflow/server/jobs/utils.py; seen with mlflow 3.17.2.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet mlflow==3.17.2 psutil==7.0.0
cd "$place"
cat > see.py <<'PY'
import os
import signal
import subprocess
import sys
import time
import urllib.request

import mlflow
import psutil


def processes(port, jobs, *words):
    """Processes of a server on which nothing runs, and what they hold together in MiB."""
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", "sqlite:///runs.db",
         "--port", str(port), *words],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": jobs},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
            break
        except OSError:
            time.sleep(0.5)
    time.sleep(30)
    found = psutil.Process(server.pid).children(recursive=True)
    held = sum(process.memory_info().rss for process in found) / 2**20
    os.killpg(server.pid, signal.SIGKILL)
    for process in found:
        if process.is_running():
            process.kill()
    server.wait()
    return len(found) + 1, held


print("mlflow", mlflow.__version__)
seen = {}
for port, (jobs, words) in enumerate(
    [("true", ()), ("false", ()), ("true", ("--workers", "1")), ("false", ("--workers", "1"))], 5611
):
    n, held = seen[jobs, words] = processes(port, jobs, *words)
    print(f"jobs {jobs}, {' '.join(words) or 'default workers'}: {n} processes, {held:.0f} MiB")
more = seen["true", ()][0] - seen["false", ()][0]
assert more >= 7, f"only {more} processes more"
assert seen["true", ("--workers", "1")][1] > 3 * seen["false", ("--workers", "1")][1]
PY
venv/bin/python see.py
