"""What may change between two starts of a study, and what must not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from tuner.config.models import StudyConfig
from tuner.config.yaml_text import to_flow

# A change of these leaves finished trials comparable. Data are compared by their fingerprint,
# which knows path, bytes, class, group and side of every image.
_FREE_KEYS = frozenset(
    {
        "data.source",
        "data.root",
        "data.range",  # what it comes to is compared
        "data.images",
        "data.columns",
        "data.class_names",
        "data.follow_links",
        "data.min_images",
        "data.rest",
        "data.sample",
        "search.trials",
        "search.sampler",
        "search.pruner",
        "search.retries",
        "search.batch",
        "records.predictions",
        "records.best",
    }
)


def incomparable_changes(old: StudyConfig, new: StudyConfig) -> list[str]:
    """Changes that would mix incomparable trials in one study, ``key: old -> new``.

    Where the data lie and how they are read may change: their fingerprint is compared.

    Returns:
        In the order of the study file; empty when `new` may go on where `old` stopped.
    """
    before, after = dict(_leaves(old)), dict(_leaves(new))
    return [
        f"{key}: {to_flow(value)} -> {to_flow(after[key])}"
        for key, value in before.items()
        if key not in _FREE_KEYS and value != after[key]
    ]


def _leaves(block: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in block:
        if isinstance(value, BaseModel) and not prefix:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value.model_dump() if isinstance(value, BaseModel) else value
