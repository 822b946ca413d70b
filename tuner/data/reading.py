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
from tuner.columns import Texts, hashes_of
from tuner.config import ColumnsConfig
from tuner.data.digits import write_digits
from tuner.data.folder import FOLLOW, LINKED_FOLDER, OUTSIDE_LINK, list_folder
from tuner.data.image_table import ImageTable
from tuner.data.images import IMAGE_SUFFIXES
from tuner.data.labels.class_names import ClassNames
from tuner.data.labels.listing import LabelFile, label_root, list_labels
from tuner.data.labels.places import MISSING
from tuner.data.labels.rows import LABEL_SUFFIXES, is_label_source
from tuner.data.layouts import find_masks
from tuner.data.scan import Scanned, scan
from tuner.data.seen import DICOM_PATIENT, Range, seen_notes, seen_rule, with_patients
from tuner.data.small_classes import with_sample, without_small_classes
from tuner.data.sources import Entry, Listing, Problem
from tuner.errors import DataError
from tuner.text import some


def read_image_table(
    source: str,
    *,
    home: Path,
    root: str | None = None,
    images: Sequence[str] = (),
    columns: ColumnsConfig | None = None,
    class_names: ClassNames | None = None,
    group_by: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    value_range: Range = "full",
    follow_links: bool = False,
    min_images: int = 1,
    rest: str | None = None,
    per_class: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ImageTable:
    """Read all that is known of the images before any network; they are not split yet.

    Every file is hashed and decoded once; what cannot be used is left out by name, in
    `problems`. A second read of unchanged files opens none.

    Args:
        source: A folder with a folder per class (or train/ and test/ holding those), a label
            file or a pattern of several, or ``digits``.
        home: Where the digits, unpacked arrays and what was learnt of the files are kept.
        root: Folder that a label file's paths are relative to; by default the file's own.
        images: Folders in which a label file's images are found by name.
        columns: Of a label file; None takes `path`, `label` and, where it is filled, `split`.
        class_names: Names of a label file's labels that are numbers.
        group_by: Column of a label file that says which images belong together, or
            ``dicom_patient``.
        include: Globs of files to take (see `sources.glob_pattern`); by default every known
            image suffix.
        exclude: Globs of files to leave out.
        value_range: Values of gray of more than 8 bits that become black and white.
        follow_links: Whether links may lead out of the data folder.
        min_images: Classes of fewer usable images are left out, or join `rest`.
        rest: Class that those join.
        per_class: Most images of a class, of which so many are drawn; None takes all.
        on_progress: Called with (files done, files in all).

    Raises:
        DataError: If the source cannot be read, or does not hold two classes with a readable
            image each.
    """
    labels = LabelFile(
        source=source,
        root=root,
        images=images,
        columns=columns,
        group_by=None if group_by == DICOM_PATIENT else group_by,
        class_names=class_names,
        follow_links=follow_links,
    )
    folder, where, listing = _list_source(labels, home=home, include=include, exclude=exclude)
    if per_class is not None:
        listing = with_sample(listing, per_class=per_class)
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
    listing = without_small_classes(listing, min_images=min_images, rest=rest)
    _check_classes(listing, folder=folder, where=where)
    return _with_rule(_assemble(listing, root=folder, seen=seen), seen, value_range)


def _with_rule(table: ImageTable, seen: dict[str, Scanned], wanted: Range) -> ImageTable:
    """The table with how its files are read, and what is to be known of them."""
    used = {path: seen[path] for path in table.paths}
    rule = seen_rule(used, wanted)
    mended = [Problem(path, one.mended) for path, one in used.items() if one.mended]
    notes = (*table.notes, *seen_notes(used, rule, wanted))
    return dataclasses.replace(table, rule=rule, notes=notes, mended=tuple(mended))


def source_root(labels: LabelFile, *, home: Path) -> Path:
    """Folder that the paths of a source's images start from; it need not be there.

    Raises:
        DataError: If a pattern matches nothing.
    """
    if labels.source == "digits":
        return home / "datasets" / "digits"
    if is_label_source(labels.source):
        return label_root(labels, home=home)
    return Path(labels.source).expanduser().resolve()


def _list_source(
    labels: LabelFile, *, home: Path, include: Sequence[str], exclude: Sequence[str]
) -> tuple[Path, str, Listing]:
    """Data folder, its name in messages, and what the source lists."""
    source = labels.source
    if is_label_source(source):
        folder, listing = list_labels(labels, home=home, include=include, exclude=exclude)
        where = f"data.source: {Path(source).expanduser().resolve()}"
        return folder, f"{where}, data.root: {folder}" if labels.root else where, listing
    path = write_digits(home / "datasets" / "digits") if source == "digits" else Path(source)
    path = path.expanduser().resolve()
    where = f"data.source: {path}"
    if not path.is_dir():
        what = "is neither a folder nor a label file" if path.exists() else "does not exist"
        do = "name a folder with one folder per class (unpacked), a label file "
        do += f"({', '.join(sorted(LABEL_SUFFIXES))}), or digits"
        raise DataError(f"data source {source!r} {what}", where=where, do=do)
    for key in ("root", "group_by", "images", "columns", "class_names"):
        if value := getattr(labels, key):
            do = f"list the images in a .csv, or leave data.{key} out"
            what = f"data.{key} is for label files, but {source!r} is none"
            raise DataError(what, where=f"data.{key}: {value}, {where}", do=do)
    listing = list_folder(
        path,
        include=include,
        exclude=exclude,
        skip=home.resolve(),
        follow_links=labels.follow_links,
    )
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
        if first.reason == OUTSIDE_LINK:
            hint += f"; if the links are yours, set {FOLLOW}"
    elif any(problem.reason == LINKED_FOLDER for problem in listing.problems):
        hint = f"if the links are yours, set {FOLLOW}"
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
        paths=Texts.of(entry.path for entry in entries),
        labels=_places([entry.label for entry in entries]),
        class_names=class_names,
        sha256=hashes_of([seen[entry.path].sha256 for entry in entries]),
        groups=_places(groups) if groups else None,
        is_shipped_test=np.array(sides, dtype=np.bool_) if sides else None,
        problems=(*listing.problems, *barred),
        drawn=listing.drawn,
        notes=(
            *listing.notes,
            *_case_notes(class_names),
            *_mask_notes(entries),
            *_named_masks(entries),
        ),
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


def _named_masks(entries: Sequence[Entry]) -> Iterator[str]:
    """Note on images whose names say that they are masks of others."""
    masks = find_masks([entry.path for entry in entries])
    if masks and not all(glob.startswith("*.") for glob in masks.globs):  # see `_mask_notes`
        globs = ", ".join(f'"{glob}"' for glob in masks.globs)
        yield f"{masks}; if so, set data.exclude: [{globs}]"


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
