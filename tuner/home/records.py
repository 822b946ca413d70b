"""Records: what a study did, on disk, one JSON and one ``.npz`` per trial.

The records are the truth: Optuna's store is filled from them when it is lost, and MLflow, the
report and the export are made of them. A record is written before Optuna is told, under a
temporary name and renamed.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from pydantic_core import from_json

from tuner.arrays import Float32
from tuner.errors import StudyError
from tuner.files import listed, write_whole
from tuner.home.baselines import TITLES
from tuner.home.stored import reason_of
from tuner.setting import Setting

Kind = Literal["trial", "baseline", "confirm"]
State = Literal["complete", "pruned", "failed"]

LARGE = 100_000 * 20  # images × classes: predictions of one record beyond it take over 5 MB
_SCHEMA = 1
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError)


@dataclass(frozen=True)
class Record:
    """One trial, baseline or confirm run, finished in whatever way.

    Attributes:
        kind: What it was trained for.
        name: Unique within the study, e.g. "trial-00012" or "baseline-balanced".
        number: Optuna's trial number, or None for what Optuna does not know.
        params: The setting.
        state: How it ended.
        reason: Why it failed, or None.
        value: The objective, or None when it failed before the first report.
        matrix: Pooled out-of-fold confusion matrix, rows true; empty when it failed early.
        scores: Summary metrics of the matrix.
        curves: Per-epoch values by name; ``val/recall`` is a list of lists (epoch, class).
        best_epochs: Restored epoch of each fold, from 0.
        learning_rates: Learning rate of each epoch, per fold.
        rows: Training rows per class, per fold (after augmentation).
        class_weights: Weight per class, per fold.
        constraints: Optuna constraints, feasible at <= 0.
        seeds: Seeds that made it.
        environment: Backend, device, precision, versions.
        started_s: Unix time.
        ended_s: Unix time.
        attempt: 1 unless earlier attempts at the same setting died.
        of: Record that a confirm run trains again, or None.
        part: Images that the matrix counts: those of the validation folds, or the sealed test.
    """

    kind: Kind
    name: str
    number: int | None
    params: Setting
    state: State
    reason: str | None
    value: float | None
    matrix: list[list[int]]
    scores: dict[str, float]
    curves: dict[str, list[Any]]
    best_epochs: list[int]
    learning_rates: list[list[float]]
    rows: list[list[int]]
    class_weights: list[list[float]]
    constraints: dict[str, float]
    seeds: dict[str, int]
    environment: dict[str, str]
    started_s: float
    ended_s: float
    attempt: int = 1
    of: str | None = None
    part: Literal["validation", "test"] = "validation"
    schema: int = field(default=_SCHEMA)

    @property
    def title(self) -> str:
        """How people call it: a baseline's title, or a trial's number."""
        return title_of(self.of or self.name)

    @property
    def is_finished_trial(self) -> bool:
        """Whether it counts towards the trials that the study was asked for."""
        return self.kind == "trial" and self.state != "failed"

    @property
    def is_feasible(self) -> bool:
        """Whether every constraint holds."""
        return all(value <= 0 for value in self.constraints.values())

    @property
    def violation(self) -> float:
        """Sum of the broken constraints; 0 when feasible."""
        return sum(max(value, 0.0) for value in self.constraints.values())

    @property
    def recall(self) -> list[float]:
        """Recall per class of the pooled matrix."""
        return [row[k] / sum(row) if sum(row) else 0.0 for k, row in enumerate(self.matrix)]


def trial_name(number: int) -> str:
    """Name of a trial's record."""
    return f"trial-{number:05d}"


def title_of(name: str) -> str:
    """How people call a setting, from the name of its record.

    Example:
        >>> title_of("trial-00012"), title_of("baseline-balanced")
        ('#12', 'cross-entropy, balanced weights')
    """
    if name.startswith("baseline-"):
        name = name.removeprefix("baseline-")
        return TITLES.get(name, name)
    number = name.removeprefix("trial-")
    return f"#{int(number)}" if number.isdigit() else name


def save_record(
    folder: Path,
    record: Record,
    *,
    log_prob: NDArray[np.floating] | None,
    is_half: bool = False,
) -> None:
    """Write a record; the JSON is renamed into place last and makes it exist.

    Args:
        folder: Where the study's records lie.
        record: The record.
        log_prob: Log probabilities of the images that the record counts, (n_images,
            n_classes), in the order of the study's images; None when there are none.
        is_half: Whether they are kept in half precision (`halved`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / f"{record.name}.npz"
    if log_prob is not None:
        kept = halved(log_prob) if is_half else log_prob.astype(np.float32, copy=False)
        write_whole(table, lambda stream: np.savez_compressed(stream, log_prob=kept))
    else:
        table.unlink(missing_ok=True)  # of an attempt that died before its JSON was there
    text = json.dumps(
        asdict(record) | {"params": record.params.as_dict()}, indent=1, allow_nan=False
    )
    write_whole(folder / f"{record.name}.json", text)


def halved(log_prob: NDArray[np.floating]) -> NDArray[np.float16]:
    """The same in half precision, three digits each, with the same class predicted everywhere.

    Where rounding would let another class lead, that one goes below by the least step there is.

    Args:
        log_prob: (n_images, n_classes).
    """
    least = np.finfo(np.float16).min
    is_unknown = np.isneginf(log_prob)
    half = np.where(is_unknown, -np.inf, np.maximum(log_prob, least)).astype(np.float16)
    rows, best = np.arange(len(half)), log_prob.argmax(axis=1)
    rows = rows[half.argmax(axis=1) != best]
    lead = half[rows, best[rows]][:, None]
    below = np.minimum(half[rows], np.nextafter(lead, np.float16(-np.inf)))
    below[np.arange(len(rows)), best[rows]] = lead[:, 0]
    half[rows] = below
    return half


def drop_predictions(folder: Path, name: str) -> None:
    """Keep a record without its predictions."""
    (folder / f"{name}.npz").unlink(missing_ok=True)


def remove_record(folder: Path, name: str) -> None:
    """Take a record away again."""
    for suffix in (".json", ".npz"):  # without its JSON a record does not exist
        (folder / f"{name}{suffix}").unlink(missing_ok=True)


def load_record(path: Path) -> Record:
    """Read one record.

    Raises:
        StudyError: If the file is damaged or from a newer version.
    """
    try:
        values = dict(_parsed(path.read_bytes()))
        if values.get("schema") != _SCHEMA:
            raise StudyError(
                f"record has schema {values.get('schema')!r}, this version reads {_SCHEMA}",
                where=str(path),
                do="use the version of tuner that wrote it",
            )
        record = Record(**{**values, "params": Setting.from_dict(values["params"])})
        # Without it a damaged or edited value would fail wherever the record is shown.
        record = _RECORD.validate_python(vars(record))
        _check(record, name=path.stem)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(path, error) from error
    return record


def _parsed(text: bytes) -> Any:
    """JSON by pydantic's parser, twice as fast as Python's, which is asked where that one fails.

    It takes no lone surrogate, and the reason of a failed trial may name a path with one.
    """
    try:
        return from_json(text)
    except ValueError:
        return json.loads(text.decode("utf-8"))


def _check(record: Record, *, name: str) -> None:
    """Raise ValueError unless a record is what `save_record` may have written."""
    if record.name != name:
        raise ValueError(f"it is called {record.name!r}")
    if {len(row) for row in record.matrix} - {len(record.matrix)}:
        raise ValueError("its confusion matrix is not square")
    if any(n < 0 for row in record.matrix for n in row):
        raise ValueError("its confusion matrix counts less than nothing")
    if not np.isfinite([record.value or 0.0, *record.scores.values()]).all():
        raise ValueError("a score is not finite")


Stamped = dict[str, tuple[tuple[int, int], Record]]  # by file, with its size and time


def load_records(folder: Path, *, known: Stamped | None = None) -> list[Record]:
    """All records of a study: baselines, then trials by number, then confirm runs.

    Args:
        folder: Where they lie.
        known: Those that were read before; what has changed since is read again, and put in.
    """
    kinds: list[Kind] = ["baseline", "trial", "confirm"]
    # Not by time: baselines of one batch start at once, and a kill may turn their order round.
    baselines = [f"baseline-{name}" for name in TITLES]
    places = {name: place - len(baselines) for place, name in enumerate(baselines)}

    def order(record: Record) -> tuple[int, int, float, str]:
        place = places.get(record.name, record.number or 0)
        return kinds.index(record.kind), place, record.started_s, record.name

    before = {} if known is None else known
    return sorted((_load_changed(path, before) for path in listed(folder, "*.json")), key=order)


def _load_changed(path: Path, known: Stamped) -> Record:
    """A record, read again only if its file has changed: there may be ten thousand."""
    try:
        status = path.stat()
    except OSError as error:
        raise _damaged(path, error) from error
    stamp = status.st_size, status.st_mtime_ns
    before = known.get(path.name)
    if before is None or before[0] != stamp:
        before = known[path.name] = stamp, load_record(path)
    return before[1]


def load_log_prob(folder: Path, name: str) -> Float32 | None:
    """Out-of-fold log probabilities of a record, float32 (n_images, n_classes), or None.

    Raises:
        StudyError: If the file is damaged.
    """
    path = folder / f"{name}.npz"
    if not path.exists():
        return None
    try:
        # Opened here: NumPy leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return np.asarray(stored["log_prob"], dtype=np.float32)
    # Zip members are checksummed; what a damaged one raises depends on where it is hit.
    except (*_UNREADABLE, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from error


def finished_trials(records: Iterable[Record]) -> list[Record]:
    """Trials that count against the budget: complete or pruned, no baselines."""
    return [record for record in records if record.is_finished_trial]


def winner(records: list[Record]) -> Record | None:
    """The best feasible complete record of trials and baselines, else the least violating.

    On ties the earlier wins, so a baseline beats a trial that is only as good.
    """
    scored = [r for r in records if r.kind != "confirm" and r.state == "complete"]
    return min(scored, key=lambda r: (r.violation, -(r.value or 0.0)), default=None)


def best_baseline(records: list[Record]) -> Record | None:
    """The winner among the baselines: what there is without a search."""
    return winner([record for record in records if record.kind == "baseline"])


def _damaged(path: Path, error: Exception) -> StudyError:
    return StudyError(
        f"record cannot be read: {reason_of(error)}",
        where=str(path),
        do="restore it from a backup; or delete it: a baseline is then trained again, a trial "
        "is missing wherever it would be shown",
    )


_RECORD = TypeAdapter(Record)
