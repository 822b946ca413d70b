"""A model for `mlflow models serve`: picture files in, classes out."""
