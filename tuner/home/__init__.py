"""What lies on disk: studies, images, records, the seal; and who is told or keeps what happens.

Neither Optuna nor Keras is loaded.
"""

from tuner.home.home import Home

__all__ = ["Home"]
