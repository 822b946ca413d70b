"""Read a data source: which images there are, of which class and group, and what is wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tuner.arrays import Int64
from tuner.data.digits import write_digits
from tuner.data.folder import list_folder
from tuner.data.image_table import ImageTable
from tuner.data.images import IMAGE_SUFFIXES
from tuner.data.manifest import MISSING, list_manifest
from tuner.data.scan import Scanned, scan
from tuner.data.seen import DICOM_PATIENT, Range, seen_notes, seen_rule, with_patients
from tuner.data.sources import Entry, Listing, Problem
from tuner.errors import DataError
from tuner.text import some


def read_image_table(
    source: str,
    *,
    home: Path,
    root: str | None = None,
    group_by: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    value_range: Range = "full",
    on_progress: Callable[[int, int], None] | None = None,
) -> ImageTable:
    """Read all that is known of the images before any network; they are not split yet.

    Every file is hashed and decoded once; what cannot be used is left out by name, in
    `problems`. A second read of unchanged files opens none.

    Args:
        source: A folder with a folder per class (or train/ and test/ holding those), a
            manifest ``.csv``, or ``digits``.
        home: Where the digits and what was learnt of the files are kept.
        root: Folder that a manifest's paths are relative to; by default the manifest's own.
        group_by: Column of a manifest that says which images belong together, or
            ``dicom_patient``.
        include: Globs of files to take (see `sources.glob_pattern`); by default every known
            image suffix.
        exclude: Globs of files to leave out.
        value_range: Values of gray of more than 8 bits that become black and white.
        on_progress: Called with (files done, files in all).

    Raises:
        DataError: If the source cannot be read, or does not hold two classes with a readable
            image each.
    """
    folder, where, listing = _list_source(
        source,
        home=home,
        root=root,
        group_by=None if group_by == DICOM_PATIENT else group_by,
        include=include,
        exclude=exclude,
    )
    usable = [entry for entry in listing.entries if not entry.reason]
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()
    scanned = scan(
        folder,
        [entry.path for entry in usable],
        cache=home / "index" / f"{digest[:16]}.jsonl",
        on_progress=on_progress,
    )
    seen = {entry.path: result for entry, result in zip(usable, scanned, strict=True)}
    barred = [
        dataclasses.replace(entry, reason=entry.reason or seen[entry.path].reason)
        for entry in listing.entries
    ]
    if group_by == DICOM_PATIENT:
        barred = with_patients(barred, seen, where=where)
    listing = dataclasses.replace(listing, entries=tuple(barred))
    _check_classes(listing, folder=folder, where=where)
    return _with_rule(_assemble(listing, root=folder, seen=seen), seen, value_range)


def _with_rule(table: ImageTable, seen: dict[str, Scanned], wanted: Range) -> ImageTable:
    """The table with how its files are read, and what is to be known of them."""
    used = {path: seen[path] for path in table.paths}
    rule = seen_rule(used, wanted)
    mended = [Problem(path, one.mended) for path, one in used.items() if one.mended]
    notes = (*table.notes, *seen_notes(used, rule, wanted))
    return dataclasses.replace(table, rule=rule, notes=notes, mended=tuple(mended))


def _list_source(
    source: str,
    *,
    home: Path,
    root: str | None,
    group_by: str | None,
    include: Sequence[str],
    exclude: Sequence[str],
) -> tuple[Path, str, Listing]:
    """Data folder, its name in messages, and what the source lists."""
    path = write_digits(home / "datasets" / "digits") if source == "digits" else Path(source)
    path = path.expanduser().resolve()
    where = f"data.source: {path}"
    if path.suffix.lower() == ".csv" and path.is_file():
        folder = Path(root).expanduser().resolve() if root else path.parent
        if not folder.is_dir():
            do = "name the folder that the manifest's paths start from"
            raise DataError(
                "the manifest's folder does not exist", where=f"data.root: {folder}", do=do
            )
        listing = list_manifest(
            path, root=folder, group_by=group_by, include=include, exclude=exclude
        )
        return folder, f"{where}, data.root: {folder}" if root else where, listing
    if not path.is_dir():
        what = "is neither a folder nor a .csv manifest" if path.exists() else "does not exist"
        do = "name a folder with one folder per class (unpacked), a manifest .csv, or digits"
        raise DataError(f"data source {source!r} {what}", where=where, do=do)
    for key, value in (("root", root), ("group_by", group_by)):
        if value is not None:
            do = f"list the images in a .csv, or leave data.{key} out"
            what = f"data.{key} is for manifests, but {source!r} is none"
            raise DataError(what, where=f"data.{key}: {value}, {where}", do=do)
    listing = list_folder(path, include=include, exclude=exclude, skip=home.resolve())
    return path, where, listing


def _check_classes(listing: Listing, *, folder: Path, where: str) -> None:
    """Raise unless two classes are left and no class was lost whole."""
    n_read = Counter(entry.label for entry in listing.entries if not entry.reason)
    lost = Counter(entry.label for entry in listing.entries if entry.label not in n_read)
    first = next((e for e in listing.entries if e.label in lost), None)
    if lost and first and n_read:
        names = some([f"{name!r} ({n})" for name, n in sorted(lost.items())])
        raise DataError(
            f"no image of class {names} can be used; the first, {first.path}: {first.reason}",
            where=where,
            do="mend these files, or leave the class out with data.exclude",
        )
    if len(n_read) > 1:
        return
    hint = "make one folder per class, with images in each, or list the images in a .csv"
    if first:
        hint = f"see {first.path}: {first.reason} ({lost.total()} files cannot be used)"
        if first.reason == MISSING:
            hint += "; set data.root to the folder that the manifest's paths start from"
    elif inner := _inner_folder(folder, listing=listing):
        hint = f"did you mean data.source: {inner}?"
    found = "no image can be used" if first else "no image was found"
    if n_read:
        found = f"only one class was found, {next(iter(n_read))!r}, and a study needs two or more"
    noticed = [f"{problem.path}: {problem.reason}" for problem in listing.problems[:3]]
    raise DataError(found, where="; ".join([where, *noticed, *listing.notes[:3]]), do=hint)


def _inner_folder(folder: Path, *, listing: Listing) -> Path | None:
    """The only folder in the source, when that one holds two folders or more itself."""
    tops = {PurePosixPath(entry.path).parts[0] for entry in listing.entries}
    deep = {entry.path.split("/")[1] for entry in listing.entries if entry.path.count("/") > 1}
    return folder / tops.pop() if len(tops) == 1 and len(deep) > 1 else None


def _assemble(listing: Listing, *, root: Path, seen: dict[str, Scanned]) -> ImageTable:
    """Table of the entries that nothing bars, with everything noticed."""
    entries = [entry for entry in listing.entries if not entry.reason]
    class_names = tuple(sorted({entry.label for entry in entries}))
    groups = [entry.group for entry in entries if entry.group is not None]
    sides = [entry.is_test for entry in entries if entry.is_test is not None]
    barred = [Problem(entry.path, entry.reason) for entry in listing.entries if entry.reason]
    return ImageTable(
        root=root,
        paths=tuple(entry.path for entry in entries),
        labels=_places([entry.label for entry in entries]),
        class_names=class_names,
        sha256=tuple(seen[entry.path].sha256 for entry in entries),
        groups=_places(groups) if groups else None,
        is_shipped_test=np.array(sides, dtype=np.bool_) if sides else None,
        problems=(*listing.problems, *barred),
        notes=(*listing.notes, *_case_notes(class_names), *_mask_notes(entries)),
    )


def _places(names: Sequence[str]) -> Int64:
    """Place of each name among the sorted names, int64 of shape (len(names),)."""
    place = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.array([place[name] for name in names], dtype=np.int64)


def _case_notes(class_names: Sequence[str]) -> Iterator[str]:
    """Notes on classes that a reader would take for one."""
    alike = defaultdict(list)
    for name in class_names:
        alike[" ".join(name.casefold().split())].append(repr(name))
    for names in alike.values():
        if len(names) > 1:
            yield f"classes {' and '.join(names)} differ only by case or spaces"


def _mask_notes(entries: Sequence[Entry]) -> Iterator[str]:
    """Note on images that share folder and name and differ by suffix: often masks."""
    suffixes = defaultdict(set)
    for entry in entries:
        stem, suffix = os.path.splitext(entry.path)
        if suffix.lower() in IMAGE_SUFFIXES:
            suffixes[stem].add(suffix)
    twice = sorted(stem for stem, found in suffixes.items() if len(found) > 1)
    if not twice or (len(twice) < 5 and len(twice) * 10 < len(suffixes)):
        return
    pairs = Counter(suffix for stem in twice for suffix in suffixes[stem])
    # Photographs are rarely PNG where JPEG stands beside it, masks nearly never JPEG.
    mask = min(pairs, key=lambda suffix: (suffix.lower() != ".png", pairs[suffix], suffix))
    yield (
        f"{len(twice)} images come with another suffix too ({', '.join(sorted(pairs))}), such as "
        f'{twice[0]}; if the {mask} files are masks, set data.exclude: ["*{mask}"]'
    )
