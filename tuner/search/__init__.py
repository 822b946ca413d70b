"""The Optuna study; the only room that imports Optuna."""
