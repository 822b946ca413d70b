"""What libraries read from the environment when first imported, made fit for this process."""

from __future__ import annotations

import importlib.util
import json
import os

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
    home = os.path.expanduser("~")  # which is "~" where there is none
    base = home if os.access(home, os.W_OK) else "/tmp"  # as Keras does
    folder = os.environ.get("KERAS_HOME", os.path.join(base, ".keras"))
    try:
        with open(os.path.expanduser(os.path.join(folder, "keras.json"))) as stream:
            settings = json.load(stream)
    except (OSError, ValueError, RecursionError):
        return _BACKEND
    return str(settings.get("backend", _BACKEND)) if isinstance(settings, dict) else _BACKEND


def _drop_missing_backend() -> None:
    """Forget a matplotlib backend that only the environment of the caller has.

    A notebook tells its children of its own, ``module://matplotlib_inline.backend_inline``; where
    that is not installed, every import of matplotlib would fail. Pages and pictures need none.
    """
    backend = os.environ.get("MPLBACKEND", "")
    package = backend.removeprefix(_MODULE).partition(".")[0]
    if backend.startswith(_MODULE) and not (package and importlib.util.find_spec(package)):
        del os.environ["MPLBACKEND"]
