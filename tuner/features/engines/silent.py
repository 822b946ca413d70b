"""OpenVINO without its reports to the maker."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from tuner.errors import UsageError

_REPORTS = "openvino_telemetry"


def load_openvino() -> Any:
    """The module `openvino`, imported without the package that reports its use.

    As installed, the import alone sends to a server of Google's, by a process forked out of this
    one, whose threads may then wait for each other. Without that package OpenVINO reports nothing.

    Raises:
        UsageError: If it cannot be imported.
    """
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    before = sys.modules.get(_REPORTS)
    sys.modules[_REPORTS] = None  # type: ignore[assignment]  # what is None cannot be imported
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise UsageError(
            f"OpenVINO cannot be imported: {error}",
            do="pip install --force-reinstall openvino, or set backbone.engine: keras",
        ) from error
    finally:
        del sys.modules[_REPORTS]
        if before is not None:
            sys.modules[_REPORTS] = before
