"""The MLflow mirror of a home's studies: where it is, and how it is kept and completed."""

from __future__ import annotations

from collections.abc import Callable

from tuner.errors import TrackingError
from tuner.files import is_held, turn
from tuner.home import Home
from tuner.home.recorder import Recorder
from tuner.home.study_folder import StudyFolder
from tuner.report.figures.confusion import confusion_matrix_image
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
    # In this order: who takes the turn and then finds others at work has kept it from the last.
    if is_held(folder.lock_path):
        return False
    with turn(folder.turn_path("complete"), waits=False) as is_mine:
        if is_mine:
            uri = home.resolve_tracking_uri(tracking_uri)
            try:
                sync_study(folder, make_mirror(home, uri, on_trouble=on_trouble))
            except TrackingError as error:
                on_trouble(f"{error.what}; write it with: tuner sync {folder.name}")
        return is_mine
