"""What a worker does on its node, from a job that can be sent there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuner.errors import StudyError
from tuner.home import Home
from tuner.study import Job

if TYPE_CHECKING:
    from tuner.config import StudyConfig
    from tuner.features.bank_index import RowNames
    from tuner.features.device import Device
    from tuner.features.engines.engine import Engine
    from tuner.features.source import FeatureSource
    from tuner.features.wanted import ViewOf

_ENGINES: dict[str, Engine] = {}  # built once in a process, which Ray gives many tasks


def find_worker_device(config: StudyConfig) -> Device:
    """What the workers compute on; the machine that starts a study may have no card."""
    from tuner.ground import find_backend

    return find_backend(config)


def extract(job: Job, chunks: Sequence[Sequence[ViewOf]]) -> int:
    """Compute and write whole chunks of the bank; returns the number of rows."""
    source = _open_source(job)
    source.bank.refresh()  # an earlier try of this task may have written some of them
    missing = [chunk for chunk in chunks if source.bank.lacks(_names(source, chunk)).any()]
    if job.bank not in _ENGINES:
        _ENGINES[job.bank] = source.engine()
    return source.fill_chunks(missing, _ENGINES[job.bank], on_progress=lambda progress: None)


def work(job: Job) -> None:
    """Train trials of the study until all workers together have met its budget."""
    import signal
    import threading

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    from tuner.home.listener import LogListener
    from tuner.study.verbs.run import work_on

    work_on(job, _open_source(job), LogListener())


def _open_source(job: Job) -> FeatureSource:
    """The feature bank from this node.

    Raises:
        StudyError: If this node would compute other numbers.
    """
    os.chdir(job.directory)
    device = find_worker_device(job.config)
    from tuner.features.own_backbone import resolve_backbone
    from tuner.features.source import open_features

    weights = resolve_backbone(job.config.backbone)
    source = open_features(job.config, Home(job.home), weights=weights, device=device)
    if source.bank.folder.name != job.bank:
        from tuner.search.workers.membership import differences

        raise StudyError(
            "a node would not compute the numbers of the others: "
            + differences(source.bank.identity, dict(job.bank_identity)),
            where=f"node {os.uname().nodename}",
            do="install the same versions, weights and backend on all nodes",
        )
    return source


def _names(source: FeatureSource, chunk: Sequence[ViewOf]) -> RowNames:
    from tuner.features.wanted import names_of

    return names_of(chunk, source.config.augmentation)
