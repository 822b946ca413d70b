"""``tuner run``: from a study file to finished trials."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from tuner.cli import options

Trials = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--trials", min=1, help="Finished trials in all, over every start."),
]
Storage = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--storage", help="Optuna store by URL (default: the home's journal)."),
]
Ray = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Workers on a Ray cluster (without an address: $RAY_ADDRESS, or one made here).",
    ),
]
Workers = Annotated[
    int, typer.Option("--workers", min=1, help="With --ray: tasks that train at once.")
]
Gpus = Annotated[
    float, typer.Option("--gpus-per-worker", min=0, help="With --ray: share of a card of each.")
]
Live = Annotated[
    bool, typer.Option("--live", help="Train on images with fresh views, not on cached features.")
]
Demo = Annotated[bool, typer.Option("--demo", hidden=True)]
Events = Annotated[
    bool, typer.Option("--json", help="Print events and the result as JSON, one a line.")
]


def run(
    context: typer.Context,
    study: options.Study,
    trials: Trials = None,
    overrides: options.Set = None,
    home: options.Home = None,
    tracking_uri: options.Tracking = None,
    storage: Storage = None,
    ray: Ray = None,
    workers: Workers = 1,
    gpus_per_worker: Gpus = 0.0,
    quiet: options.Quiet = False,
    live: Live = False,
    demo: Demo = False,
    as_json: Events = False,
) -> None:
    """Start a study or go on with it, up to its number of trials.

    Example:  tuner run studies/steel.yaml --trials 60
    """
    from tuner.cli.show.run import overrides_of, print_result, refuse_unfit, run_listener
    from tuner.cluster.ray_cluster import cluster_of
    from tuner.study import Study, find_home

    find_home(home)
    refuse_unfit(context.params)
    with run_listener(context.params) as listener:
        opened = Study(
            study,
            home=home,
            overrides=overrides_of(context.params),
            listener=listener,
            tracking_uri=tracking_uri,
            storage=storage,
        )
        with cluster_of(ray, listener, workers=workers, gpus_per_worker=gpus_per_worker) as where:
            opened.run(where=where, or_random=demo)
    print_result(opened, context.params)
