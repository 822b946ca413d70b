"""From what a label file calls an image to the file: by path, without suffix, or by name below."""

from __future__ import annotations

import itertools
import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from tuner.data.folder import bar_link, walk_folder
from tuner.data.images import IMAGE_SUFFIXES

MISSING = "file is missing"
OUTSIDE = "lies outside the data folder"
SEVERAL = "could be either of"


class Places:
    """Finds the files that paths of a label file mean.

    Without `folders` a path starts at `root`, and one that names no suffix takes the only image
    of that stem. With `folders` it starts in any of them, and what is not there is looked for
    below all of them by its name, then by its stem.

    Args:
        root: Data folder, resolved; nothing outside it is taken.
        folders: Folders in it, resolved.
        follow_links: Whether links may lead out of `root`.
    """

    def __init__(
        self, root: Path, *, folders: Sequence[Path] = (), follow_links: bool = False
    ) -> None:
        self.root, self.folders = root, folders
        self.follow_links = follow_links
        self.n_by_name = 0
        self._stems: dict[str, dict[str, list[str]]] = {}

    def find(self, path: str, *, base: str = "", beside: str = "") -> tuple[str, str]:
        """POSIX path under the root as it is on disk, and the reason that bars it or "".

        Args:
            path: As the label file has it.
            base: Folder of the label file below the root.
            beside: Folder there that is called as the file is: ``train/`` of ``train.txt``.
        """
        if not self.folders:
            found = self._from(self.root / base, path)
            if found[1] == MISSING and beside:
                there = self._from(self.root / beside, path)
                return there if there[1] != MISSING else found
            return found
        found_in = [self._from(folder, path) for folder in self.folders]
        here = sorted({place for place, reason in found_in if reason not in (MISSING, OUTSIDE)})
        here = here or self._by_name(path)
        if len(here) > 1:
            return path, f"{SEVERAL} {here[0]} and {here[1]}"
        if not here:
            return found_in[0] if len(found_in) == 1 else (path, MISSING)
        return here[0], self._barred(here[0])

    def _from(self, start: Path, path: str) -> tuple[str, str]:
        tail = os.path.relpath(path, start) if os.path.isabs(path) else path
        tail = posixpath.normpath(posixpath.join(os.path.relpath(start, self.root), tail))
        if "\0" in tail or tail.split("/")[0] in ("..", "."):
            return tail, OUTSIDE
        for spelt in _spellings(tail):
            if os.path.lexists(os.path.join(self.root, spelt)):
                return spelt, self._barred(spelt)
        for spelt in _spellings(tail):
            if here := self._of_stem(spelt):
                several = f"{SEVERAL} {here[0]} and {here[1]}" if len(here) > 1 else ""
                return here[0], several or self._barred(here[0])
        return tail, MISSING

    def _barred(self, path: str) -> str:
        root = None if self.follow_links else self.root
        return bar_link(os.path.join(self.root, path), root=root)

    def _of_stem(self, path: str) -> list[str]:
        """Images of a path that lacks its suffix; the folder is listed once."""
        parent, name = posixpath.split(path)
        if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
            return []
        if parent not in self._stems:
            stems = defaultdict(list)
            try:
                inside = sorted(os.listdir(os.path.join(self.root, parent)))
            except OSError:
                inside = []
            for file in inside:
                stem, suffix = posixpath.splitext(file)
                if suffix.lower() in IMAGE_SUFFIXES:
                    stems[stem].append(posixpath.join(parent, file))
            self._stems[parent] = dict(stems)
        return self._stems[parent].get(name, [])

    def _by_name(self, path: str) -> list[str]:
        """Images below the folders with the path's name, else with its stem.

        Of several those are left whose folders are those of the path, as far up as any are.
        """
        names, stems = self._below
        for spelt in _spellings(path):
            above, name = posixpath.split(spelt)
            stem, suffix = posixpath.splitext(name)
            stem = stem if suffix.lower() in IMAGE_SUFFIXES else name
            if found := names.get(name) or stems.get(stem):
                self.n_by_name += 1
                alike = [_n_alike(above, posixpath.dirname(place)) for place in found]
                return [p for p, n in zip(found, alike, strict=True) if n == max(alike)]
        return []

    @cached_property
    def _below(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Images below the folders by name and by stem; read when first asked for."""
        names, stems = defaultdict(set), defaultdict(set)
        for folder in self.folders:
            start = os.path.relpath(folder, self.root)
            for file in walk_folder(folder, follow_links=self.follow_links).files:
                stem, suffix = posixpath.splitext(posixpath.basename(file))
                if suffix.lower() in IMAGE_SUFFIXES:
                    place = posixpath.normpath(posixpath.join(start, file))
                    names[stem + suffix].add(place)
                    stems[stem].add(place)
        return (
            {name: sorted(places) for name, places in names.items()},
            {stem: sorted(places) for stem, places in stems.items()},
        )


def _n_alike(one: str, other: str) -> int:
    """How many folders, from the last one up, two paths have in common."""
    pairs = zip(reversed(one.split("/")), reversed(other.split("/")), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1] != "", pairs))


def _spellings(path: str) -> Iterator[str]:
    """Ways in which other systems write the same path: Unicode forms and backslashes."""
    yield path
    for text in (unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path)):
        yield text
        if "\\" in text:
            yield posixpath.normpath(text.replace("\\", "/")).lstrip("/")
