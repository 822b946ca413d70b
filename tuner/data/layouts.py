"""Folders that are no classes: versions side by side, copies, masks, parts, beside a table."""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.data.folder import class_depths
from tuner.data.images import IMAGE_SUFFIXES
from tuner.data.labels.rows import LABEL_SUFFIXES
from tuner.data.sources import choose, split_part
from tuner.errors import UsageError
from tuner.text import command, some

_MASK_STEM = re.compile(
    r"(.+?)[ _.-]?\(?(mask|seg|segmentation|label|gt)s?\)?[ _-]?\d*", re.IGNORECASE
)
_MASK_FOLDER = re.compile(
    r"(ground[ _-]?truths?|(seg(mentation)?[ _-]?)?masks?|annotations?[ _-]?masks?|gt)", re.I
)
_README = re.compile(r"readme|licen[cs]e|requirements", re.IGNORECASE)
_NEARLY_ALL = 0.9
_ALIKE = 0.8  # share of names that two folders have in common when they hold the same classes


@dataclass(frozen=True)
class Masks:
    """Pictures that say where something is in others, not what they show.

    Attributes:
        globs: What leaves them out.
        n: How many there are.
        example: One of them.
    """

    globs: tuple[str, ...]
    n: int
    example: str

    def __str__(self) -> str:
        return f"{self.n:,} images look like masks, such as {self.example}"


def find_masks(paths: Sequence[str]) -> Masks | None:
    """Masks among images, by their names: beside the image that they belong to, or in a folder.

    Args:
        paths: POSIX paths of images.
    """
    stems = {posixpath.splitext(path)[0] for path in paths}
    globs: Counter[str] = Counter()
    masks = []
    folders = _folders_of(paths)
    for path in paths:
        names = path.split("/")
        suffix = posixpath.splitext(path)[1]
        found = _MASK_STEM.fullmatch(names[-1].removesuffix(suffix))
        at = next((i for i, name in enumerate(names[:-1]) if _MASK_FOLDER.fullmatch(name)), None)
        if at is not None and _has_images(names, at, stems, folders):
            globs[f"**/{names[at]}/**" if at else f"{names[at]}/"] += 1
        elif found and posixpath.join(posixpath.dirname(path), found[1]) in stems:
            word = re.search(re.escape(found[2]), names[-1][len(found[1]) :], re.IGNORECASE)
            joint = names[-1][len(found[1]) : len(found[1]) + (word.end() if word else 0)]
            globs[f"*{_plain(joint)}*"] += 1
        else:
            continue
        masks.append(path)
    if not masks or len(masks) == len(paths):
        return _paired(paths)
    return Masks(globs=tuple(sorted(globs)), n=len(masks), example=masks[0])


def _paired(paths: Sequence[str]) -> Masks | None:
    """PNG files that stand beside a JPEG of the same name, where nearly every image has one."""
    suffixes: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        stem, suffix = posixpath.splitext(path)
        if suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp"):
            suffixes[stem].add(suffix)
    pairs = sorted(s for s, found in suffixes.items() if len(found) == 2 and _pngs(found))
    if not pairs or len(pairs) < _NEARLY_ALL * len(suffixes):
        return None
    png = _pngs(suffixes[pairs[0]])[0]
    return Masks(globs=(f"*{png}",), n=len(pairs), example=pairs[0] + png)


def _pngs(suffixes: set[str]) -> list[str]:
    return [suffix for suffix in suffixes if suffix.lower() == ".png"]


def _plain(text: str) -> str:
    """Text in a glob that means itself."""
    return re.sub(r"([*?[])", "?", text)


def _folders_of(paths: Sequence[str]) -> set[str]:
    found = set()
    for path in paths:
        place = posixpath.dirname(path)
        while place and place not in found:
            found.add(place)
            place = posixpath.dirname(place)
    return found


def _has_images(names: Sequence[str], at: int, stems: set[str], folders: set[str]) -> bool:
    """Whether beside a folder of masks lie the images: the same name, or a folder for them."""
    above, inside = names[:at], names[at + 1 :]
    beside = ("images", "image", "imgs", "img", "Images", "train", "test")
    if any("/".join([*above, name]) in folders for name in beside):
        return True
    return posixpath.splitext("/".join([*above, *inside]))[0] in stems


def refuse_layout(
    root: Path,
    files: Sequence[str],
    *,
    source: str,
    include: Sequence[str],
    exclude: Sequence[str],
) -> None:
    """Raise where the folders right under a source are no classes, and name what was meant.

    Args:
        root: The folder.
        files: POSIX paths of all files below it.
        source: As the user named it, for commands.
        include: Globs of files to take.
        exclude: Globs of files to leave out.

    Raises:
        UsageError: With what the folders are, and the command for what was probably meant.
    """
    chosen = _images_among(files, include=include, exclude=exclude)
    tables = sorted(path for path in files if _suffix(path) in LABEL_SUFFIXES)
    tree = _tree(chosen)
    if not chosen:
        _pictures_inside(tables, source)
    for refuse in (
        _parts_without_classes,
        _one_class_in_train,
        _part_beside_others,
        _copies,
        _sources_side_by_side,
    ):
        refuse(tree, chosen, tables, source)
    _tables_beside(tree, chosen, tables, source, root)


def _pictures_inside(tables: Sequence[str], source: str) -> None:
    """Name the files that hold pictures, where there are no others."""
    for suffix in (".npz", ".parquet"):
        inside = [table for table in tables if _suffix(table) == suffix]
        if not inside:
            continue
        place = posixpath.dirname(inside[0])
        name = f"*{suffix}" if suffix == ".parquet" else posixpath.basename(inside[0])
        raise UsageError(
            f"there are no image files, but {inside[0]} may hold pictures",
            where=f"data.source: {source}",
            do=f"take them from there: {_init(posixpath.join(source, place, name))}",
        )


def _images_among(
    files: Sequence[str], *, include: Sequence[str], exclude: Sequence[str]
) -> list[str]:
    images = [path for path in files if include or _suffix(path) in IMAGE_SUFFIXES]
    return choose(sorted(images), include=include, exclude=exclude)[0]


def nested_classes(
    root: Path, files: Sequence[str], *, include: Sequence[str], exclude: Sequence[str]
) -> str:
    """That the classes hold folders in turn, in a sentence; "" where they do not.

    Args:
        root: The folder.
        files: POSIX paths of all files below it.
        include: Globs of files to take.
        exclude: Globs of files to leave out.
    """
    paths = _images_among(files, include=include, exclude=exclude)
    depths = class_depths(paths, root=root)
    inner: dict[str, set[str]] = defaultdict(set)
    n_nested = 0
    for path in paths:
        names = path.split("/")
        at = depths.get(names[0], 0)
        n_nested += len(names) > at + 2
        inner[names[at]].update(names[at + 1 : at + 2] if len(names) > at + 2 else ())
    held = sorted({name for names in inner.values() for name in names})
    if n_nested < _NEARLY_ALL * len(paths) or len(held) < 2 * len(inner) or len(inner) < 2:
        return ""
    return (
        f"the outer folders ({some(sorted(inner))}) are the classes; the {len(held)} in them "
        f"({some(held)}) are not"
    )


_Tree = Mapping[str, set[str]]  # folders right under the source, and what folders each holds


def _tree(paths: Sequence[str]) -> _Tree:
    tree: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        names = path.split("/")
        if len(names) > 1:
            tree[names[0]].update(names[1:2] if len(names) > 2 else ())
    return dict(sorted(tree.items()))


def _parts_without_classes(
    tree: _Tree, paths: Sequence[str], tables: Sequence[str], source: str
) -> None:
    """Refuse train/ and test/ that hold images directly."""
    parts = [top for top in tree if split_part(top)]
    table, do = _table_command(tables, parts, source)
    inside = [path.count("/") == 1 for path in paths if path.split("/")[0] in parts]
    is_mixed = any(tree[top] for top in parts) or len(parts) < len(tree)
    if not inside or sum(inside) * 2 < len(inside) or (is_mixed and "/" not in table):
        return
    raise UsageError(
        f"{_and(parts)} {'are parts' if len(parts) > 1 else 'is a part'} of a split, not classes"
        + (f"; the labels seem to be in {table}" if table else "; no folder names a class"),
        where=f"data.source: {source}",
        do=do or "name a file that lists the images with their labels: tuner init FILE",
    )


def _part_beside_others(
    tree: _Tree, paths: Sequence[str], tables: Sequence[str], source: str
) -> None:
    """Refuse a part for training with classes in it beside folders that are no parts."""
    train = [top for top in tree if split_part(top) == "train" and len(tree[top]) > 1]
    others = [top for top in tree if not split_part(top)]
    if len(train) != 1 or not others or any(split_part(top) == "test" for top in tree):
        return
    raise UsageError(
        f"{train[0]}/ holds the classes ({some(sorted(tree[train[0]]))}), and beside it lie "
        f"{some(others)}, which are none",
        where=f"data.source: {source}",
        do=f"name the folder of the classes: {_init(posixpath.join(source, train[0]))}",
    )


def _one_class_in_train(
    tree: _Tree, paths: Sequence[str], tables: Sequence[str], source: str
) -> None:
    """Refuse a set for anomaly detection, whose training holds good pieces only."""
    train = [top for top in tree if split_part(top) == "train"]
    test = [top for top in tree if split_part(top) == "test"]
    if len(train) != 1 or not test or len(tree[train[0]]) != 1:
        return
    (good,) = tree[train[0]]
    if len(tree[test[0]]) < 2:
        return
    others = sorted(tree[test[0]] - {good})
    raise UsageError(
        f"{train[0]}/ holds one class only, {good!r}, and {test[0]}/ others: {some(others)}; such "
        "a set is made for anomaly detection, where nothing but good pieces is learnt",
        where=f"data.source: {source}",
        do=f"to tell the classes of its test apart: {_init(posixpath.join(source, test[0]))}",
    )


def _copies(tree: _Tree, paths: Sequence[str], tables: Sequence[str], source: str) -> None:
    """Refuse a folder that holds the other folders once more."""
    for top, inside in tree.items():
        others = set(tree) - {top}
        if len(others) > 1 and len(others & inside) >= _ALIKE * len(others):
            raise UsageError(
                f"{top}/ holds folders of the names that stand beside it "
                f"({some(sorted(others))}): a second copy of the data, not a class",
                where=f"data.source: {source}",
                do=f"leave it out: {_init(source, '--exclude', f'{top}/')}",
            )


def _sources_side_by_side(
    tree: _Tree, paths: Sequence[str], tables: Sequence[str], source: str
) -> None:
    """Refuse folders that all hold the same folders: versions of one set."""
    tops = [top for top in tree if not split_part(top)]
    inside = [tree[top] for top in tops]
    if len(tops) < 2 or len(tops) < len(tree) or any(len(names) < 2 for names in inside):
        return
    common = set.intersection(*inside)
    if len(common) < _ALIKE * max(map(len, inside)):
        return
    if any(_is_image_folder(name) for name in common):
        return  # CLASS/images and CLASS/masks
    counts = Counter(path.split("/")[0] for path in paths)
    most = max(tops, key=lambda top: counts[top])
    raise UsageError(
        f"{_and(tops)} each hold the same {len(common)} folders ({some(sorted(common))}): those "
        "are the classes, and the folders above them are versions of one set",
        where=f"data.source: {source}",
        do=f"name one of them: {_init(posixpath.join(source, most))}",
    )


def _tables_beside(
    tree: _Tree, paths: Sequence[str], tables: Sequence[str], source: str, root: Path
) -> None:
    """Refuse images in one folder, or in several that say nothing, which a table names."""
    if not paths:
        return
    places = Counter(posixpath.dirname(path) for path in paths)
    most, n_most = places.most_common(1)[0]
    is_flat = not any(tree.values()) and all(_is_image_folder(top) for top in tree)
    if not (len(tree) < 2 or is_flat or n_most >= _NEARLY_ALL * len(paths)):
        return
    stems = {posixpath.splitext(posixpath.basename(path))[0] for path in paths[:200]}
    near = [table for table in tables if table.count("/") < 2]
    known = {table: _n_named(root / table, stems) for table in near}
    best = max(near, key=lambda table: (known[table], -table.count("/")), default="")
    if best and known[best] * 2 > len(stems):
        tops = _and(list(tree) if is_flat and tree else [most or "."])
        what = f"{tops} hold{'s' * (not is_flat or len(tree) == 1)} images, not classes"
        raise UsageError(
            f"{what if tree else 'no folder is a class'}; {best} names these images",
            where=f"data.source: {source}",
            do=f"take its labels: {_init(posixpath.join(source, best))}",
        )


def _n_named(table: Path, stems: set[str]) -> int:
    """How many of some names a table holds."""
    text = table.read_bytes()[: 16 * 2**20].decode(errors="replace")
    return sum(stem in text for stem in stems)


_IMAGE_WORDS = re.compile(r"images?|imgs?|photos?|pictures?|pics|data|part|jpe?gs?|png|raw", re.I)


def _is_image_folder(name: str) -> bool:
    """Whether a folder's name says nothing but that images are in it."""
    return (
        bool(_IMAGE_WORDS.search(name))
        or bool(_MASK_FOLDER.fullmatch(name))
        or bool(split_part(name))
    )


def _table_command(tables: Sequence[str], parts: Sequence[str], source: str) -> tuple[str, str]:
    """A table in the parts, or beside them, and how to take it with its like; "" for none."""
    likely = [table for table in tables if not _README.search(table)]
    inside = Counter(posixpath.basename(t) for t in likely if t.split("/")[0] in parts)
    if inside:
        name, n = inside.most_common(1)[0]
        place = next(table for table in likely if posixpath.basename(table) == name)
        middle = "*" if n > 1 else place.split("/")[0]
        return place, f"take them from there: {_init(posixpath.join(source, middle, name))}"
    beside = [table for table in likely if "/" not in table]
    if not beside:
        return "", ""
    of_parts = [table for table in beside if split_part(posixpath.splitext(table)[0])]
    alike = [t for t in beside if of_parts and _suffix(t) == _suffix(of_parts[0])]
    is_whole = len(of_parts) > 1 and alike == of_parts
    best = next((t for t in of_parts if split_part(t[: -len(_suffix(t))]) == "train"), beside[0])
    name = f"*{_suffix(best)}" if is_whole else best
    return best, f"take them from there: {_init(posixpath.join(source, name))}"


def _init(*words: str) -> str:
    return command("tuner", "init", *words)


def _and(names: Sequence[str]) -> str:
    shown = [repr(name) for name in names[:4]] + (["…"] if len(names) > 4 else [])
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
