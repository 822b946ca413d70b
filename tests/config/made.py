"""The minimal study, and what an error says of a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tuner.config import DataConfig, StudyConfig, parse_study
from tuner.errors import StudyFileError

# No deadline and no health check of speed: both would measure the machine, not the code.
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
STUDIES = Path(__file__).parents[2] / "studies"
MINIMAL = "name: steel\ndata:\n  source: data/steel\n"


def study(**blocks: Any) -> StudyConfig:
    """The minimal study with some blocks of its own."""
    return StudyConfig(name="steel", data=DataConfig(source="data/steel"), **blocks)


def problems(text: str, *overrides: str) -> list[str]:
    """Lines of the error that `text` gives, without their indentation."""
    with pytest.raises(StudyFileError) as caught:
        parse_study(text, source="x.yaml", overrides=overrides)
    return [line.strip() for line in str(caught.value).splitlines()]


def problem(block: str, *overrides: str) -> str:
    """The one problem of the minimal study with `block` below it."""
    header, *rest = problems(MINIMAL + block, *overrides)
    assert header.startswith("1 problem in ")
    assert len(rest) == 1
    return rest[0]


TEXT = st.text(min_size=1, max_size=30).filter(lambda text: "\0" not in text)
ODD = st.sampled_from(["no", "null", "~", "1e3", "0x1", "a: b", "# c", "<<", "- ", "\n\n x ", "é"])
