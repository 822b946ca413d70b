"""Databases in a real PostgreSQL and a real MLflow server on one, for benchmarks."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy
from _common import say

_START_S = 600


class Databases:
    """Databases of one benchmark, in a server that may hold others.

    Args:
        url: ``postgresql://USER:PASSWORD@HOST:PORT/postgres`` of a user who may create some.
    """

    def __init__(self, url: str) -> None:
        self._url = sqlalchemy.make_url(url).set(drivername="postgresql+psycopg")
        self._made: list[str] = []
        self._process: psutil.Process | None = None  # the first of the server

    def create(self, what: str, *, template: str | None = None) -> str:
        """The URL of a new database; a copy of another one of `create` where that is given."""
        name = f"tuner_{what}_{secrets.token_hex(4)}"
        like = f' TEMPLATE "{sqlalchemy.make_url(template).database}"' if template else ""
        self._execute(f'CREATE DATABASE "{name}"{like}')
        self._made.append(name)
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop_all(self) -> None:
        """Drop what was made here."""
        for name in self._made:
            self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def facts(self) -> dict[str, str]:
        """Version, and whether a commit waits for the disk: what its times depend on."""
        version = self._execute("SHOW server_version").split()[0]
        return {"postgresql": version, "fsync": self._execute("SHOW fsync")}

    def cpu_s(self) -> float:
        """Processor seconds of the whole server until now; NaN when it is on another machine."""
        if self._process is None:
            pid = int(self._execute("SELECT pg_backend_pid()"))
            with suppress(psutil.Error):
                self._process = psutil.Process(pid).parent()
        if self._process is None or self._process.name() != "postgres":
            return float("nan")
        return tree_cpu_s(self._process)

    def _execute(self, statement: str) -> str:
        engine = sqlalchemy.create_engine(self._url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                result: Any = connection.execute(sqlalchemy.text(statement))
                return str(result.scalar()) if result.returns_rows else ""
        finally:
            engine.dispose()


def tree_cpu_s(process: psutil.Process) -> float:
    """Processor seconds of a process and its children, those that have ended included."""
    times = process.cpu_times()
    seconds = times.user + times.system + times.children_user + times.children_system
    for child in process.children():
        with suppress(psutil.Error):  # it has just ended
            seconds += tree_cpu_s(child)
    return float(seconds)


@contextmanager
def databases(url: str) -> Iterator[Databases]:
    """Databases that are dropped when the block ends."""
    made = Databases(url)
    try:
        yield made
    finally:
        made.drop_all()


def scalar(url: str, statement: str) -> int:
    """One number out of a database."""
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            return int(connection.execute(sqlalchemy.text(statement)).scalar() or 0)
    finally:
        engine.dispose()


@contextmanager
def mlflow_server(
    database: str, folder: Path, *, workers: int = 1
) -> Iterator[tuple[str, psutil.Process]]:
    """Address and process of an MLflow server on a database, with artifacts in a folder.

    Args:
        database: Its backend store.
        folder: For its artifacts and its log.
        workers: Server processes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port]
    words += ["--backend-store-uri", database, "--artifacts-destination", folder / "artifacts"]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, *map(str, words), "--workers", str(workers)],
            stdout=log,
            stderr=log,
            # Its job runner has no part here, and takes a processor while it starts.
            env=os.environ
            | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address, server, folder / "server.log")
        say("an MLflow server listens")
        yield address, psutil.Process(server.pid)
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_S
    while server.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise SystemExit(f"the MLflow server did not start:\n{log.read_text()[-2000:]}")
