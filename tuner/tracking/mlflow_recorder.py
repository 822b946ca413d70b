"""MLflow as a mirror of a study's folder.

One experiment per study, one run for the study, one child run per record. A run is written as
a whole from a record that is on disk, so recording a search and restoring one years later
(`sync_study`) are the same. A run counts as whole when the tag `tuner.record_sha`, set last,
holds the hash of the record's file and its artifacts are there; anything less is deleted and
written again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tuner.errors import TrackingError, TunerError
from tuner.files import is_held, turn
from tuner.home.confirmation import load_confirmation
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder
from tuner.tracking import content
from tuner.tracking.connection import (
    connect,
    keeps_its_own_artifacts,
    open_experiment,
    tracking_errors,
)
from tuner.tracking.dataset import dataset_input
from tuner.tracking.description import describe
from tuner.tracking.names import safe_names
from tuner.tracking.runs import Draw, draft_run, files_are_there, log_files, write_run
from tuner.tracking.tables import class_names_json
from tuner.tracking.views import saved_views

_RUNS_A_PAGE = 500
_STUDY_FILES = ("study.yaml", "images.csv", "about.json")
_LATER_FILES = ("free.json", "confirmation.json")  # there once a study has come so far
_FILES_TAG = "tuner.files_sha"
_FAULTS_IN_A_ROW = 3


@dataclass
class _Mirror:
    """What is known of a study in MLflow; dropped and read again after a failure.

    Attributes:
        experiment_id: Its experiment.
        parent_id: Its own run.
        names: Safe class names.
        dataset: The images, as MLflow's `DatasetInput`.
        files_sha: Hash of the study's files that the run holds.
        runs: By record, each run's id with the hash it was made from; None while not whole.
    """

    experiment_id: str
    parent_id: str
    names: list[str]
    dataset: Any
    files_sha: str | None = None
    runs: dict[str, list[tuple[str, str | None]]] = field(default_factory=dict)


class MlflowRecorder:
    """Writes studies to MLflow; implements `tuner.home.recorder.Recorder`.

    Nothing is imported or reached before the first call. Not for many threads at once.

    Args:
        tracking_uri: A database (`sqlite:///…`) or a server (`http://…`).
        artifacts: Folder for artifacts when `tracking_uri` is a database; a server has its own.
        draw_confusion_matrix: From counts, class names and title to uint8 (height, width, 3).
        on_trouble: Told what could not be kept but does not stop the rest.
    """

    def __init__(
        self,
        tracking_uri: str,
        *,
        artifacts: Path | None,
        draw_confusion_matrix: Draw,
        on_trouble: Callable[[str], None],
    ) -> None:
        self._uri = tracking_uri
        self._artifacts = None if keeps_its_own_artifacts(tracking_uri) else artifacts
        self._draw = draw_confusion_matrix
        self._on_trouble = on_trouble
        self._mirrors: dict[Path, _Mirror] = {}
        self._connected: Any = None

    def open_study(self, folder: StudyFolder) -> None:
        """Show the study as running.

        Raises:
            TrackingError: If MLflow cannot be reached.
        """
        self._mirrors.pop(folder.path, None)
        with self._using(folder) as mirror:
            self._client.update_run(mirror.parent_id, status="RUNNING")
            self._describe(folder, mirror)
            self._write_leak(folder, mirror)

    def record(self, folder: StudyFolder, record: Record) -> None:
        """Write the record's run, unless it is there.

        Raises:
            TrackingError: If MLflow cannot be reached.
        """
        self.write(folder, record)

    def write(self, folder: StudyFolder, record: Record) -> bool:
        """Write the record's run, unless it is there; whether it had to be written.

        Raises:
            TrackingError: If MLflow cannot be reached.
        """
        with self._using(folder) as mirror:
            file = folder.records_path / f"{record.name}.json"
            sha = hashlib.sha256(file.read_bytes()).hexdigest()
            runs = mirror.runs.get(record.name, [])
            whole = next((run for run in runs if run[1] == sha), None)
            for run in runs:
                if run != whole:
                    self._delete(run[0])
            is_new = whole is None
            if whole is None:
                whole = (self._write_run(folder, record, mirror, sha=sha), sha)
            mirror.runs[record.name] = [whole]
            return is_new

    def close_study(self, folder: StudyFolder, *, is_finished: bool | None) -> None:
        """Show the study as finished, as interrupted (MLflow's KILLED), or with None as it is.

        Raises:
            TrackingError: If MLflow cannot be reached.
        """
        if is_finished is None:
            return
        with self._using(folder) as mirror:
            self._write_study_files(folder, mirror)
            records = self._describe(folder, mirror)
            last_s = max((record.ended_s for record in records), default=time.time())
            status = "FINISHED" if is_finished else "KILLED"
            self._client.set_terminated(mirror.parent_id, status, end_time=content.to_ms(last_s))

    def attach(self, folder: StudyFolder, name: str, text: str) -> None:
        """Keep a text, such as the report, as an artifact of the study's own run.

        Raises:
            TrackingError: If MLflow cannot be reached.
        """
        with self._using(folder) as mirror:
            log_files(self._client, mirror.parent_id, {name: text.encode()})

    @property
    def _client(self) -> Any:
        if self._connected is None:
            self._connected = connect(self._uri)
        return self._connected

    @contextmanager
    def _using(self, folder: StudyFolder) -> Iterator[_Mirror]:
        with tracking_errors(self._uri):
            try:
                if folder.path not in self._mirrors:
                    # In turn, or two workers would begin two runs of one study.
                    with turn(folder.turn_path("mlflow")):
                        self._mirrors[folder.path] = self._read(folder)
                yield self._mirrors[folder.path]
            except BaseException:
                # What was written before the failure is unknown.
                self._mirrors.pop(folder.path, None)
                raise

    def _read(self, folder: StudyFolder) -> _Mirror:
        place = None if self._artifacts is None else self._artifacts.absolute() / folder.name
        experiment_id = open_experiment(
            self._client,
            folder.name,
            uri=self._uri,
            location=None if place is None else place.as_uri(),
            on_trouble=self._on_trouble,
        )
        runs = list(self._search(experiment_id, study_id=content.study_id(folder)))
        parents = [run for run in runs if run.data.tags.get("tuner.kind") == "study"]
        parent = parents[0] if parents else self._create_parent(folder, experiment_id)
        for twin in parents[1:]:
            self._delete(twin.info.run_id)
        names = safe_names(folder.class_names)
        has_files = files_are_there(parent, n_least=len(_STUDY_FILES))
        mirror = _Mirror(
            experiment_id=experiment_id,
            parent_id=parent.info.run_id,
            names=names,
            dataset=dataset_input(folder),
            files_sha=parent.data.tags.get(_FILES_TAG) if has_files else None,
        )
        self._write_study_files(folder, mirror)
        for run in runs:
            tags = run.data.tags
            is_ours = tags.get("mlflow.parentRunId") == mirror.parent_id
            is_whole = is_ours and run.info.status != "RUNNING" and files_are_there(run)
            if content.RECORD_TAG in tags:
                known = mirror.runs.setdefault(tags[content.RECORD_TAG], [])
                known.append((run.info.run_id, tags.get(content.WHOLE_TAG) if is_whole else None))
        return mirror

    def _search(self, experiment_id: str, *, study_id: str) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs(
                [experiment_id],
                f"tags.`{content.STUDY_TAG}` = '{study_id}'",
                max_results=_RUNS_A_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def _create_parent(self, folder: StudyFolder, experiment_id: str) -> Any:
        return self._client.create_run(
            experiment_id,
            start_time=content.to_ms(content.created_s(folder)),
            tags=content.parent_tags(folder),
            run_name=folder.name,
        )

    def _write_study_files(self, folder: StudyFolder, mirror: _Mirror) -> None:
        later = [name for name in _LATER_FILES if (folder.path / name).exists()]
        files = {n: (folder.path / n).read_bytes() for n in (*_STUDY_FILES, *later)}
        whole = hashlib.sha256()
        for part in files.values():
            whole.update(part)
        sha = whole.hexdigest()
        if sha == mirror.files_sha:
            return
        files["class_names.json"] = class_names_json(folder.class_names, mirror.names).encode()
        log_files(self._client, mirror.parent_id, files)
        self._client.log_inputs(mirror.parent_id, datasets=[mirror.dataset])
        self._write_confirmation(folder, mirror)
        self._client.set_tag(mirror.parent_id, _FILES_TAG, sha)
        mirror.files_sha = sha

    def _write_confirmation(self, folder: StudyFolder, mirror: _Mirror) -> None:
        done = load_confirmation(folder)
        if done is None:
            return
        self._client.set_tag(mirror.parent_id, "tuner.verdict", done.verdict.sentence)
        for key, value in content.confirmation_metrics(done).items():
            self._client.log_metric(mirror.parent_id, key, value, step=done.opening)

    def _write_leak(self, folder: StudyFolder, mirror: _Mirror) -> None:
        """What is known of near-duplicates, each time a study is opened: it may be looked for."""
        leak, metrics = content.leak_content(folder)
        if leak:
            self._client.set_tag(mirror.parent_id, "tuner.leak", leak)
        for key, value in metrics.items():
            self._client.log_metric(mirror.parent_id, key, value)

    def _describe(self, folder: StudyFolder, mirror: _Mirror) -> list[Record]:
        records, _ = content.read_records(folder)
        note = describe(folder, records)
        self._client.set_tag(mirror.parent_id, "mlflow.note.content", note)
        run_ids = {name: runs[0][0] for name, runs in mirror.runs.items() if runs}
        views = saved_views(folder, records, names=mirror.names, run_ids=run_ids)
        self._keep_views(mirror, views)
        return records

    def _keep_views(self, mirror: _Mirror, views: dict[str, str]) -> None:
        """Save how the UI shows the study; an older server may not take tags of that length."""
        from mlflow.exceptions import MlflowException

        try:
            for key, view in views.items():
                self._client.set_experiment_tag(mirror.experiment_id, key, view)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            self._on_trouble("this MLflow server keeps no views; tuner ui opens its plain charts")

    def _write_run(self, folder: StudyFolder, record: Record, mirror: _Mirror, *, sha: str) -> str:
        with TemporaryDirectory() as place:
            draft = draft_run(
                folder,
                record,
                files=Path(place),
                names=mirror.names,
                parent_id=mirror.parent_id,
                draw=self._draw,
                on_trouble=self._on_trouble,
            )
            return write_run(
                self._client, mirror.experiment_id, draft, dataset=mirror.dataset, sha=sha
            )

    def _delete(self, run_id: str) -> None:
        self._client.set_terminated(run_id, "FAILED")  # nothing is RUNNING, even in the trash
        self._client.delete_run(run_id)


def sync_study(folder: StudyFolder, recorder: MlflowRecorder) -> int:
    """Write everything that MLflow lacks of a study (`tuner sync`); safe while the study runs.

    Args:
        folder: The study.
        recorder: Where to write.

    Returns:
        How many runs had to be written.

    Raises:
        TrackingError: If MLflow cannot be reached, or when some records could not be written;
            all others are.
    """
    recorder.open_study(folder)
    records, damaged = content.read_records(folder)
    faults: list[TunerError] = [*damaged]
    written = in_a_row = 0
    for record in records:
        try:
            written += recorder.write(folder, record)
            in_a_row = 0
        except TrackingError as fault:
            faults.append(fault)
            in_a_row += 1
            if in_a_row == _FAULTS_IN_A_ROW:
                break
    if not is_held(folder.lock_path):
        n_finished = sum(r.is_finished_trial for r in records)
        recorder.close_study(folder, is_finished=n_finished >= folder.config.search.trials)
    if not faults:
        return written
    first = faults[0]
    raise TrackingError(
        f"records of study '{folder.name}' are missing in MLflow "
        f"({written} written, {len(faults)} failed): {first.what}",
        where=first.where,
        do=first.do,
    ) from first
