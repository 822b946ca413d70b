"""Settings for property tests, drawn from the table of hyperparameters."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from tuner.imbalance.rows import Policy
from tuner.setting import HYPERPARAMETERS, Hyperparameter, Setting


def a_setting() -> st.SearchStrategy[Setting]:
    """Any setting that a study with the default ranges may ask for."""
    searched = {name: _values(h) for name, h in HYPERPARAMETERS.items()}
    policies = st.sampled_from([None, *get_args(Policy)])
    return st.builds(Setting, **searched, augmentation_policy=policies)


def _values(h: Hyperparameter) -> st.SearchStrategy[Any]:
    if h.kind == "choice":
        return st.sampled_from(h.default)
    return st.floats(*h.default) if h.kind == "real" else st.integers(*h.default)
