"""Where in MLflow's UI a study is to be seen."""

from __future__ import annotations

from urllib.parse import urlencode


def comparison_path(tracking_uri: str, study: str) -> str:
    """Path below the server's address at which the runs of a study are compared.

    The chart page of the study's experiment: trials and baselines by macro recall, best first,
    beside charts of every metric and the grid of confusion matrices. The study's own run is
    filtered out, because MLflow folds all others below it.

    Returns:
        "/" and what follows; the start page when MLflow does not know the study.
    """
    from tuner.tracking.connection import connect, tracking_errors

    with tracking_errors(tracking_uri):
        experiment = connect(tracking_uri).get_experiment_by_name(study)
    if experiment is None:
        return "/"
    query = {
        "searchFilter": "tags.`tuner.kind` != 'study' AND tags.`tuner.kind` != 'confirm'",
        "orderByKey": "metrics.`macro_recall`",
        "orderByAsc": "false",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "compareRunsMode": "CHART",
        "workflowType": "machine_learning",
    }
    return f"/#/experiments/{experiment.experiment_id}/runs?{urlencode(query)}"
