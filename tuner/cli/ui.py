"""``tuner ui`` and ``tuner sync``: the MLflow mirror."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from tuner.cli.run import make_mirror, resolve_tracking_uri
from tuner.cli.terminal import command, make_console
from tuner.errors import TrackingError
from tuner.home import Home

_HOST = "127.0.0.1"
_START_S = 120.0


def open_ui(
    study: str | None,
    *,
    home: Path | None,
    tracking_uri: str | None,
    port: int,
    opens_browser: bool,
) -> None:
    """Serve MLflow's UI on the home, or point at the server that has the study."""
    from tuner.tracking.address import comparison_path

    console = make_console(is_result=True)
    at = Home.find(home)
    uri = resolve_tracking_uri(at, tracking_uri)
    is_server = uri.startswith(("http://", "https://"))
    if not is_server and not (at.path / "mlflow.db").exists() and uri == at.tracking_uri:
        raise TrackingError(
            "there is nothing to show: this home has no MLflow database",
            where=str(at.path),
            do="run a study first, or rebuild the mirror with: tuner sync STUDY",
        )
    path = comparison_path(uri, Path(study).stem) if study else "/"
    if is_server:
        _show(f"{uri.rstrip('/')}{path}", console, opens_browser=opens_browser)
        return
    _refuse_taken(port)
    words = ["--backend-store-uri", uri, "--host", _HOST, "--port", str(port)]
    console.print(f"[dim]plain[/dim] {escape(command('mlflow', 'ui', *words))}", soft_wrap=True)
    base = f"http://{_HOST}:{port}"
    threading.Thread(
        target=_show_when_up, args=(base, path, console, opens_browser), daemon=True
    ).start()
    console.print("[dim]Ctrl-C stops it[/dim]")
    done = subprocess.run([sys.executable, "-m", "mlflow", "ui", *words], check=False)
    if done.returncode not in (0, -2, 130):
        raise TrackingError(
            f"MLflow's server ended with exit code {done.returncode}",
            where=f"{base}, {uri}",
            do="see its messages above; try another --port",
        )


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise TrackingError(
                f"port {port} is taken by another program, perhaps an earlier `tuner ui`",
                where=f"http://{_HOST}:{port}",
                do=f"look there, or choose another: tuner ui --port {port + 1}",
            ) from error


def _show_when_up(base: str, path: str, console: Console, opens_browser: bool) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{base}/health", timeout=2):
                _show(base + path, console, opens_browser=opens_browser)
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)


def _show(url: str, console: Console, *, opens_browser: bool) -> None:
    console.print(f"[bold]open[/bold]  {escape(url)}", soft_wrap=True)
    if opens_browser and console.is_terminal:
        webbrowser.open(url)


def sync_mirror(study: str, *, home: Path | None, tracking_uri: str | None) -> None:
    """Write every record that MLflow lacks."""
    from tuner.search.folder import find_study
    from tuner.tracking.mlflow_recorder import sync_study

    console = make_console(is_result=True)
    at = Home.find(home)
    folder = find_study(at, Path(study).stem)
    uri = resolve_tracking_uri(at, tracking_uri)
    mirror = make_mirror(at, uri, on_trouble=lambda text: console.print(escape(text)))
    n_written = sync_study(folder, mirror)
    n_all = len(folder.records())
    console.print(f"{n_written} of {n_all} records written to {escape(uri)}; the rest were there")
