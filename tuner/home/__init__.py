"""What lies on disk: studies, images, records, the seal. Neither Optuna nor Keras is loaded."""

from tuner.home.home import Home

__all__ = ["Home"]
