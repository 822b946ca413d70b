"""Images in folders: one folder per class, with or without train/ and test/ above them."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tuner.data.images import IMAGE_SUFFIXES
from tuner.data.sources import Entry, Listing, Problem, choose, split_part
from tuner.errors import DataError
from tuner.text import some

OUTSIDE_LINK = "points outside the data folder"
FOLLOW = "data.follow_links: true"
LINKED_FOLDER = "link to a folder is not followed"
_SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", "$recycle.bin"})


@dataclass
class Walk:
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
    follow_links: bool = False,
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
        follow_links: Whether links may lead to folders and out of `root`.
    """
    walk = walk_folder(root, skip=skip, follow_links=follow_links)
    candidates = sorted(path for path in walk.files if include or _suffix(path) in IMAGE_SUFFIXES)
    chosen, notes = choose(candidates, include=include, exclude=exclude)
    depths = class_depths(chosen, root=root)
    labelled, layout_notes = _label(chosen, depths=depths, folders=walk.folders)
    entries = tuple(
        Entry(_with_escapes(path), _with_escapes(label), is_test=is_test, reason=walk.files[path])
        for path, label, is_test in labelled
    )
    return Listing(
        entries,
        tuple(sorted(walk.problems, key=lambda problem: problem.path)),
        (
            *notes,
            *layout_notes,
            *_ignored_notes(walk, candidates=set(candidates)),
            *link_note([*walk.files.values(), *(p.reason for p in walk.problems)]),
        ),
    )


def walk_folder(root: Path, *, skip: Path | None = None, follow_links: bool = False) -> Walk:
    """Everything below a folder; links to folders are followed only when that is allowed.

    Args:
        root: Folder, resolved.
        skip: Folder below it to leave alone.
        follow_links: Whether links may lead to folders and out of `root`.
    """
    walk = Walk()
    entered = {os.path.realpath(root)}
    pending = [(str(root), "")]
    while pending:
        place, prefix = pending.pop()
        try:
            with os.scandir(place) as found:
                for item in found:
                    path = prefix + item.name
                    if is_system(item.name) or item.path == str(skip):
                        walk.skipped.append(path)
                    elif item.is_symlink() and not (follow_links and _is_new(item, entered)):
                        _add_link(item, path=path, root=None if follow_links else root, walk=walk)
                    elif item.is_dir(follow_symlinks=follow_links):
                        walk.folders.append(path)
                        pending.append((item.path, f"{path}/"))
                    else:
                        walk.files[path] = _bar_name(path)
        except OSError as error:
            name = _with_escapes(prefix.rstrip("/")) or "."
            walk.problems.append(Problem(name, f"folder cannot be read: {error.strerror}"))
    return walk


def _is_new(item: os.DirEntry[str], entered: set[str]) -> bool:
    """Whether a link leads to a folder that no other link has led to: links may run in rings."""
    target = os.path.realpath(item.path)
    is_new = os.path.isdir(target) and not any(
        target == place or place.startswith(os.path.join(target, "")) for place in entered
    )
    entered.update([target] if is_new else [])
    return is_new


def _add_link(item: os.DirEntry[str], *, path: str, root: Path | None, walk: Walk) -> None:
    """Take a link to a file inside the root, or to any where that is None; name every other."""
    if os.path.isdir(item.path):  # unlike item.is_dir(), False for a loop
        walk.problems.append(Problem(_with_escapes(path), LINKED_FOLDER))
    else:
        walk.files[path] = bar_link(item.path, root=root) or _bar_name(path)


def bar_link(path: str, *, root: Path | None) -> str:
    """Reason that bars a path, or "" when all its links end inside `root`, or exist at all."""
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        return f"link cannot be followed: {error.strerror}"
    if root is None:
        return ""
    inside = target.startswith(os.path.join(root, ""))  # pathlib takes as long as the disk here
    return "" if inside else OUTSIDE_LINK


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


def is_system(name: str) -> bool:
    """Whether a file or folder is hidden, or one that systems leave behind."""
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _label(
    paths: Sequence[str], *, depths: Mapping[str, int], folders: Sequence[str]
) -> tuple[list[tuple[str, str, bool | None]], list[str]]:
    """Path, class and shipped side of each image in a class folder, and notes on the layout.

    Class folders lie right below the root, or `depths` of them below it in the parts of a split.
    """
    parts = {path: path.split("/") for path in paths}
    depth = {path: depths.get(names[0], 0) for path, names in parts.items()}
    in_class = {path: names for path, names in parts.items() if len(names) > depth[path] + 1}
    sides = {split_part(names[0]) for names in in_class.values()} if depths else set()
    labelled: list[tuple[str, str, bool | None]] = []
    for path, names in in_class.items():
        is_test = split_part(names[0]) == "test" if "test" in sides else None
        labelled.append((path, unicodedata.normalize("NFC", names[depth[path]]), is_test))
    notes = []
    if "val" in sides:
        notes.append("the folder for validation joins train/: folds are made from both")
    if depths and "test" not in sides:
        notes.append("train/ comes without a test/ of class folders: a test is drawn from it")
    if strays := [path for path in paths if path not in in_class]:
        notes.append(f"images in no class folder, left out: {len(strays)} ({some(strays)})")
    used = {"/".join(names[: depth[path] + 1]) for path, names in in_class.items()}
    empty = [name for name in folders if _is_class_folder(name, depths) and name not in used]
    if empty:
        notes.append(f"folders without images, no classes: {len(empty)} ({some(sorted(empty))})")
    return labelled, notes


def _is_class_folder(name: str, depths: Mapping[str, int]) -> bool:
    """Whether a folder lies where classes do."""
    return name.count("/") == depths.get(name.partition("/")[0], 1 if depths else 0)


def class_depths(paths: Iterable[str], *, root: Path) -> dict[str, int]:
    """Folders above the classes of each part of a shipped split, by the part's folder.

    One, or more where a part holds a single folder with the classes in it, as in
    ``seg_train/seg_train/street/1.jpg``. Empty where the folders are no split.
    """
    below: dict[str, list[list[str]]] = {}
    for path in paths:
        names = path.split("/")
        if len(names) > 1:
            below.setdefault(names[0], []).append(names)
    depths = {top: _unwrapped(inside) for top, inside in below.items() if split_part(top)}
    if not any(
        split_part(top) == "train" and any(len(names) > depth + 1 for names in below[top])
        for top, depth in depths.items()
    ):
        return {}
    others = sorted(top for top in below if top not in depths)
    if others and any(split_part(top) == "test" for top in depths):
        raise DataError(
            f"train/ and test/ hold the classes, but images lie in {some(others)} too",
            where=f"data.source: {root}",
            do=f'leave those out: data.exclude: ["{others[0]}/"]',
        )
    return {} if others else depths


def _unwrapped(inside: Sequence[list[str]]) -> int:
    """Folders above the classes: one, and each that alone holds two folders or more."""
    depth = 1
    while len({names[depth] for names in inside}) == 1:
        if any(len(names) < depth + 3 for names in inside):
            break
        if len({names[depth + 1] for names in inside}) < 2:
            break
        depth += 1
    return depth


def link_note(reasons: Iterable[str]) -> list[str]:
    """Note on links that were not followed, which says how to allow them."""
    n = sum(reason in (OUTSIDE_LINK, LINKED_FOLDER) for reason in reasons)
    links = f"{n} link{'s' * (n > 1)}"
    return [f"{links} not followed; if they are yours, set {FOLLOW}"] if n else []


def _ignored_notes(walk: Walk, *, candidates: set[str]) -> Iterator[str]:
    """Notes on files that are no images by their suffix or their name."""
    others = [path for path in walk.files if path not in candidates]
    if others:
        counts = Counter(_suffix(path) or "no suffix" for path in others).most_common()
        kinds = some([f"{suffix} {n}" for suffix, n in counts], n=5)
        yield f"files that are no images by their suffix, ignored: {len(others)} ({kinds})"
    if walk.skipped:
        names = some(sorted(walk.skipped))
        yield f"hidden or system files, skipped: {len(walk.skipped)} ({names})"
