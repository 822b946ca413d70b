"""``tuner sync``: complete the MLflow mirror."""

from __future__ import annotations

from tuner.cli import options


def sync(
    study: options.Study, home: options.Home = None, tracking_uri: options.Tracking = None
) -> None:
    """Rebuild the MLflow mirror from the study's records.

    Example:  tuner sync steel
    """
    from tuner.cli.show.listener import TerminalListener
    from tuner.cli.show.terminal import make_console, say
    from tuner.study import Study

    with TerminalListener(home=home, is_result=True) as listener:
        opened = Study(study, home=home, listener=listener, tracking_uri=tracking_uri)
        n_written = opened.sync()
    n_all = len(opened.folder.records())
    say(
        make_console(is_result=True),
        f"{n_written} of {n_all} records were missing in {opened.mlflow_uri}",
    )
