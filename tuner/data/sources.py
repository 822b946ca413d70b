"""What a data source lists before any file is opened, and the globs that choose among it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tuner.errors import DataError

# Words for the parts of a shipped split; all that is not test joins train.
_PARTS = {
    **dict.fromkeys(("train", "training", "trainset", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "devel"), "val"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
}
# What stands beside those words in the names of folders and files without changing the part.
# fmt: off
_BESIDE = frozenset({
    "set", "seg", "data", "dataset", "final", "image", "images", "img", "imgs", "split",
    "official", "original", "list", "of", "the",
})
# fmt: on


@functools.cache
def split_part(name: str) -> str:
    """Part of a split that a name means: "train", "val" or "test"; "" for any other name.

    Example:
        >>> [split_part(name) for name in ("Final_Training", "seg_test", "dev", "trained", "set")]
        ['train', 'test', 'val', '', '']
    """
    words = [word.casefold() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_]+", name)]
    parts = {_PARTS[word] for word in words if word in _PARTS}
    others = (word for word in words if word not in _PARTS and not word.isdigit())
    return parts.pop() if len(parts) == 1 and _BESIDE.issuperset(others) else ""


@dataclass(frozen=True)
class Problem:
    """A file or folder left out, by name, with the reason."""

    path: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """One listed image, not yet opened.

    Attributes:
        path: POSIX path relative to the data folder.
        label: Name of its class.
        group: Name of its group; None where the source has none.
        is_test: Whether the source ships it as test; None where it ships no split.
        reason: Why it cannot be used though listed; empty for nearly all.
    """

    path: str
    label: str
    group: str | None = None
    is_test: bool | None = None
    reason: str = ""


@dataclass(frozen=True)
class Listing:
    """Entries of a source with what was noticed while listing.

    Attributes:
        entries: Images, not yet opened.
        problems: Files and folders left out.
        notes: What a reader should know, in sentences.
        drawn: Classes of which only some images were taken, with how many there are.
    """

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    drawn: tuple[tuple[str, int], ...] = ()


@functools.cache
def glob_pattern(glob: str) -> re.Pattern[str]:
    """Compiled glob on relative POSIX paths, without regard to case.

    ``*`` and ``?`` stay within a name and ``**`` crosses folders. A glob without ``/`` looks at
    the file's name wherever it lies; one that ends in ``/`` takes all that lies in the folder.

    Raises:
        DataError: If it holds an impossible character range.

    Example:
        >>> bool(glob_pattern("*.png").fullmatch("crack/mask_1.PNG"))
        True
        >>> bool(glob_pattern("crack/*.png").fullmatch("crack/deep/mask_1.png"))
        False
    """
    text = glob.removeprefix("./").lstrip("/")
    text = f"{text}**" if text.endswith("/") else text
    text = text if "/" in text else f"**/{text}"
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[!^]?\]?[^\]/]*\])", text)
    simple = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pattern = "".join(
        simple.get(part) or (_character_set(part) if i % 2 else re.escape(part))
        for i, part in enumerate(parts)
    )
    try:
        return re.compile(pattern, re.IGNORECASE | re.DOTALL)
    except re.error as error:
        raise DataError(
            f"glob {glob!r} cannot be understood: {error}",
            where="data.include and data.exclude",
            do="write it with *, ** and ?, for example '*.png' or 'masks/**'",
        ) from error


def choose(
    paths: Iterable[str], *, include: Sequence[str], exclude: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Paths that the globs leave, in order, and a note for each glob of no effect.

    Args:
        paths: Relative POSIX paths.
        include: Globs of which one must match; none means all.
        exclude: Globs of which none may match.
    """
    paths = list(paths)
    left = [path for path in paths if not include or _any_match(path, globs=include)]
    chosen = [path for path in left if not _any_match(path, globs=exclude)]
    notes = [
        f"data.{key}: {glob!r} matches no file"
        for key, globs, among in (("include", include, paths), ("exclude", exclude, left))
        for glob in globs
        if not any(glob_pattern(glob).fullmatch(path) for path in among)
    ]
    if len(chosen) < len(left):
        notes.append(f"data.exclude leaves out {len(left) - len(chosen)} of {len(left)} files")
    return chosen, notes


def _any_match(path: str, *, globs: Sequence[str]) -> bool:
    return any(glob_pattern(glob).fullmatch(path) for glob in globs)


def _character_set(part: str) -> str:
    """Glob set such as ``[!a-z]`` as a regular expression."""
    body = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
    if body[:1] in ("!", "^"):
        return f"[^/{_first_bracket(body[1:])}]"
    return f"(?!/)[{_first_bracket(body)}]"


def _first_bracket(body: str) -> str:
    return rf"\{body}" if body.startswith("]") else body
