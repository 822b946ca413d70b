"""Figures and pages; the only room that imports matplotlib."""

from tuner.environment import prepare_environment

prepare_environment()  # before matplotlib is imported
