"""All figures: each computes or takes a small table, then draws it on axes."""

from tuner.report.figures.confusion import confusion_matrix_image, plot_confusion_matrix
from tuner.report.figures.curves import curve_table, plot_curves
from tuner.report.figures.heat_map import heat_map_table, plot_heat_map
from tuner.report.figures.history import history_table, plot_history
from tuner.report.figures.hyperparameters import hyperparameter_table, plot_hyperparameter
from tuner.report.figures.recall import gain_table, plot_gain, plot_recall, recall_table
from tuner.report.figures.retest import plot_seeds, seed_table

__all__ = [
    "confusion_matrix_image",
    "curve_table",
    "gain_table",
    "heat_map_table",
    "history_table",
    "hyperparameter_table",
    "plot_confusion_matrix",
    "plot_curves",
    "plot_gain",
    "plot_heat_map",
    "plot_history",
    "plot_hyperparameter",
    "plot_recall",
    "plot_seeds",
    "recall_table",
    "seed_table",
]
