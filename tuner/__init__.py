"""Experiment-tracking hyperparameter tuner for class-imbalanced image classification."""
