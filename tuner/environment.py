"""What libraries read from the environment when first imported, made fit for this process."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

_MODULE = "module://"
_BACKEND = "tensorflow"  # Keras's own default


def prepare_environment() -> None:
    """Settings that libraries read when first imported; the user's own win where they can work.

    To be called before Keras, TensorFlow, JAX or matplotlib is imported.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    _drop_missing_backend()


def keras_backend() -> str:
    """Name of the backend that Keras would take; Keras is not loaded for it."""
    if named := os.environ.get("KERAS_BACKEND"):
        return named
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        settings = json.loads((home / "keras.json").read_text())
    except (OSError, ValueError):
        return _BACKEND
    named = settings.get("backend", _BACKEND) if isinstance(settings, dict) else _BACKEND
    return str(named)


def _drop_missing_backend() -> None:
    """Forget a matplotlib backend that only the environment of the caller has.

    A notebook tells its children of its own, ``module://matplotlib_inline.backend_inline``; where
    that is not installed, every import of matplotlib would fail. Pages and pictures need none.
    """
    backend = os.environ.get("MPLBACKEND", "")
    package = backend.removeprefix(_MODULE).partition(".")[0]
    if backend.startswith(_MODULE) and not (package and importlib.util.find_spec(package)):
        del os.environ["MPLBACKEND"]
