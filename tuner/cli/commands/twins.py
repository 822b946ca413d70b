"""Near-duplicates on the command line: find them, say what a split does to them, show them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from tuner.cli.show.terminal import extraction_bar, say, say_fact, warn
from tuner.config import StudyConfig
from tuner.data.index import ImageIndex
from tuner.data.near_duplicates.find import Twins, find_twins, n_to_move, twins_across
from tuner.data.split import Split
from tuner.errors import SplitError
from tuner.files import write_whole
from tuner.home.founding import split_images
from tuner.home.study_folder import TEST, StudyFolder

if TYPE_CHECKING:
    from tuner.features.source import FeatureSource
    from tuner.report.figures.contact_sheet import ShownPair

IntArray = NDArray[np.int64]

_PAIRS_SHOWN = 20
_SCHEMA = 1
_SENTENCE = ("images", "images_across", "test_images", "test_images_across")


def has_features(source: FeatureSource, index: ImageIndex) -> bool:
    """Whether the bank holds every image itself, the sealed ones too."""
    return not source.bank.missing(_keys(source, index))


def extract_images(source: FeatureSource, index: ImageIndex, console: Console) -> None:
    """Put every image itself into the bank: no label is looked at, and no view is made."""
    from tuner.features.extract import ViewOf

    wanted = [
        ViewOf(index.root / path, sha256, 0)
        for path, sha256 in zip(index.paths, index.sha256, strict=True)
    ]
    with extraction_bar(console) as show:
        n_new = source.fill(wanted, on_progress=show)
    if n_new:
        say_fact(console, "features", f"{len(wanted):,} images, {n_new:,} computed now")


def compare_images(source: FeatureSource, index: ImageIndex, console: Console) -> Twins:
    """Find the near-duplicates among all images; their features must be in the bank."""
    files = [index.root / path for path in index.paths]
    with console.status("looking for near-duplicates"):
        features = source.bank.read(_keys(source, index))
        return find_twins(features, files, sha256=index.sha256)


def group_near_duplicates(
    source: FeatureSource, index: ImageIndex, console: Console
) -> ImageIndex:
    """The index with near-duplicates as its groups; extracts what that takes.

    Raises:
        SplitError: If a class is too small for the split, before minutes go into features.
    """
    split_images(source.config, replace(index, groups=np.arange(index.n_images)))
    extract_images(source, index, console)
    groups = compare_images(source, index, console).groups
    sizes = np.bincount(groups)
    linked = f"{int((sizes > 1).sum()):,} groups of near-duplicates, up to {sizes.max():,} images"
    say_fact(console, "groups", f"{linked}; none crosses the split")
    return replace(index, groups=groups)


def leak_facts(twins: Twins, index: ImageIndex, fold: IntArray) -> dict[str, Any]:
    """What a split does to near-duplicates, as plain values.

    Args:
        twins: Of these images.
        index: The images.
        fold: Side of each image, int64 (n_images,); -1 is the sealed test.
    """
    across = twins_across(twins, fold)
    is_conflict = index.labels[twins.first] != index.labels[twins.second]
    sizes = np.bincount(twins.groups)
    return {
        "schema": _SCHEMA,
        "images": index.n_images,
        "pairs": len(twins.first),
        "images_with_twin": len(np.unique(np.concatenate([twins.first, twins.second]))),
        "images_across": int(across.sum()),
        "test_images": int((fold == TEST).sum()),
        "test_images_across": int((across & (fold == TEST)).sum()),
        "label_conflicts": int(is_conflict.sum()),
        "groups_of_two_or_more": int((sizes > 1).sum()),
        "largest_group": int(sizes.max(initial=0)),
        "images_to_move": n_to_move(twins.groups, fold),
    }


def study_leaks(
    source: FeatureSource, folder: StudyFolder, index: ImageIndex, console: Console
) -> dict[str, Any]:
    """What the study's split does to near-duplicates: `leak_facts`.

    Found once for a study and kept in its folder, so that every later start says the same.
    """
    path = folder.path / "near_duplicates.json"
    kept = _kept_facts(path)
    if kept is None:
        extract_images(source, index, console)
        twins = compare_images(source, index, console)
        kept = leak_facts(twins, index, folder.images.fold)
        write_whole(path, json.dumps(kept, indent=1))
    return kept


def _kept_facts(path: Path) -> dict[str, Any] | None:
    """What an earlier start has found; None when there is nothing, or nothing that can be used."""
    try:
        kept = json.loads(path.read_text("utf-8"))
        is_sound = kept["schema"] == _SCHEMA and all(isinstance(kept[k], int) for k in _SENTENCE)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return dict(kept) if is_sound else None


def leak_sentence(facts: dict[str, Any]) -> str:
    """One sentence on images whose near-twins the split parts; empty when there are none."""
    n = facts["images_across"]
    if not n:
        return ""
    return (
        f"{n:,} of {facts['images']:,} images have a near-twin on another side of the split "
        f"({facts['test_images_across']:,} of the {facts['test_images']:,} in the sealed test): "
        "recall looks better than it is"
    )


def pair_facts(twins: Twins, index: ImageIndex, fold: IntArray) -> list[dict[str, Any]]:
    """Every pair as plain values: those that the split parts first, the likest first."""
    return [
        {
            "images": [index.paths[a], index.paths[b]],
            "classes": [index.class_names[index.labels[a]], index.class_names[index.labels[b]]],
            "sides": [side_name(int(fold[a])), side_name(int(fold[b]))],
            "likeness": round(float(twins.likeness[p]), 3),
            "cosine": round(float(twins.cosine[p]), 3),
        }
        for p in _parted_first(twins, fold)
        for a, b in [(int(twins.first[p]), int(twins.second[p]))]
    ]


def side_name(fold: int) -> str:
    """How people call a side of the split."""
    return "sealed test" if fold == TEST else f"fold {fold}"


def split_by_twins(config: StudyConfig, index: ImageIndex, twins: Twins) -> Split | SplitError:
    """The split that ``group_by: near_duplicates`` would make, or why there is none."""
    try:
        return split_images(config, replace(index, groups=twins.groups))
    except SplitError as error:
        return error


def print_twins(
    twins: Twins, config: StudyConfig, index: ImageIndex, fold: IntArray, console: Console
) -> None:
    """Near-duplicates, what the split does to them, and what a grouped split would do."""
    facts = leak_facts(twins, index, fold)
    if not facts["pairs"]:
        say_fact(console, "twins", f"no near-duplicates among {index.n_images:,} images")
        return
    pairs = f"{facts['pairs']:,} pairs of near-duplicates, {facts['images_with_twin']:,} images"
    say_fact(console, "twins", pairs)
    if sentence := leak_sentence(facts):
        warn(console, sentence)
    listed = pair_facts(twins, index, fold)
    conflicts = [pair for pair in listed if pair["classes"][0] != pair["classes"][1]]
    _list_pairs(conflicts, "near-twins with different labels", console)
    others = [pair for pair in listed if pair["classes"][0] == pair["classes"][1]]
    _list_pairs(others, "near-twins", console)
    if config.data.group_by is None:
        _print_grouping(facts, split_by_twins(config, index, twins), console)


def _list_pairs(pairs: Sequence[dict[str, Any]], head: str, console: Console) -> None:
    for pair in pairs[:_PAIRS_SHOWN]:
        (a, b), (x, y), (left, right) = pair["images"], pair["classes"], pair["sides"]
        classes = (f" ({x})", f" ({y})") if x != y else ("", "")
        sides = f"{left} | {right}" if left != right else left
        say(console, f"  {pair['likeness']:.2f}  {a}{classes[0]}  {b}{classes[1]}  [{sides}]")
    if len(pairs) > _PAIRS_SHOWN:
        n_more = len(pairs) - _PAIRS_SHOWN
        say(console, f"  and {n_more:,} more {head}; all: tuner check STUDY --json")


def _print_grouping(facts: dict[str, Any], split: Split | SplitError, console: Console) -> None:
    n, largest = facts["groups_of_two_or_more"], facts["largest_group"]
    groups = f"{n:,} groups of 2 to {largest:,} images" if largest > 2 else f"{n:,} pairs"
    text = f"group_by: near_duplicates would keep {groups} together"
    if isinstance(split, SplitError):
        warn(console, f"{text}, but no such split is possible: {split.what}")
        return
    moves = facts["images_to_move"]
    say_fact(console, "grouped", f"{text}; {moves:,} images are on the wrong side now")


def save_sheet(twins: Twins, index: ImageIndex, fold: IntArray, path: Path) -> None:
    """Write the contact sheet of all pairs."""
    from tuner.report.figures.contact_sheet import save_pairs

    shown = [_shown(twins, index, fold, p) for p in _parted_first(twins, fold)]
    save_pairs(shown, path, title="Near-duplicates")


def _shown(twins: Twins, index: ImageIndex, fold: IntArray, p: int) -> ShownPair:
    from tuner.report.figures.contact_sheet import Shown, ShownPair

    rows = int(twins.first[p]), int(twins.second[p])
    first, second = (
        Shown(
            index.root / index.paths[row],
            index.paths[row].rsplit("/", 1)[-1],
            index.class_names[index.labels[row]],
            side_name(int(fold[row])),
        )
        for row in rows
    )
    is_parted, is_conflict = fold[rows[0]] != fold[rows[1]], len(set(index.labels[[*rows]])) > 1
    notes = ["parted by the split"] * bool(is_parted) + ["different labels"] * is_conflict
    heading = ", ".join([f"likeness {twins.likeness[p]:.2f}", *notes])
    return ShownPair(first, second, heading, bool(notes))


def _parted_first(twins: Twins, fold: IntArray) -> list[int]:
    is_together = fold[twins.first] == fold[twins.second]
    return [int(p) for p in np.argsort(is_together, kind="stable")]


def _keys(source: FeatureSource, index: ImageIndex) -> list[str]:
    from tuner.features.views import view_key

    return [view_key(s, 0, augmentation=source.config.augmentation) for s in index.sha256]
