"""What settings are called where there is little room."""

from __future__ import annotations

from tuner.home.records import Record

_SHORT = {"baseline-balanced": "balanced weights"}


def short_title(record: Record) -> str:
    """A baseline's title, shortened where it is long, or a trial's number."""
    return _SHORT.get(record.name, record.title)
