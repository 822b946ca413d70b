"""``tuner ui``: MLflow's own server on the home."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from tuner.cli.interrupts import heed_termination
from tuner.cli.show.terminal import make_console, say, say_step, warn
from tuner.errors import TrackingError
from tuner.study import Home, Study, find_home, mlflow_pages, prepare_mlflow
from tuner.text import command

_LOCAL = ("127.0.0.1", "localhost", "::1")
_ANY = ("0.0.0.0", "::")
_START_S = 120.0
_STOP_S = 10.0
_ASK_S = 5.0


def open_ui(
    study: str | None,
    *,
    home: Path | None,
    tracking_uri: str | None,
    host: str,
    port: int,
    opens_browser: bool,
) -> None:
    """Serve MLflow's UI on the home, or point at the server that has the study."""
    console = make_console(is_result=True)
    at = find_home(home)
    uri = at.resolve_tracking_uri(tracking_uri)
    is_server = uri.startswith(("http://", "https://"))
    if not is_server and not (at.path / "mlflow.db").exists() and uri == at.tracking_uri:
        raise TrackingError(
            "there is nothing to show: this home has no MLflow database",
            where=str(at.path),
            do="run a study first, or rebuild the mirror with: tuner sync STUDY",
        )
    paths = mlflow_pages(uri, _name_of(study, home)) if study else ["/"]
    if is_server:
        say(console, f"the runs are on the server {uri}")
        _show([f"{uri.rstrip('/')}{path}" for path in paths], console, opens_browser=opens_browser)
        return
    base = address(host, port)
    pages = [base + path for path in paths]
    if _is_serving(base, at):
        say(console, f"a server of this home is running at {base} already")
        _show(pages, console, opens_browser=opens_browser)
        return
    refuse_taken(port, host=host)
    warn_of_others(console, host, port)
    words = ["--host", host, "--port", str(port)]
    check = _host_check(host, port)
    plain = [*words, *(check if host not in _LOCAL else [])]
    say_step(console, "plain", command("mlflow", "ui", "--backend-store-uri", uri, *plain))
    prepare_mlflow()
    # Not among the words, which every user of the machine can list: it may hold a password.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    # Its workers' requests and deprecations would push the addresses out of sight.
    for name, value in {"PYTHONWARNINGS": "ignore", **_for_one_person(host)}.items():
        os.environ.setdefault(name, value)
    calm = ["--uvicorn-opts", "--log-level warning"]
    show_when_up(f"{base}/health", pages, console, opens_browser=opens_browser)
    code = serve([sys.executable, "-m", "mlflow", "ui", *words, *check, *calm])
    if code:
        raise TrackingError(
            f"MLflow's server ended with exit code {code}",
            where=f"{base}, {uri}",
            do="see its messages above; try another --port",
        )


def _for_one_person(host: str) -> dict[str, str]:
    """MLflow's environment for somebody who looks at studies, where the user has set no other.

    By itself it starts seven processes for jobs that no study has (evaluation of language models)
    and four that answer: 3.6 GB, and three times as long until the first page.
    """
    alone = {"MLFLOW_WORKERS": "1"} if host in _LOCAL else {}
    return {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **alone}


def _name_of(study: str, home: Path | None) -> str:
    """Name of a study that has begun, from its file or as it is."""
    return Study(study, home=home, listener=None).folder.name


def _is_serving(base: str, home: Home) -> bool:
    """Whether an MLflow server at this address keeps its artifacts in this home."""
    ask = f"{base}/api/2.0/mlflow/experiments/search?max_results=1000"
    try:
        with urllib.request.urlopen(ask, timeout=_ASK_S) as answer:
            found = json.load(answer).get("experiments", [])
    except (OSError, ValueError, AttributeError):  # nobody, or somebody else
        return False
    place = home.artifacts.absolute().as_uri().rstrip("/")
    return any(str(e.get("artifact_location", "")).startswith(f"{place}/") for e in found)


def serve(program: list[str]) -> int:
    """Run a server until it ends or the user stops it; no process stays behind."""
    heed_termination()
    # A group of its own: its workers would outlive it and keep the port.
    server = subprocess.Popen(program, start_new_session=True)
    try:
        return server.wait()
    finally:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=_STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)


def address(host: str, port: int) -> str:
    """Where this machine itself reaches a server that listens at a host."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def warn_of_others(console: Console, host: str, port: int) -> None:
    """Say what it means when a server can be reached from other machines."""
    if host not in _LOCAL:
        name = socket.gethostname()
        warn(
            console,
            f"anyone who reaches {name}:{port} can read and delete all of it, without a password; "
            f"safer: --host 127.0.0.1, and from elsewhere: ssh -L {port}:127.0.0.1:{port} {name}",
        )


def _host_check(host: str, port: int) -> list[str]:
    """MLflow's options against pages that call this server by a name of their own.

    Its default lets any name pass that begins like a private address, as ``10.evil.example``.
    """
    if os.environ.get("MLFLOW_SERVER_ALLOWED_HOSTS"):  # the user knows better, behind a proxy say
        return []
    names = ["localhost", "127.0.0.1", "[[]::1]"]  # fnmatch's way to write a bracket
    if host in _LOCAL:
        return ["--allowed-hosts", ",".join(f"{name}:*" for name in names)]
    known = {socket.gethostname(), socket.getfqdn(), _outward(), host} - {"", "localhost", *_ANY}
    others = sorted(f"[[]{name}]" if ":" in name else name for name in known)
    allowed = [f"{name}:*" for name in [*names, *others]]
    origins = [f"http://{name.replace('[[]', '[')}:{port}" for name in others]
    return ["--allowed-hosts", ",".join(allowed), "--cors-allowed-origins", ",".join(origins)]


def _outward() -> str:
    """Address of this machine on its network, empty without one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation
            return str(probe.getsockname()[0])
        except OSError:
            return ""


def refuse_taken(port: int, *, host: str, option: str = "") -> None:
    """Raise when somebody listens at the port, or the host is not one of this machine.

    Raises:
        TrackingError: With a command for the next port; `option` is part of it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise TrackingError(
                    f"nothing can listen at {host}:{port}: {error.strerror or error}",
                    do="leave --host out, or give an address of this machine",
                ) from error
            raise TrackingError(
                f"port {port} is taken by another program, perhaps an earlier `tuner ui`",
                where=address(host, port),
                do=f"look there, or choose another: tuner ui {option}--port {port + 1}",
            ) from error


def show_when_up(
    probe: str, pages: Sequence[str], console: Console, *, opens_browser: bool
) -> None:
    """Say the pages, and open the first one, once the server answers at `probe`."""
    say(console, "the server starts, which takes some seconds", style="dim")

    def wait() -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(probe, timeout=2):
                    _show(pages, console, opens_browser=opens_browser)
                    say(console, "Ctrl-C stops it", style="dim")
                    return
            except OSError:
                time.sleep(0.3)

    threading.Thread(target=wait, daemon=True).start()


def _show(pages: Sequence[str], console: Console, *, opens_browser: bool) -> None:
    for name, url in zip(("open", "shorter"), pages, strict=False):
        say_step(console, name, url)
    if opens_browser and console.is_terminal:
        webbrowser.open(pages[0])
