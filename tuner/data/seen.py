"""What opening every file of a data set has shown: its pixel rule, and what to know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from tuner.data.decoding.gray import common_range
from tuner.data.decoding.rule import PixelRule
from tuner.data.scan import Scanned
from tuner.data.sources import Entry
from tuner.errors import DataError
from tuner.text import some

DICOM_PATIENT = "dicom_patient"  # value of `data.group_by` that is no column

Range = Literal["auto", "full"] | tuple[float, float]

# What a file of each kind is called among several, and whether one is of that kind.
_ODD: dict[str, Callable[[Scanned], bool]] = {
    "hold one value only and show nothing": lambda seen: seen.is_flat,
    "have several pages or frames, of which the first is read": lambda seen: seen.n_pages > 1,
}


def seen_rule(seen: Mapping[str, Scanned], wanted: Range) -> PixelRule:
    """How the files of a data set are read.

    Args:
        seen: What each file showed, by its path; those that cannot be used are not among them.
        wanted: ``data.range``.
    """
    if wanted == "full":
        return PixelRule()
    if wanted == "auto":
        return PixelRule(common_range(one.span for one in seen.values() if one.span is not None))
    return PixelRule(wanted)


def with_patients(
    entries: Sequence[Entry], seen: Mapping[str, Scanned], *, where: str
) -> list[Entry]:
    """Entries in groups by their DICOM patient; a picture that names none is a group itself.

    Raises:
        DataError: If none names a patient.
    """
    patients = {entry.path: seen[entry.path].patient for entry in entries if entry.path in seen}
    if not any(patients.values()):
        raise DataError(
            "no image is a DICOM file that names its patient",
            where=f"data.group_by: {DICOM_PATIENT}, {where}",
            do="leave data.group_by out, or set near_duplicates",
        )
    return [replace(one, group=patients.get(one.path) or one.path) for one in entries]


def seen_notes(seen: Mapping[str, Scanned], rule: PixelRule, wanted: Range) -> Iterator[str]:
    """What a reader should know of the files, in sentences."""
    yield from _range_notes(seen, rule, wanted)
    for what, is_odd in _ODD.items():
        if paths := [path for path, one in seen.items() if is_odd(one)]:
            yield f"{_files(len(paths))} {what}: {some(paths)}"
    windows = {path: one.window for path, one in seen.items() if one.window and not rule.range}
    for path, window in list(windows.items())[:1]:
        yield (
            f"{_files(len(windows))} could be shown through several windows, and are through the "
            f"first: {path}, {window}; data.range: [low, high] fixes one for all"
        )
    patients = {one.patient for one in seen.values() if one.patient}
    if patients:
        yield (
            f"DICOM files name {len(patients)} patients; to keep the pictures of each on one side "
            "of every split, set data.group_by: dicom_patient"
        )


def _range_notes(seen: Mapping[str, Scanned], rule: PixelRule, wanted: Range) -> Iterator[str]:
    spans = [one.span for one in seen.values() if one.span is not None]
    if not spans:
        return
    low, high = min(span.low for span in spans), max(span.high for span in spans)
    kinds = ", ".join(sorted({span.kind for span in spans}))
    found = f"{_files(len(spans))} of gray beyond 8 bits ({kinds}), from {low:.9g} to {high:.9g}"
    if rule.range is not None:
        black, white = rule.range
        yield f"{found}: read with {black:.9g} as black and {white:.9g} as white"
    elif wanted == "auto":
        yield f"{found}: each is scaled by what it declares"
    elif len({span.own_range for span in spans}) > 1 or common_range(spans) not in (
        None,
        spans[0].own_range,
    ):
        yield f"{found}: scaled each by itself; data.range: auto takes one range for all"


def _files(n: int) -> str:
    return "1 image" if n == 1 else f"{n:,} images"
