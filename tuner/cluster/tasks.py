"""What a worker does on its node, from a job that can be sent there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.config import StudyConfig
from tuner.errors import StudyError
from tuner.home import Home

if TYPE_CHECKING:
    from tuner.features.backbone import Extractor
    from tuner.features.device import Device
    from tuner.features.extract import ViewOf
    from tuner.features.source import FeatureSource

_EXTRACTORS: dict[str, Extractor] = {}  # built once in a process, which Ray gives many tasks


@dataclass(frozen=True)
class Job:
    """Everything that a worker has to know; all of it can be sent.

    Attributes:
        config: The resolved study file.
        home: The home, on a file system of all nodes.
        folder: Working directory, from which relative paths of the study start.
        bank: Name of the feature bank that the study uses.
        bank_identity: What that bank's numbers depend on.
        storage: Optuna's database.
        tracking_uri: MLflow's server, or None for the environment or the home.
    """

    config: StudyConfig
    home: Path
    folder: Path
    bank: str
    bank_identity: tuple[tuple[str, str | int], ...]
    storage: str
    tracking_uri: str | None


def find_worker_device() -> Device:
    """What the workers compute on; the machine that starts a study may have no card."""
    from tuner.features.device import find_device

    return find_device()


def extract(job: Job, chunks: Sequence[Sequence[ViewOf]]) -> int:
    """Compute and write whole chunks of the bank; returns the number of rows."""
    source = _open_source(job)
    source.bank.refresh()  # an earlier try of this task may have written some of them
    missing = [chunk for chunk in chunks if source.bank.missing(_keys(source, chunk))]
    if job.bank not in _EXTRACTORS:
        _EXTRACTORS[job.bank] = source.extractor()
    return source.fill_chunks(missing, _EXTRACTORS[job.bank], on_progress=lambda progress: None)


def work(job: Job) -> None:
    """Train trials of the study until all workers together have met its budget."""
    import signal
    import threading

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    from tuner.home.founding import data_root
    from tuner.home.listener import QuietListener
    from tuner.home.study_folder import find_study
    from tuner.search.journal import open_storage
    from tuner.search.study import open_search
    from tuner.search.workers.worker import join_study, run_worker
    from tuner.tracking.mirror import make_recorder
    from tuner.training.inputs import LiveSource, load_inputs

    source = _open_source(job)
    home = Home(job.home)
    folder = find_study(home, job.config.name)
    storage: Any = open_storage(home, job.storage)
    listener = QuietListener()
    join_study(storage, job.config, folder, bank=source.bank.identity, on_message=listener.message)
    live, root = None, data_root(job.config, home)
    if job.config.training.mode == "live" and root is not None:
        live = LiveSource(root, source.backbone())
    inputs = load_inputs(
        job.config,
        folder.images,
        source.bank,
        class_names=tuple(folder.class_names),
        live=live,
    )
    search = open_search(
        storage,
        config=job.config,
        inputs=inputs,
        folder=folder,
        recorder=make_recorder(home, job.tracking_uri, on_trouble=listener.message),
        listener=listener,
        environment=source.environment,
    )
    with folder.locked(alone=False):
        run_worker(search, storage)


def _open_source(job: Job) -> FeatureSource:
    """The feature bank from this node.

    Raises:
        StudyError: If this node would compute other numbers.
    """
    os.chdir(job.folder)
    from tuner.features.source import open_features
    from tuner.features.weights.resolve import resolve_weights

    weights = resolve_weights(job.config.backbone.weights)
    source = open_features(
        job.config, Home(job.home), weights=weights, device=find_worker_device()
    )
    if source.bank.folder.name != job.bank:
        from tuner.search.workers.membership import differences

        raise StudyError(
            "a node would not compute the numbers of the others: "
            + differences(source.bank.identity, dict(job.bank_identity)),
            where=f"node {os.uname().nodename}",
            do="install the same versions, weights and backend on all nodes",
        )
    return source


def _keys(source: FeatureSource, chunk: Sequence[ViewOf]) -> list[str]:
    from tuner.features.views import view_key

    augmentation = source.config.augmentation
    return [view_key(row.sha256, row.view, augmentation=augmentation) for row in chunk]
