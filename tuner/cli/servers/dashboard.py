"""``tuner ui --optuna``: optuna-dashboard on the home's journal."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tuner.cli.servers.mlflow import address, refuse_taken, serve, show_when_up, warn_of_others
from tuner.cli.show.terminal import make_console, say_step
from tuner.errors import TrackingError
from tuner.study import Study, find_home, optuna_page
from tuner.text import command

_PROGRAM = "optuna-dashboard"


def open_dashboard(
    study: str | None, *, home: Path | None, host: str, port: int, opens_browser: bool
) -> None:
    """Serve optuna-dashboard on the home's journal, at the study.

    Raises:
        TrackingError: If it is not installed, there is no journal, or the port is taken.
    """
    at = find_home(home)
    program = _program()
    if not at.journal.exists():
        raise TrackingError(
            "there is nothing to show: this home has no Optuna journal",
            where=str(at.path),
            do="run a study first; one in a database opens with: optuna-dashboard URL",
        )
    name = Study(study, home=home, listener=None).folder.name if study else None
    path = optuna_page(at, name) if name else "/dashboard/"
    refuse_taken(port, host=host, option="--optuna ")
    words = [str(at.journal), "--host", host, "--port", str(port)]
    console = make_console(is_result=True)
    warn_of_others(console, host, port)
    say_step(console, "plain", command(_PROGRAM, *words))
    base = address(host, port)
    show_when_up(f"{base}/dashboard/", [base + path], console, opens_browser=opens_browser)
    if code := serve([program, *words]):
        raise TrackingError(
            f"{_PROGRAM} ended with exit code {code}",
            where=f"{base}, {at.journal}",
            do="see its messages above; try another --port",
        )


def _program() -> str:
    """Its script beside this Python, or wherever the shell would find it."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(_PROGRAM, path=beside) or shutil.which(_PROGRAM)
    if found is None:
        raise TrackingError(
            f"{_PROGRAM} is not installed",
            do=f"install it with: pip install {_PROGRAM}   (MLflow's UI: tuner ui)",
        )
    return found
