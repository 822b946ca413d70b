"""The MLflow mirror of a home's studies: where it is, and how it is kept and completed."""

from __future__ import annotations

from collections.abc import Callable

from tuner.errors import StudyError, TrackingError
from tuner.home import Home
from tuner.home.recorder import Recorder
from tuner.home.study_folder import StudyFolder
from tuner.report.figures.figures import confusion_matrix_image
from tuner.tracking.background import BackgroundRecorder
from tuner.tracking.mlflow_recorder import MlflowRecorder, sync_study


def make_mirror(home: Home, uri: str, *, on_trouble: Callable[[str], None]) -> MlflowRecorder:
    """The MLflow mirror at a tracking URI; artifacts lie in the home unless a server has them."""
    return MlflowRecorder(
        uri,
        artifacts=home.artifacts,
        draw_confusion_matrix=confusion_matrix_image,
        on_trouble=on_trouble,
    )


def make_recorder(
    home: Home, tracking_uri: str | None, *, on_trouble: Callable[[str], None]
) -> Recorder:
    """The MLflow mirror, kept off the hot path."""
    uri = home.resolve_tracking_uri(tracking_uri)
    mirror = make_mirror(home, uri, on_trouble=on_trouble)
    return BackgroundRecorder(mirror, on_trouble=on_trouble)


def complete_mirror(
    folder: StudyFolder,
    home: Home,
    tracking_uri: str | None,
    *,
    on_trouble: Callable[[str], None],
) -> bool:
    """Write what lost workers have left out of MLflow, unless others still work.

    Called by each worker when it has let go of the study: the last one of all finds nobody else.

    Returns:
        Whether nobody else works on the study.
    """
    mirror = make_mirror(home, home.resolve_tracking_uri(tracking_uri), on_trouble=on_trouble)
    try:
        with folder.locked():
            try:
                sync_study(folder, mirror, is_running=False)
            except TrackingError as error:
                on_trouble(f"{error.what}; write it with: tuner sync {folder.name}")
            return True
    except StudyError:
        return False
