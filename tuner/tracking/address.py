"""Where in MLflow's UI a study is to be seen."""

from __future__ import annotations

from urllib.parse import urlencode

from tuner.tracking.views import ALL_RUNS, SHORT_LIST, TAG


def comparison_paths(tracking_uri: str, study: str) -> list[str]:
    """Paths below the server's address at which the runs of a study are compared.

    The chart page of the study's experiment: trials and baselines by macro recall, best first,
    beside confusion matrices, the four hyperparameters, recall and curves of the rarest classes
    (`tuner.tracking.views`). The study's own run is filtered out, because MLflow folds all
    others below it.

    Returns:
        "/" and what follows: all runs, then the winner and the baselines where a winner is
        known; the start page when MLflow does not know the study.
    """
    from tuner.tracking.connection import connect, tracking_errors

    with tracking_errors(tracking_uri):
        experiment = connect(tracking_uri).get_experiment_by_name(study)
    if experiment is None:
        return ["/"]
    place = f"/#/experiments/{experiment.experiment_id}/runs"
    page = {"compareRunsMode": "CHART", "workflowType": "machine_learning"}
    views = [key for key in (ALL_RUNS, SHORT_LIST) if f"{TAG}{key}" in experiment.tags]
    if views:
        # A filter in the address would win over the whole view.
        return [f"{place}?{urlencode({'viewStateShareKey': key, **page})}" for key in views]
    query = {
        "searchFilter": "tags.`tuner.kind` != 'study' AND tags.`tuner.kind` != 'confirm'",
        "orderByKey": "metrics.`macro_recall`",
        "orderByAsc": "false",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        **page,
    }
    return [f"{place}?{urlencode(query)}"]
