"""What a user demands of a decision: what each confusion costs, and how much must be found."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from tuner.arrays import Float64
from tuner.errors import UsageError
from tuner.text import escaped, some

_FORM = "true classes in rows, predicted ones in columns, names in the first row and column"
_MOST_BYTES = 16 << 20
_MOST_PROBLEMS = 8

Costs = str | Path | pd.DataFrame
Floors = Mapping[str, float] | Sequence[str]


@dataclass(frozen=True)
class Demands:
    """What is demanded; nothing of it changes with the predictions.

    Attributes:
        costs: What it costs to answer column k for an image of row j, float64
            (n_classes, n_classes) of any unit; None where every mistake costs the same.
        floors: Least recall by the number of the class, each above 0 and at most 1.
    """

    costs: Float64 | None = None
    floors: dict[int, float] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is demanded."""
        return self.costs is None and not self.floors


def demands_of(costs: Costs | None, floors: Floors | None, class_names: Sequence[str]) -> Demands:
    """Demands as users write them.

    Args:
        costs: A CSV file, or a frame with true classes as index and predicted ones as columns.
        floors: Least recall by class, or texts ``CLASS=0.95``.
        class_names: In class order.

    Raises:
        UsageError: Naming every class and value that cannot be meant.
    """
    table = None if costs is None else _costs(costs, class_names)
    return Demands(costs=table, floors=_floors(floors or {}, class_names))


def check_costs(costs: Float64, *, where: str = "--cost") -> None:
    """Refuse numbers that are no costs.

    Args:
        costs: float64 (n_classes, n_classes), rows true.
        where: For the message.

    Raises:
        UsageError: If one is negative or not finite, if a right answer costs more than a wrong
            one (a table on its side, often), or if nothing depends on the answer.
    """
    is_right = np.eye(len(costs), dtype=np.bool_)
    if not np.isfinite(costs).all() or (costs < 0).any():
        what = "a cost is negative or no finite number"
    elif (costs < costs[is_right][:, None]).any():
        what = "a right answer, on the diagonal, costs more than a wrong one for the same class"
    elif not np.ptp(costs, axis=1).any():
        what = "every answer costs the same, so nothing can be decided by costs"
    else:
        return
    raise UsageError(what, where=where, do=f"write costs of 0 and above; {_FORM}")


def _costs(given: Costs, class_names: Sequence[str]) -> Float64:
    if isinstance(given, pd.DataFrame):
        where = "cost"
        header = [str(name) for name in given.columns]
        rows = [
            [str(name), *map(str, row)]
            for name, row in zip(given.index, given.to_numpy(), strict=True)
        ]
    else:
        where = escaped(str(given))
        header, rows = _read(Path(given), where)
    problems = [
        *_about_names("columns", header, class_names),
        *_about_names("rows", [row[0] for row in rows], class_names),
    ]
    table = np.full((len(class_names), len(class_names)), np.nan)
    for row in rows if not problems else []:
        if len(row) != len(header) + 1:
            problems.append(f"row {row[0]!r} has {len(row) - 1} costs, not {len(header)}")
            continue
        for name, text in zip(header, row[1:], strict=True):
            cost = _number(text)
            table[class_names.index(row[0]), class_names.index(name)] = cost
            if not (math.isfinite(cost) and cost >= 0):
                problems.append(f"row {row[0]!r}, column {name!r}: {text!r} is no cost")
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        shown = problems[:_MOST_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        what = f"the costs cannot be used: {'; '.join(shown)}"
        raise UsageError(what, where=where, do=f"write costs of 0 and above; {_FORM}")
    check_costs(table, where=where)
    return table


def _read(path: Path, where: str) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, and rows of a name and numbers."""
    try:
        with path.open("rb") as stream:  # of bounded size: a device would never end
            text = stream.read(_MOST_BYTES).decode("utf-8-sig")
        lines = [row for row in csv.reader(io.StringIO(text)) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a CSV file in UTF-8"
        do = f"name a CSV file with commas; {_FORM}"
        raise UsageError(f"the costs cannot be read: {reason}", where=where, do=do) from error
    if not lines:
        raise UsageError("the file of costs is empty", where=where, do=f"write {_FORM}")
    rows = [[cell.strip() for cell in row] for row in lines]
    return rows[0][1:], rows[1:]


def _about_names(side: str, found: Sequence[str], class_names: Sequence[str]) -> list[str]:
    """What is wrong with the names of one side, in words."""
    twice = sorted({name for name in found if found.count(name) > 1})
    parts = {
        f"{side} of no class of the study": sorted(set(found) - set(class_names)),
        f"no {side} of": sorted(set(class_names) - set(found)),
        f"several {side} of": [name for name in twice if name in class_names],
    }
    return [f"{k} {some([repr(name) for name in v])}" for k, v in parts.items() if v]


def _floors(given: Floors, class_names: Sequence[str]) -> dict[int, float]:
    pairs = [f"{k}={floor}" for k, floor in given.items()] if isinstance(given, Mapping) else given
    found: dict[int, float] = {}
    for pair in pairs:
        shown = f"--recall-floor {pair}"
        name, _, value = pair.rpartition("=")  # from the right: a name may hold the sign
        floor = _number(value)
        if not 0 < floor <= 1:
            do = "write CLASS=0.95, a share above 0 and at most 1"
            raise UsageError("a recall floor is no share", where=shown, do=do)
        if name not in class_names:
            do = f"classes: {some([repr(known) for known in class_names])}"
            raise UsageError(f"there is no class {name!r}", where=shown, do=do)
        if class_names.index(name) in found:
            raise UsageError("a class has two recall floors", where=shown, do="write one")
        found[class_names.index(name)] = floor
    return dict(sorted(found.items()))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
