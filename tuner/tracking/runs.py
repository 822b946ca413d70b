"""One record as one MLflow run: first everything that the run will hold, then the writing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from zipfile import BadZipFile

import PIL.Image

from tuner.arrays import UInt8
from tuner.errors import TunerError
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder
from tuner.tracking import content
from tuner.tracking.connection import local_folder, short_reason
from tuner.tracking.tables import FILES

Image = UInt8
Draw = Callable[[list[list[int]], list[str], str], Image]

_METRICS_A_CALL = 1000  # MLflow's limit
_FILES_AN_IMAGE = 2  # it and its small picture
_N_FILES_TAG = "tuner.n_files"
_THUMBNAIL_PX = 384  # two fit side by side into a window of 1440, and their counts can be read


class Draft(NamedTuple):
    """What a run will hold. Whatever can fail by itself is made before the run exists.

    Attributes:
        name: Of the run.
        status: MLflow's word for how it ended.
        start_ms: Unix time.
        end_ms: Unix time.
        tags: Without the one that says that the run is whole.
        params: By name.
        points: Every value of every metric.
        files: Folder of artifacts, the caller's.
        image: Confusion matrix, uint8 (height, width, 3), or None.
    """

    name: str
    status: str
    start_ms: int
    end_ms: int
    tags: dict[str, str]
    params: dict[str, str]
    points: list[content.Point]
    files: Path
    image: Image | None


def draft_run(
    folder: StudyFolder,
    record: Record,
    *,
    files: Path,
    names: list[str],
    parent_id: str,
    draw: Draw,
    on_trouble: Callable[[str], None],
) -> Draft:
    """Gather the run of a record; a table or picture that cannot be made is said and left out.

    Args:
        folder: The study.
        record: The record.
        files: An empty folder for what the run will hold as files.
        names: Safe class names.
        parent_id: The study's own run.
        draw: From counts, class names and title to uint8 (height, width, 3).
        on_trouble: Told what was left out.
    """
    title = content.run_name(record)
    tags = content.record_tags(folder, record, parent_id=parent_id)
    for file in FILES:
        with _left_out(f"no {file.what} of {record.name}", on_trouble):
            parts = file.content(folder, record, names)
            if parts is not None:
                _write(files / file.name, parts)
    if tables := [f.name for f in FILES if f.is_table and (files / f.name).exists()]:
        # What MLflow's log_table would set; its UI then shows and compares the tables.
        logged = [{"path": name, "type": "table"} for name in tables]
        tags["mlflow.loggedArtifacts"] = json.dumps(logged)
    image = None
    if record.matrix:
        with _left_out(f"no picture of the confusion matrix of {record.name}", on_trouble):
            image = draw(record.matrix, folder.class_names, title)
    return Draft(
        name=title,
        status=content.RUN_STATUS[record.state],
        start_ms=content.to_ms(record.started_s),
        end_ms=content.to_ms(record.ended_s),
        tags=tags,
        params=content.record_params(folder, record),
        points=content.record_points(record, names),
        files=files,
        image=image,
    )


def write_run(client: Any, experiment_id: str, draft: Draft, *, dataset: Any, sha: str) -> str:
    """Write a run and, last of all, that it is whole.

    Args:
        client: An `MlflowClient`.
        experiment_id: Where.
        draft: What.
        dataset: The images, as MLflow's `DatasetInput`.
        sha: Hash of the record's file.

    Returns:
        The run's id.
    """
    n_files = len(list(draft.files.iterdir())) + _FILES_AN_IMAGE * (draft.image is not None)
    run = client.create_run(
        experiment_id,
        start_time=draft.start_ms,
        tags=draft.tags | {_N_FILES_TAG: str(n_files)},
        run_name=draft.name,
    )
    run_id: str = run.info.run_id
    _log_values(client, run_id, draft)
    client.log_inputs(run_id, datasets=[dataset])
    client.log_artifacts(run_id, str(draft.files))
    if draft.image is not None:
        # Only images logged by key are compared in MLflow's image grid.
        client.log_image(
            run_id,
            draft.image,
            key="confusion_matrix",
            step=0,
            timestamp=draft.end_ms,
            synchronous=True,
        )
        _enlarge_thumbnail(client, run_id, draft.image)
    client.set_terminated(run_id, draft.status, end_time=draft.end_ms)
    client.set_tag(run_id, content.WHOLE_TAG, sha)
    return run_id


def _write(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file, or none where a part fails: what lies in the folder goes into the run."""
    try:
        with path.open("wb") as stream:
            stream.writelines(parts)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def files_are_there(run: Any, *, n_least: int = 1) -> bool:
    """Whether a run's own folder holds as many files as were written; a server's is not asked.

    Args:
        run: MLflow's run.
        n_least: Where the run does not say how many.
    """
    folder = local_folder(run.info.artifact_uri)
    if folder is None:
        return True
    text = run.data.tags.get(_N_FILES_TAG, "")
    wanted = int(text) if text.isdecimal() else n_least
    return sum(len(names) for _, _, names in os.walk(folder)) >= wanted


def log_files(client: Any, run_id: str, files: Mapping[str, bytes]) -> None:
    """Log files by name as artifacts, in one call."""
    with TemporaryDirectory() as place:
        for name, content in files.items():
            (Path(place) / name).write_bytes(content)
        client.log_artifacts(run_id, place)


def _enlarge_thumbnail(client: Any, run_id: str, image: Image) -> None:
    """Replace the small picture that the grid shows; at MLflow's 256 pixels nobody can read it."""
    picture = PIL.Image.fromarray(image)
    picture.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX), PIL.Image.Resampling.LANCZOS)
    with TemporaryDirectory() as place:
        for file in client.list_artifacts(run_id, "images"):
            if file.path.endswith(".webp"):
                local = Path(place) / Path(file.path).name
                picture.save(local, lossless=True, quality=0, method=1)  # four times as fast
                client.log_artifact(run_id, str(local), "images")


def _log_values(client: Any, run_id: str, draft: Draft) -> None:
    from mlflow.entities import Metric, Param

    params = [Param(*item) for item in draft.params.items()]
    metrics = [Metric(*point) for point in draft.points]
    for start in range(0, max(len(metrics), 1), _METRICS_A_CALL):
        client.log_batch(
            run_id,
            metrics=metrics[start : start + _METRICS_A_CALL],
            params=params if start == 0 else [],
            synchronous=True,
        )


@contextmanager
def _left_out(what: str, on_trouble: Callable[[str], None]) -> Iterator[None]:
    """Let a record be kept without a part that cannot be made."""
    try:
        yield
    except (TunerError, ValueError, KeyError, OSError, RuntimeError, BadZipFile) as error:
        on_trouble(f"MLflow gets {what}: {short_reason(error)}")
