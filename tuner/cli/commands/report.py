"""``tuner report``: one page about a study."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from tuner.cli.commands.studies import find_named
from tuner.cli.show.terminal import make_console, say, say_step, warn
from tuner.errors import TrackingError, TunerError, UsageError
from tuner.files import write_whole
from tuner.home import Home
from tuner.home.founding import data_root
from tuner.home.study_folder import StudyFolder


def report_study(study: str, *, output: Path, home: Path | None, tracking_uri: str | None) -> None:
    """Write the report of a study and keep it as an artifact of its MLflow run."""
    from tuner.report.page.page import render_report
    from tuner.tracking.mirror import make_mirror

    at = Home.find(home)
    folder = find_named(study, at)
    _check_target(output)
    console = make_console(is_result=True)
    page = render_report(folder, root=data_root(folder.config, at))
    try:
        write_whole(output, page)
    except OSError as error:
        what = f"the report cannot be written: {error.strerror or error}"
        raise TunerError(what, where=str(output), do="choose another place with -o") from error
    say(console, f"{output}, {len(page.encode()) / 1e6:.1f} MB")
    mirror = make_mirror(
        at, at.resolve_tracking_uri(tracking_uri), on_trouble=lambda text: warn(console, text)
    )
    try:
        mirror.attach(folder, "report.html", page)
    except TrackingError as error:
        warn(console, f"MLflow has no copy of the report: {error.what}")
    say_step(console, "open", output.absolute().as_uri())


def keep_report(
    folder: StudyFolder, home: Home, tracking_uri: str | None, console: Console
) -> None:
    """Put the report beside the study's run in MLflow; a failure is said and stops nothing."""
    from tuner.report.page.page import render_report
    from tuner.tracking.mirror import make_mirror

    mirror = make_mirror(
        home, home.resolve_tracking_uri(tracking_uri), on_trouble=lambda text: warn(console, text)
    )
    try:
        with console.status("writing the report"):
            page = render_report(folder, root=data_root(folder.config, home))
            mirror.attach(folder, "report.html", page)
    except Exception as error:  # hours of training must not end in a traceback of a picture
        reason = error.what if isinstance(error, TunerError) else error
        warn(console, f"MLflow has no report of this study: {reason}")
        say_step(console, "try", f"tuner report {folder.name}")


def _check_target(output: Path) -> None:
    if output.is_dir():
        do = f"name a file in it: -o {output / 'report.html'}"
        raise UsageError(f"'{output}' is a folder", do=do)
    if not output.absolute().parent.is_dir():
        raise UsageError(f"there is no folder '{output.parent}'", do="create it first")
