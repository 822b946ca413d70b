"""Classes of too few images: left out, or one class of their own."""

from __future__ import annotations

from collections import Counter
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
