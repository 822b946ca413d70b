"""Images that a label file lists: path, label and, if wished, group and split."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tuner.config import ColumnsConfig
from tuner.data.folder import link_note
from tuner.data.labels.class_names import ClassNames
from tuner.data.labels.columns import Labelled, has_header, pick
from tuner.data.labels.delimited import DO, raise_bad_rows
from tuner.data.labels.places import OUTSIDE, SEVERAL, Places
from tuner.data.labels.rows import Rows, label_files, read_rows
from tuner.data.labels.unpack import unpacked
from tuner.data.sources import Entry, Listing, Problem, choose, split_part
from tuner.errors import DataError

REPEATED = "repeats an earlier row"


@dataclass(frozen=True)
class LabelFile:
    """A label file and how it is to be read, as the study file says.

    Attributes:
        source: A file, or a pattern of several.
        root: Folder that paths are relative to; by default the label file's own, or the one
            that all of `images` lie in.
        images: Folders in which images are found by name.
        columns: None takes `path`, `label` and, where it is filled, `split`.
        group_by: Column of groups in place of that of `columns`, or None.
        class_names: Names of labels that are numbers.
        follow_links: Whether links may lead out of the root.
    """

    source: str
    root: str | None = None
    images: Sequence[str] = ()
    columns: ColumnsConfig | None = None
    group_by: str | None = None
    class_names: ClassNames | None = None
    follow_links: bool = False


def label_root(file: LabelFile, *, home: Path) -> Path:
    """Folder that the paths of the images are relative to; it need not be there.

    Raises:
        DataError: If a pattern matches nothing.
    """
    if (inside := unpacked(file.source, home=home)) is not None:
        return inside
    if file.root:
        return Path(file.root).expanduser().resolve()
    if file.images:
        return Path(os.path.commonpath(_folders(file)))
    return label_files(file.source)[0]


def list_labels(
    file: LabelFile, *, home: Path, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[Path, Listing]:
    """Data folder, and the images that a label file names in it.

    Labels are text as written: ``007`` and ``NA`` stay what they are.

    Args:
        file: What to read, and how.
        home: Where arrays are unpacked.
        include: Globs on the paths; none means all.
        exclude: Globs of paths to leave out.

    Raises:
        DataError: If the file or some rows cannot mean anything; names their lines. A file
            that is merely missing is an entry with a reason.
    """
    root = label_root(file, home=home)
    for key, folder in (("root", root), *(("images", folder) for folder in _folders(file))):
        if not folder.is_dir():
            do = "name the folder that the manifest's paths start from"
            what = "the manifest's folder does not exist"
            raise DataError(what, where=f"data.{key}: {folder}", do=do)
    if (inside := unpacked(file.source, home=home)) is not None:
        file = LabelFile(
            source=str(inside / "labels.csv"), class_names=file.class_names, group_by=file.group_by
        )
    start, rows = read_rows(file.source, has_header=has_header(file.columns))
    source = str(Path(file.source).expanduser().resolve())
    labelled = pick(
        rows, file.columns, source=source, group_by=file.group_by, class_names=file.class_names
    )
    places = Places(root, folders=_folders(file), follow_links=file.follow_links)
    nowhere = [""] * len(labelled.path)
    placed = [
        places.find(path, base=base, beside=beside)
        for path, base, beside in zip(
            labelled.path,
            rows.base if root == start else nowhere,
            rows.beside if root == start else nowhere,
            strict=True,
        )
    ]
    is_unclear = any(reason.startswith(SEVERAL) for _, reason in placed)
    do = "name the folder that is meant in data.images" if is_unclear else DO
    labelled, n_repeated = _without_repeats(
        labelled, placed, rows, may_differ=file.columns is not None
    )
    raise_bad_rows(list(_bad_rows(rows, labelled, placed)), source=source, do=do)
    entries, barred, notes = _entries(rows, labelled, placed)
    notes += [f"rows that repeat another, dropped: {n_repeated}"] if n_repeated else []
    chosen, chosen_notes = choose((e.path for e in entries), include=include, exclude=exclude)
    left = set(chosen)
    kept = sorted((e for e in entries if e.path in left), key=lambda entry: entry.path)
    by_name = f"images found by their name alone: {places.n_by_name}"
    notes += [by_name] if places.n_by_name and file.columns is None else []
    notes += link_note(entry.reason for entry in kept)
    return root, Listing(
        tuple(kept), tuple(barred), notes=(*labelled.notes, *notes, *chosen_notes)
    )


def _folders(file: LabelFile) -> list[Path]:
    return [Path(folder).expanduser().resolve() for folder in file.images]


def _without_repeats(
    labelled: Labelled, placed: Sequence[tuple[str, str]], rows: Rows, *, may_differ: bool
) -> tuple[Labelled, int]:
    """The rows without those that say of a file what an earlier one says; how many those were.

    Where `may_differ`, a file of several labels is barred by name.
    """
    of_file = defaultdict(list)
    for row, (path, _) in enumerate(placed):
        if row not in labelled.barred:
            of_file[path].append(row)
    barred, n_repeated = dict(labelled.barred), 0
    for same in of_file.values():
        kinds = {labelled.label[row] for row in same}
        if len(kinds) == 1:
            n_repeated += len(same) - 1
            barred |= dict.fromkeys(same[1:], REPEATED)
        elif may_differ:
            barred[same[0]] = f"several classes: {rows.where[same[0]]}, {rows.where[same[-1]]}"
            barred |= dict.fromkeys(same[1:], REPEATED)
    return replace(labelled, barred=barred), n_repeated


def _entries(
    rows: Rows, labelled: Labelled, placed: Sequence[tuple[str, str]]
) -> tuple[list[Entry], list[Problem], list[str]]:
    """Entry of each row that has a class, the others by name, and notes."""
    notes = []
    sides = set(labelled.split or ())
    if "val" in sides:
        notes.append("rows with split 'val' join train: folds are made from both")
    if sides and "test" not in sides:
        notes.append("no row has split 'test': a test is drawn")
    entries, barred, n_alone = [], [], 0
    for row, (path, reason) in enumerate(placed):
        if row in labelled.barred:
            reason = labelled.barred[row]
            barred += [] if reason == REPEATED else [Problem(path, reason)]
            continue
        group = None
        if labelled.group is not None:
            group = labelled.group[row] or f"\0{path}"  # no name has a zero byte
            n_alone += not labelled.group[row]
        is_test = labelled.split[row] == "test" if labelled.split and "test" in sides else None
        entries.append(
            Entry(
                path=path, label=labelled.label[row], group=group, is_test=is_test, reason=reason
            )
        )
    if n_alone:
        notes.append(f"rows without a group, each one by itself: {n_alone}")
    return entries, barred, notes


def _bad_rows(rows: Rows, labelled: Labelled, placed: Sequence[tuple[str, str]]) -> Iterator[str]:
    """One text for each row that cannot mean anything."""
    first: dict[str, int] = {}
    for row, (path, reason) in enumerate(placed):
        if row in labelled.barred:
            continue
        where = rows.where[row]
        empty = [name for name, cells in labelled.required.items() if not cells[row]]
        written = labelled.path[row]
        if empty:
            yield f"{where}: no {' and no '.join(empty)}"
        elif reason == OUTSIDE:
            yield f"{where}: path {written!r} {OUTSIDE}"
        elif reason.startswith(SEVERAL):
            yield f"{where}: {written!r} {reason}"
        elif path in first:
            yield f"{where}: path {path!r} is in {rows.where[first[path]]} too"
        elif labelled.split is not None and not split_part(labelled.split[row]):
            yield f"{where}: split {labelled.split[row]!r} is not train, val or test"
        first.setdefault(path, row)
