"""Where in MLflow's UI a study is to be seen."""

from __future__ import annotations

import json
from urllib.parse import quote

_MOST_COMPARED = 30  # a longer address is refused by some browsers and proxies


def comparison_path(tracking_uri: str, study: str) -> str:
    """Path below the server's address at which the runs of a study are compared.

    Returns:
        "/" and what follows; the start page when MLflow does not know the study.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        return "/"
    found = client.search_runs(
        [experiment.experiment_id],
        filter_string="tags.`tuner.kind` != 'study'",
        order_by=["metrics.objective DESC"],
        max_results=_MOST_COMPARED,
    )
    runs = quote(json.dumps([run.info.run_id for run in found]))
    experiments = quote(json.dumps([experiment.experiment_id]))
    return f"/#/compare-runs?runs={runs}&experiments={experiments}"
