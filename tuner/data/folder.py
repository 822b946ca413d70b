"""Images in folders: one folder per class, with or without train/ and test/ above them."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tuner.data.images import IMAGE_SUFFIXES
from tuner.data.sources import SPLIT_PARTS, Entry, Listing, Problem, choose
from tuner.errors import DataError
from tuner.text import some

_SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", "$recycle.bin"})


@dataclass
class _Walk:
    """What a walk has met so far; files map to the reason that bars them, mostly none."""

    files: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def list_folder(
    root: Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    skip: Path | None = None,
) -> Listing:
    """List the images below `root` with the classes that their folders name.

    The folder right under `root` names the class, however deep the file lies in it. Where the
    folders right under `root` are the parts of a shipped split (train, val, test), the folders
    in those name the classes and val joins train.

    Args:
        root: Folder, resolved.
        include: Globs; by default every known image suffix is taken.
        exclude: Globs of files to leave out.
        skip: Folder below `root` that is no data: the home, when a study starts in its data.
    """
    walk = _Walk()
    _walk(root, skip=str(skip), walk=walk)
    candidates = sorted(path for path in walk.files if include or _suffix(path) in IMAGE_SUFFIXES)
    chosen, notes = choose(candidates, include=include, exclude=exclude)
    depth = 1 if _ships_split([path.split("/") for path in chosen], root=root) else 0
    labelled, layout_notes = _label(chosen, depth=depth, folders=walk.folders)
    entries = tuple(
        Entry(_with_escapes(path), _with_escapes(label), is_test=is_test, reason=walk.files[path])
        for path, label, is_test in labelled
    )
    return Listing(
        entries,
        tuple(sorted(walk.problems, key=lambda problem: problem.path)),
        (*notes, *layout_notes, *_ignored_notes(walk, candidates=set(candidates))),
    )


def _walk(root: Path, *, skip: str, walk: _Walk) -> None:
    """Collect everything below a folder without following links to folders."""
    pending = [(str(root), "")]
    while pending:
        place, prefix = pending.pop()
        try:
            with os.scandir(place) as found:
                for item in found:
                    path = prefix + item.name
                    if _is_system(item.name) or item.path == skip:
                        walk.skipped.append(path)
                    elif item.is_symlink():
                        _add_link(item, path=path, root=root, walk=walk)
                    elif item.is_dir(follow_symlinks=False):
                        walk.folders.append(path)
                        pending.append((item.path, f"{path}/"))
                    else:
                        walk.files[path] = _bar_name(path)
        except OSError as error:
            name = _with_escapes(prefix.rstrip("/")) or "."
            walk.problems.append(Problem(name, f"folder cannot be read: {error.strerror}"))


def _add_link(item: os.DirEntry[str], *, path: str, root: Path, walk: _Walk) -> None:
    """Take a link to a file inside the root; name every other link."""
    if os.path.isdir(item.path):  # unlike item.is_dir(), False for a loop
        walk.problems.append(Problem(_with_escapes(path), "link to a folder is not followed"))
    else:
        walk.files[path] = bar_link(item.path, root=root) or _bar_name(path)


def bar_link(path: str, *, root: Path) -> str:
    """Reason that bars a path, or "" when all its links end inside `root`."""
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        return f"link cannot be followed: {error.strerror}"
    inside = target.startswith(os.path.join(root, ""))  # pathlib takes as long as the disk here
    return "" if inside else "points outside the data folder"


def _bar_name(path: str) -> str:
    """Reason that bars a name which could not be written to a study's records."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "file name is not valid UTF-8"
    return ""


def _with_escapes(path: str) -> str:
    """Path with the bytes that are not UTF-8 written as escapes."""
    return os.fsencode(path).decode(errors="backslashreplace") if _bar_name(path) else path


def _is_system(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _label(
    paths: Sequence[str], *, depth: int, folders: Sequence[str]
) -> tuple[list[tuple[str, str, bool | None]], list[str]]:
    """Path, class and shipped side of each image in a class folder, and notes on the layout.

    Class folders lie `depth` folders below the root, under the parts of a split if at all.
    """
    parts = {path: path.split("/") for path in paths}
    in_class = {path: names for path, names in parts.items() if len(names) > depth + 1}
    sides = {SPLIT_PARTS[names[0].casefold()] for names in in_class.values()} if depth else set()
    labelled: list[tuple[str, str, bool | None]] = []
    for path, names in in_class.items():
        is_test = SPLIT_PARTS[names[0].casefold()] == "test" if "test" in sides else None
        labelled.append((path, unicodedata.normalize("NFC", names[depth]), is_test))
    notes = []
    if "val" in sides:
        notes.append("the folder for validation joins train/: folds are made from both")
    if depth and "test" not in sides:
        notes.append("train/ comes without a test/ of class folders: a test is drawn from it")
    if strays := [path for path in paths if path not in in_class]:
        notes.append(f"images in no class folder, left out: {len(strays)} ({some(strays)})")
    used = {"/".join(names[: depth + 1]) for names in in_class.values()}
    empty = [name for name in folders if name.count("/") == depth and name not in used]
    if empty:
        notes.append(f"folders without images, no classes: {len(empty)} ({some(sorted(empty))})")
    return labelled, notes


def _ships_split(paths: Iterable[list[str]], *, root: Path) -> bool:
    """Whether the images lie in the parts of a split, with class folders in train."""
    inside = [names for names in paths if len(names) > 1]
    part = {names[0]: SPLIT_PARTS.get(names[0].casefold(), "") for names in inside}
    if not any(part[names[0]] == "train" and len(names) > 2 for names in inside):
        return False
    others = sorted(top for top in part if not part[top])
    if others and "test" in part.values():
        raise DataError(
            f"train/ and test/ hold the classes, but images lie in {some(others)} too",
            where=f"data.source: {root}",
            do=f'leave those out: data.exclude: ["{others[0]}/"]',
        )
    return not others


def _ignored_notes(walk: _Walk, *, candidates: set[str]) -> Iterator[str]:
    """Notes on files that are no images by their suffix or their name."""
    others = [path for path in walk.files if path not in candidates]
    if others:
        counts = Counter(_suffix(path) or "no suffix" for path in others).most_common()
        kinds = some([f"{suffix} {n}" for suffix, n in counts], n=5)
        yield f"files that are no images by their suffix, ignored: {len(others)} ({kinds})"
    if walk.skipped:
        names = some(sorted(walk.skipped))
        yield f"hidden or system files, skipped: {len(walk.skipped)} ({names})"
