"""The hall: one `Study`, of which command line, notebooks, scripts and clusters are clients.

What they need beside it is named here, too, so that none of them reaches into the rooms below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.lazy import loads_on_use

if TYPE_CHECKING:
    from tuner.data.image_table import ImageTable
    from tuner.data.near_duplicates.leaks import leak_sentence
    from tuner.evaluation.intervals import macro_recall_standard_error
    from tuner.evaluation.metrics import class_table
    from tuner.ground import find_backend
    from tuner.home import Home
    from tuner.home.confirmation import Confirmation, Tested, Tried
    from tuner.home.free import FreeBaseline
    from tuner.home.listener import Epoch, Listener, Progress
    from tuner.home.records import Record, finished_trials, winner
    from tuner.home.study_folder import StudyFolder
    from tuner.search.database import is_shared
    from tuner.setting import Setting
    from tuner.study.export import Export, load_export
    from tuner.study.model import Model
    from tuner.study.pages import mlflow_pages, optuna_page, prepare_mlflow
    from tuner.study.places import find_home, names_of_studies
    from tuner.study.study import Study
    from tuner.study.trial import Trial
    from tuner.study.verbs.check import Check, UngroupedError, cost_sentence
    from tuner.study.verbs.draft import Draft, draft_study
    from tuner.study.where import Job, Where

_PLACES = {
    "Check": "tuner.study.verbs.check",
    "Confirmation": "tuner.home.confirmation",
    "Draft": "tuner.study.verbs.draft",
    "Epoch": "tuner.home.listener",
    "Export": "tuner.study.export",
    "FreeBaseline": "tuner.home.free",
    "Home": "tuner.home",
    "ImageTable": "tuner.data.image_table",
    "Job": "tuner.study.where",
    "Listener": "tuner.home.listener",
    "Model": "tuner.study.model",
    "Progress": "tuner.home.listener",
    "Record": "tuner.home.records",
    "Setting": "tuner.setting",
    "Study": "tuner.study.study",
    "StudyFolder": "tuner.home.study_folder",
    "Tested": "tuner.home.confirmation",
    "Trial": "tuner.study.trial",
    "Tried": "tuner.home.confirmation",
    "UngroupedError": "tuner.study.verbs.check",
    "Where": "tuner.study.where",
    "class_table": "tuner.evaluation.metrics",
    "cost_sentence": "tuner.study.verbs.check",
    "draft_study": "tuner.study.verbs.draft",
    "find_backend": "tuner.ground",
    "find_home": "tuner.study.places",
    "finished_trials": "tuner.home.records",
    "is_shared": "tuner.search.database",
    "leak_sentence": "tuner.data.near_duplicates.leaks",
    "load_export": "tuner.study.export",
    "macro_recall_standard_error": "tuner.evaluation.intervals",
    "mlflow_pages": "tuner.study.pages",
    "optuna_page": "tuner.study.pages",
    "prepare_mlflow": "tuner.study.pages",
    "names_of_studies": "tuner.study.places",
    "winner": "tuner.home.records",
}

__all__ = [
    "Check",
    "Confirmation",
    "Draft",
    "Epoch",
    "Export",
    "FreeBaseline",
    "Home",
    "ImageTable",
    "Job",
    "Listener",
    "Model",
    "Progress",
    "Record",
    "Setting",
    "Study",
    "StudyFolder",
    "Tested",
    "Trial",
    "Tried",
    "UngroupedError",
    "Where",
    "class_table",
    "cost_sentence",
    "draft_study",
    "find_backend",
    "find_home",
    "finished_trials",
    "is_shared",
    "leak_sentence",
    "load_export",
    "macro_recall_standard_error",
    "mlflow_pages",
    "names_of_studies",
    "optuna_page",
    "prepare_mlflow",
    "winner",
]


__getattr__ = loads_on_use(__name__, _PLACES)
