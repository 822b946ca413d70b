"""What happens in a run, for machines: one JSON object a line (``tuner run --json``)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuner.home.records import Record

if TYPE_CHECKING:
    from tuner.features.extract import Progress as Extraction
    from tuner.home.listener import Epoch, Listener
    from tuner.setting import Setting


def print_event(event: str, **facts: Any) -> None:
    """Print one event as one line on stdout, at once."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


def record_facts(record: Record, class_names: Sequence[str]) -> dict[str, Any]:
    """A trial or baseline as plain values; recall per class by its name."""
    return {
        "name": record.name,
        "title": record.title,
        "kind": record.kind,
        "state": record.state,
        "reason": record.reason,
        "params": record.params.as_dict(),
        "value": record.value,
        "is_feasible": record.is_feasible,
        "scores": record.scores,
        "recall": dict(zip(class_names, record.recall, strict=False)),
        "support": dict(zip(class_names, (sum(row) for row in record.matrix), strict=False)),
        "epochs": len(record.curves.get("objective", [])),
        "seconds": round(record.ended_s - record.started_s, 3),
    }


class EventListener:
    """A listener that prints events and hands everything on.

    Args:
        inner: Who shows the same to people.
        class_names: In class order.
    """

    def __init__(self, inner: Listener, class_names: Sequence[str]) -> None:
        self._inner, self._names = inner, class_names

    def trial_started(self, name: str, params: Setting) -> None:
        """Print which setting begins to train."""
        print_event("trial_started", name=name, params=params.as_dict())
        self._inner.trial_started(name, params)

    def epoch_ended(self, name: str, epoch: Epoch, value: float) -> None:
        """Hand on; fifty events a trial would drown the others."""
        self._inner.epoch_ended(name, epoch, value)

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Print what the trial came to."""
        facts = record_facts(record, self._names)
        print_event("trial", n_finished=n_finished, n_trials=n_trials, **facts)
        self._inner.trial_ended(record, n_finished=n_finished, n_trials=n_trials)

    def step(self, text: str) -> None:
        """Print what goes on."""
        print_event("step", text=text)
        self._inner.step(text)

    def message(self, text: str) -> None:
        """Print what the user should know."""
        print_event("message", text=text)
        self._inner.message(text)


class ExtractionEvents:
    """Prints a tenth of the extraction at a time."""

    def __init__(self) -> None:
        self._said = -1

    def __call__(self, progress: Extraction) -> None:
        """Print how far it is, when another tenth is done."""
        if (tenth := 10 * progress.done // max(progress.total, 1)) <= self._said:
            return
        self._said = tenth
        print_event(
            "extraction",
            done=progress.done,
            total=progress.total,
            rows_per_s=round(progress.rows_per_s, 1),
            seconds_left=round(progress.seconds_left, 1) if progress.done else None,
        )


def print_result_event(
    records: Sequence[Record],
    best: Record | None,
    class_names: Sequence[str],
    *,
    steps: Mapping[str, str],
) -> None:
    """Print the winner beside the baselines, and the commands that follow."""
    baselines = [record_facts(r, class_names) for r in records if r.kind == "baseline"]
    winner = None if best is None else record_facts(best, class_names)
    print_event("result", winner=winner, baselines=baselines, next=dict(steps))
