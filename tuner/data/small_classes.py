"""Classes of too few images, left out or made one; and of too many, of which some are drawn."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace

from tuner.data.sources import Listing
from tuner.errors import DataError
from tuner.text import some


def without_small_classes(listing: Listing, *, min_images: int, rest: str | None) -> Listing:
    """The listing without its small classes, which are left out or join the class `rest`.

    Args:
        listing: Entries with a reason are not counted, and stay.
        min_images: Least usable images of a class.
        rest: Class that smaller ones join; None leaves their images out.

    Raises:
        DataError: If even the class of all the rest is too small.
    """
    counts = Counter(entry.label for entry in listing.entries if not entry.reason)
    small = {label: n for label, n in sorted(counts.items()) if n < min_images}
    small.pop(rest or "", None)
    if not small:
        return listing
    n_small = sum(small.values())
    total = n_small + counts.get(rest or "", 0)
    if rest is not None and total < min_images:
        raise DataError(
            f"class {rest!r} would have {total} images, fewer than {min_images}",
            where=f"data.min_images: {min_images}, data.rest: {rest}",
            do="lower data.min_images, or leave the small classes out: data.rest: null",
        )
    who = some([f"{label!r} ({n})" for label, n in small.items()], n=8)
    where = "left out" if rest is None else f"joined in {rest!r}"
    note = f"{len(small)} classes of fewer than {min_images} images {where}: {who}"
    entries = [
        entry if entry.label not in small else replace(entry, label=rest or entry.label)
        for entry in listing.entries
        if rest is not None or entry.label not in small
    ]
    return replace(listing, entries=tuple(entries), notes=(*listing.notes, note))


def with_sample(listing: Listing, *, per_class: int) -> Listing:
    """The listing with so many images of each larger class, drawn by the hash of their paths.

    So nothing that is left out is ever opened, the draw is the same on every machine, and new
    images reorder no others. Recall of a class is estimated as well as by so many images of it;
    what depends on how frequent classes are (accuracy, precision, F1, MCC) is that of the sample.

    Args:
        listing: Entries with a reason are not counted, and stay.
        per_class: Most images of a class.
    """
    usable = defaultdict(list)
    for entry in listing.entries:
        if not entry.reason:
            usable[entry.label].append(entry.path)
    drawn = {label: n for label, paths in sorted(usable.items()) if (n := len(paths)) > per_class}
    if not drawn:
        return listing
    kept = {
        path
        for label in drawn
        for path in heapq.nsmallest(
            per_class, usable[label], key=lambda path: hashlib.sha256(path.encode()).digest()
        )
    }
    entries = tuple(
        e for e in listing.entries if e.reason or e.label not in drawn or e.path in kept
    )
    notes = (*listing.notes, f"{drawn_sentence(drawn)} ({per_class:,} images of each)")
    return replace(listing, entries=entries, notes=notes, drawn=tuple(drawn.items()))


def drawn_sentence(drawn: Mapping[str, int]) -> str:
    """What a sample means for every number, given how many images there are of each drawn class.

    Empty where there is none.
    """
    if not drawn:
        return ""
    who = some([f"{label!r} (of {n:,})" for label, n in drawn.items()], n=8)
    return (
        f"a sample was drawn of {who}: recalls and their intervals hold for all images, while "
        "accuracy, precision, F1 and MCC are those of the sample"
    )
