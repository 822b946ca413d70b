"""The report of a study: as a file, and beside its run in MLflow."""

from __future__ import annotations

from pathlib import Path

from tuner.errors import TrackingError, TunerError, UsageError
from tuner.files import write_whole
from tuner.home import Home
from tuner.home.founding import data_root
from tuner.home.listener import Listener
from tuner.home.near_duplicates import conflicting_pairs
from tuner.home.study_folder import StudyFolder


def write_report(
    folder: StudyFolder, output: Path, home: Home, tracking_uri: str | None, listener: Listener
) -> None:
    """Write the page, and keep it as an artifact of the study's run.

    Raises:
        UsageError: If nothing can lie at `output`.
        TunerError: If it cannot be written.
    """
    from tuner.report.page.page import render_report
    from tuner.tracking.mirror import make_mirror

    _check_target(output)
    page = render_report(folder, root=data_root(folder.config, home))
    try:
        write_whole(output, page)
    except OSError as error:
        what = f"the report cannot be written: {error.strerror or error}"
        raise TunerError(what, where=str(output), do="choose another place with -o") from error
    listener.result(f"{output}, {len(page.encode()) / 1e6:.1f} MB")
    _keep_labels(folder, listener)
    uri = home.resolve_tracking_uri(tracking_uri)
    mirror = make_mirror(home, uri, on_trouble=listener.warning)
    try:
        mirror.attach(folder, "report.html", page)
    except TrackingError as error:
        listener.warning(f"MLflow has no copy of the report: {error.what}")


def keep_report(
    folder: StudyFolder, home: Home, tracking_uri: str | None, listener: Listener
) -> None:
    """Put the report beside the study's run in MLflow; a failure is said and stops nothing."""
    from tuner.report.page.page import render_report
    from tuner.tracking.mirror import make_mirror

    uri = home.resolve_tracking_uri(tracking_uri)
    mirror = make_mirror(home, uri, on_trouble=listener.warning)
    try:
        with listener.status("writing the report"):
            _keep_labels(folder, listener)
            page = render_report(folder, root=data_root(folder.config, home))
            mirror.attach(folder, "report.html", page)
    except Exception as error:  # hours of training must not end in a traceback of a picture
        reason = error.what if isinstance(error, TunerError) else error
        listener.warning(f"MLflow has no report of this study: {reason}", about="report")


def _keep_labels(folder: StudyFolder, listener: Listener) -> None:
    """Write ``labels_to_check.csv`` into the study's folder where near-duplicates disagree."""
    from tuner.report.labels import FILE, judges, labels_csv, labels_to_check

    if not conflicting_pairs(folder):
        return
    asked = judges(folder.records())
    doubts = labels_to_check(folder, asked)
    if not doubts:  # all of the sealed test
        return
    try:
        write_whole(folder.path / FILE, labels_csv(folder, doubts, asked))
    except OSError as error:  # somebody else's home
        listener.warning(f"{FILE} cannot be written: {error.strerror or error}")
    else:
        listener.fact("labels", f"{len(doubts):,} to check: {folder.path / FILE}")


def _check_target(output: Path) -> None:
    if output.is_dir():
        do = f"name a file in it: -o {output / 'report.html'}"
        raise UsageError(f"'{output}' is a folder", do=do)
    if not output.absolute().parent.is_dir():
        raise UsageError(f"there is no folder '{output.parent}'", do="create it first")
