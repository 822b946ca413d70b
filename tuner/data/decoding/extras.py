"""Packages that read what Pillow alone cannot, and the command that installs each."""

from __future__ import annotations

import importlib
from typing import Any


class UnreadableError(ValueError):
    """A file is whole, and what it holds is not read; the text goes on from "image …"."""


def load(package: str, *, extra: str, what: str) -> Any:
    """A module of an extra.

    Args:
        package: Its name to Python.
        extra: The extra of this package that brings it.
        what: What the file is, for the message.

    Raises:
        UnreadableError: If it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        command = f"pip install 'imbalance-tuner[{extra}]'"
        raise UnreadableError(f"is {what}, which takes: {command}") from error
