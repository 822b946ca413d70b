"""The MLflow mirror; the only room that imports MLflow."""
