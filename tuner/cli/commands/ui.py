"""``tuner ui``: MLflow's UI, or optuna-dashboard, on the home."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from tuner.cli import options

Opened = Annotated[Optional[str], typer.Argument(help="A study to open at.")]  # noqa: UP045
Port = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--port", min=1, max=65535, help="On this machine (default: 5000; 8080 with --optuna)."
    ),
]
Optuna = Annotated[
    bool, typer.Option("--optuna", help="optuna-dashboard on the home's journal instead.")
]
Host = Annotated[
    str,
    typer.Option(
        "--host", help="Address to listen at; any but 127.0.0.1 lets others in, unasked."
    ),
]
Browser = Annotated[bool, typer.Option(help="Open a browser window.")]


def ui(
    study: Opened = None,
    home: options.Home = None,
    tracking_uri: options.Tracking = None,
    port: Port = None,
    optuna: Optuna = False,
    host: Host = "127.0.0.1",
    browser: Browser = True,
) -> None:
    """Open MLflow's UI on the home, at the comparison of the study's runs.

    Example:  tuner ui steel
    """
    from tuner.cli.servers.dashboard import open_dashboard
    from tuner.cli.servers.mlflow import open_ui

    if optuna:
        open_dashboard(study, home=home, host=host, port=port or 8080, opens_browser=browser)
        return
    open_ui(
        study,
        home=home,
        tracking_uri=tracking_uri,
        host=host,
        port=port or 5000,
        opens_browser=browser,
    )
