"""Where studies are to be seen: MLflow's UI, and optuna-dashboard."""

from __future__ import annotations

from tuner.home import Home


def mlflow_pages(tracking_uri: str, study: str) -> list[str]:
    """Paths below MLflow's address at which the runs of a study are compared."""
    from tuner.tracking.address import comparison_paths

    return comparison_paths(tracking_uri, study)


def prepare_mlflow() -> None:
    """Settings that MLflow reads from the environment; the user's own win."""
    from tuner.tracking.connection import prepare_environment

    prepare_environment()


def optuna_page(home: Home, study: str) -> str:
    """Where the dashboard shows a study; its start page where the journal has no such study."""
    from tuner.search.journal import open_storage

    try:
        return f"/dashboard/studies/{open_storage(home).get_study_id_from_name(study)}"
    except KeyError:
        return "/dashboard/"
