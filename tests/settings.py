"""Settings for property tests, drawn from the table of hyperparameters."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tuner.setting import HYPERPARAMETERS, Hyperparameter, Setting


def a_setting() -> st.SearchStrategy[Setting]:
    """Any setting that a study with the default ranges may ask for."""
    return st.builds(Setting, **{name: _values(h) for name, h in HYPERPARAMETERS.items()})


def _values(h: Hyperparameter) -> st.SearchStrategy[Any]:
    if h.kind == "choice":
        return st.sampled_from(h.default)
    return st.floats(*h.default) if h.kind == "real" else st.integers(*h.default)
