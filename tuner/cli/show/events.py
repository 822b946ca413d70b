"""What happens in a run, for machines: one JSON object a line (``tuner run --json``)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tuner.study import Epoch, Listener, Progress, Record, Setting, StudyFolder


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


class EventListener(Listener):
    """Prints events and hands everything on.

    Args:
        inner: Who shows the same to people.
    """

    def __init__(self, inner: Listener) -> None:
        self._inner = inner
        self._names: list[str] = []
        self._is_training = False
        self._tenth = -1

    def fact(self, label: str, text: str) -> None:
        """Hand on: the study's event says the same in its own form."""
        self._inner.fact(label, text)

    def warning(self, text: str, *, about: str = "") -> None:
        """Print what the user should know of the search."""
        if self._is_training:
            print_event("message", text=text)
        self._inner.warning(text, about=about)

    def status(self, text: str) -> AbstractContextManager[None]:
        """Hand on."""
        return self._inner.status(text)

    def note(self, text: str) -> None:
        """Print what goes on in the search."""
        if self._is_training:
            print_event("step", text=text)
        self._inner.note(text)

    def opened(self, folder: StudyFolder, *, device: str, question: str) -> None:
        """Print what the study is."""
        table = folder.images
        self._names = list(table.class_names)
        print_event(
            "study",
            study=folder.name,
            question=question,
            folder=str(folder.path),
            device=device,
            images=table.n_images,
            sealed=len(table.test),
            classes=dict(zip(self._names, table.counts.tolist(), strict=True)),
            n_trials=folder.config.search.trials,
        )
        self._inner.opened(folder, device=device, question=question)

    def progress(self, progress: Progress) -> None:
        """Print a tenth of what trials need at a time."""
        self._inner.progress(progress)
        tenth = 10 * progress.done // max(progress.total, 1)
        if progress.what == "images" or tenth <= self._tenth:
            return
        self._tenth = tenth
        print_event(
            "extraction",
            done=progress.done,
            total=progress.total,
            rows_per_s=round(progress.rows_per_s, 1),
            seconds_left=round(progress.seconds_left, 1) if progress.done else None,
        )

    @contextmanager
    def training(
        self,
        folder: StudyFolder,
        *,
        n_trials: int,
        unit: str = "trials",
        earlier: Sequence[Record] = (),
    ) -> Iterator[None]:
        """From here on news are events."""
        self._is_training = True
        try:
            with self._inner.training(folder, n_trials=n_trials, unit=unit, earlier=earlier):
                yield
        finally:
            self._is_training = False

    def trial_started(self, name: str, setting: Setting) -> None:
        """Print which setting begins to train."""
        print_event("trial_started", name=name, params=setting.as_dict())
        self._inner.trial_started(name, setting)

    def epoch_ended(self, name: str, epoch: Epoch, value: float) -> None:
        """Hand on; fifty events a trial would drown the others."""
        self._inner.epoch_ended(name, epoch, value)

    def trial_ended(self, record: Record, *, n_finished: int, n_trials: int) -> None:
        """Print what the trial came to."""
        facts = record_facts(record, self._names)
        print_event("trial", n_finished=n_finished, n_trials=n_trials, **facts)
        self._inner.trial_ended(record, n_finished=n_finished, n_trials=n_trials)


def print_result_event(
    records: Sequence[Record],
    best: Record | None,
    class_names: Sequence[str],
    *,
    leak: str,
    steps: Mapping[str, str],
) -> None:
    """Print the winner beside the baselines, whether the split leaks, and what follows."""
    baselines = [record_facts(r, class_names) for r in records if r.kind == "baseline"]
    winner = None if best is None else record_facts(best, class_names)
    facts = {"leak": leak} if leak else {}
    print_event("result", winner=winner, baselines=baselines, **facts, next=dict(steps))
