"""Find the treatment of class imbalance that helps your rare classes, and by how much.

`Study` is the door: from images over a search and its verdict to a model. Everything that is not
listed in `__all__` may change without notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.lazy import loads_on_use

if TYPE_CHECKING:
    from tuner.errors import TunerError
    from tuner.evaluation.intervals import macro_recall_interval
    from tuner.home.listener import Listener
    from tuner.imbalance.adjustment import adjust_logits
    from tuner.imbalance.rows import training_rows
    from tuner.imbalance.weights import class_weights
    from tuner.study.export import Export
    from tuner.study.model import Model
    from tuner.study.plots import plot_confusion_matrix, plot_history, plot_recall
    from tuner.study.study import Study
    from tuner.study.trial import Trial
    from tuner.training.losses import FocalLoss

# Where each public name lives; it is loaded on use, and with it only what it needs.
_PLACES = {
    "Export": "tuner.study.export",
    "FocalLoss": "tuner.training.losses",
    "Listener": "tuner.home.listener",
    "Model": "tuner.study.model",
    "Study": "tuner.study.study",
    "Trial": "tuner.study.trial",
    "TunerError": "tuner.errors",
    "adjust_logits": "tuner.imbalance.adjustment",
    "class_weights": "tuner.imbalance.weights",
    "macro_recall_interval": "tuner.evaluation.intervals",
    "plot_confusion_matrix": "tuner.study.plots",
    "plot_history": "tuner.study.plots",
    "plot_recall": "tuner.study.plots",
    "training_rows": "tuner.imbalance.rows",
}

__all__ = [
    "Export",
    "FocalLoss",
    "Listener",
    "Model",
    "Study",
    "Trial",
    "TunerError",
    "adjust_logits",
    "class_weights",
    "macro_recall_interval",
    "plot_confusion_matrix",
    "plot_history",
    "plot_recall",
    "training_rows",
]


__getattr__ = loads_on_use(__name__, _PLACES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
