"""Which rows are trained on, and how much each counts."""
