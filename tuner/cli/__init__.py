"""The command line."""

from tuner.cli.app import main

__all__ = ["main"]
