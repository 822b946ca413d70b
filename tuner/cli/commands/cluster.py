"""``tuner run --ray``: the same study with its work on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tuner.cli.show.terminal import say_fact
from tuner.home import Home

if TYPE_CHECKING:
    from tuner.cli.commands.run import RunOptions
    from tuner.cluster.ray_cluster import RayCluster
    from tuner.cluster.tasks import Job
    from tuner.config import StudyConfig
    from tuner.features.source import FeatureSource
    from tuner.home.founding import Opened
    from tuner.home.listener import Listener


@contextmanager
def start_cluster(options: RunOptions, console: Console) -> Iterator[RayCluster | None]:
    """The Ray cluster of a run; None for a run on this machine alone."""
    if options.ray is None:
        yield None
        return
    from tuner.cluster.ray_cluster import RayCluster

    with console.status("connecting to Ray"):
        cluster = RayCluster(
            options.ray, workers=options.workers, gpus_per_worker=options.gpus_per_worker
        )
    try:
        say_fact(console, "ray", f"{options.ray}, {cluster}")
        yield cluster
    finally:
        cluster.close()


def on_cluster(
    source: FeatureSource, cluster: RayCluster, home: Home, options: RunOptions
) -> FeatureSource:
    """The same bank, filled by the cluster."""
    job = make_job(source.config, source, home, options)
    return replace(
        source,
        fill_with=lambda _, chunks, on_progress: cluster.extract(job, chunks, on_progress),
    )


def search_on_cluster(
    cluster: RayCluster,
    storage: Any,
    opened: Opened,
    source: FeatureSource,
    listener: Listener,
    home: Home,
    options: RunOptions,
) -> None:
    """Let the workers of a cluster search, and show what they do."""
    from tuner.search.study import open_optuna_study
    from tuner.search.workers.watch import Watch

    config = opened.config
    study = open_optuna_study(storage, config)
    watch = Watch(study, opened.folder, n_trials=config.search.trials, listener=listener)
    cluster.search(make_job(config, source, home, options), watch.look)


def make_job(config: StudyConfig, source: FeatureSource, home: Home, options: RunOptions) -> Job:
    """What the tasks of this run have to know."""
    from tuner.cluster.tasks import Job

    return Job(
        config=config,
        home=home.path,
        folder=Path.cwd(),
        bank=source.bank.folder.name,
        bank_identity=tuple(source.bank.identity.items()),
        storage=str(options.storage),
        tracking_uri=options.tracking_uri,
    )
