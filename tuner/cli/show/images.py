"""What ``tuner init`` and ``tuner check`` print of images: classes, problems, near-duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tuner.cli.options import home_words
from tuner.cli.show.tables import class_table
from tuner.cli.show.terminal import make_console, say, say_fact, say_step, warn
from tuner.errors import SplitError, UsageError
from tuner.study import (
    Check,
    Draft,
    ImageTable,
    UngroupedError,
    cost_sentence,
    leak_sentence,
)
from tuner.text import command, some

_SETS_SHOWN = 20
_PAIRS_SHOWN = 20
_PROBLEMS_SHOWN = 20


def print_draft(draft: Draft, *, group_by: str | None, home: Path | None) -> None:
    """What a new study file is about, and the commands that follow."""
    console = make_console(is_result=True)
    path, table = draft.path, draft.table
    say(console, f"{table.n_images:,} images in {table.n_classes} classes: {path}")
    for sentence in draft.said:
        say(console, sentence)
    _print_problems(table, console, limit=_PROBLEMS_SHOWN)
    for note in table.notes:
        warn(console, note)
    features = ["--features"] if group_by == "near_duplicates" else []
    say_step(console, "look", command("tuner", "check", path, *features, *home_words(home)))
    say_step(console, "start", command("tuner", "run", path, *home_words(home)))


@contextmanager
def with_command(study: str, home: Path | None) -> Iterator[None]:
    """Name the command that looks for near-duplicates where they are to be grouped first."""
    try:
        yield
    except UngroupedError as error:
        do = f"extract them: {_features_command(study, home)}"
        raise UsageError(error.what, where=error.where, do=do) from error


def print_check(check: Check, *, study: str, home: Path | None) -> None:
    """Everything that was found, and what it would be computed on."""
    console = make_console(is_result=True)
    _print_images(check, console)
    if check.near_duplicates is not None:
        _print_near_duplicates(check, console)
        if check.sheet is not None:
            say_fact(console, "sheet", str(check.sheet))
    _print_views(check, console)
    device = check.device
    say_fact(console, "device", f"{device}, {check.config.backbone.precision}")
    if device.warning:
        warn(console, device.warning)
    if check.backbone:
        say_fact(console, "backbone", check.backbone)
    if check.engine:
        say_fact(console, "engine", check.engine)
    if check.near_duplicates is None:
        say_step(console, "twins", _features_command(study, home))


def _print_views(check: Check, console: Console) -> None:
    """How many rows there are to extract and, where they were looked at, what views show."""
    rows = check.rows
    is_shared = check.config.augmentation.policy == "shared"
    more = f"; {rows['by_shared']:,} {'of them' if is_shared else 'more'} by policy: shared"
    say_fact(console, "rows", f"{rows['rows']:,} images and views to extract{more}")
    if (views := check.views) is None:
        return
    if views.words:
        say_fact(console, "views", views.words)
    for sentence in views.warnings:
        warn(console, sentence)
    say_fact(console, "sheet", str(views.sheet))


def _features_command(study: str, home: Path | None) -> str:
    return command("tuner", "check", study, "--features", *home_words(home))


def _print_images(check: Check, console: Console) -> None:
    """Classes, groups, what was left out, and what is the same byte for byte."""
    table = check.table
    say(console, f"{table.n_images:,} images in {table.n_classes} classes, {table.root}")
    console.print(class_table(table))
    ratio = table.counts.max() / table.counts.min()
    say_fact(console, "classes", f"{ratio:.1f} to 1 from the largest to the rarest")
    if table.groups is not None:
        say_fact(console, "groups", f"{len(np.unique(table.groups)):,}; none crosses a split")
    say_fact(console, "split", f"{check.config.split.folds} folds, sealed test")
    _print_problems(table, console, limit=len(table.problems))
    for note in check.notes:
        warn(console, note)
    _print_duplicates(check, console)


def _print_problems(table: ImageTable, console: Console, *, limit: int) -> None:
    """Name the files that were left out, and why."""
    for problem in table.problems[:limit]:
        warn(console, f"left out {problem.path}: {problem.reason}")
    if len(table.problems) > limit:
        warn(console, f"and {len(table.problems) - limit} more; see: tuner check")


def _print_duplicates(check: Check, console: Console) -> None:
    table, conflicts = check.table, check.conflicts
    for images in conflicts[:_SETS_SHOWN]:
        told = [f"{table.paths[i]} ({table.class_names[table.labels[i]]})" for i in images]
        warn(console, f"same bytes, different labels: {some(told, n=6)}")
    if len(conflicts) > _SETS_SHOWN:
        n_more = len(conflicts) - _SETS_SHOWN
        warn(console, f"and {n_more} more with different labels; all: tuner check STUDY --json")
    same = [images for images in check.duplicates if images not in conflicts]
    for images in same[:_SETS_SHOWN]:
        warn(console, f"same bytes: {some([table.paths[i] for i in images], n=6)}")
    if len(same) > _SETS_SHOWN:
        n_more = len(same) - _SETS_SHOWN
        warn(console, f"and {n_more} more sets of the same bytes; all: tuner check STUDY --json")


def _print_near_duplicates(check: Check, console: Console) -> None:
    """Near-duplicates, what the split does to them, and what a grouped split would do."""
    facts = check.near_duplicate_facts()
    if facts is None:
        return
    if not facts["pairs"]:
        n_images = check.table.n_images
        say_fact(console, "twins", f"no near-duplicates among {n_images:,} images")
        say_fact(console, "", check.not_looked_for)
        return
    pairs = f"{facts['pairs']:,} pairs of near-duplicates, {facts['images_with_twin']:,} images"
    say_fact(console, "twins", pairs)
    if sentence := leak_sentence(facts):
        warn(console, sentence)
    conflicts = [pair for pair in facts["listed"] if pair["classes"][0] != pair["classes"][1]]
    _list_pairs(conflicts, "near-twins with different labels", console)
    others = [pair for pair in facts["listed"] if pair["classes"][0] == pair["classes"][1]]
    _list_pairs(others, "near-twins", console)
    for title, cost in check.leak_costs.items():
        say_fact(console, "leak", cost_sentence(title, cost))
    if check.config.data.group_by in (None, "none"):
        _print_grouping(check, facts, console)


def _list_pairs(pairs: Sequence[dict[str, Any]], head: str, console: Console) -> None:
    for pair in pairs[:_PAIRS_SHOWN]:
        (a, b), (x, y), (left, right) = pair["images"], pair["classes"], pair["sides"]
        classes = (f" ({x})", f" ({y})") if x != y else ("", "")
        sides = f"{left} | {right}" if left != right else left
        say(console, f"  {pair['likeness']:.2f}  {a}{classes[0]}  {b}{classes[1]}  [{sides}]")
    if len(pairs) > _PAIRS_SHOWN:
        n_more = len(pairs) - _PAIRS_SHOWN
        say(console, f"  and {n_more:,} more {head}; all: tuner check STUDY --json")


def _print_grouping(check: Check, facts: dict[str, Any], console: Console) -> None:
    n, largest = facts["groups_of_two_or_more"], facts["largest_group"]
    groups = f"{n:,} groups of 2 to {largest:,} images" if largest > 2 else f"{n:,} pairs"
    text = f"group_by: auto would keep {groups} together"
    grouped = check.grouped()
    if isinstance(grouped, SplitError):
        warn(console, f"{text}, but no such split is possible: {grouped.what}")
        return
    moves = facts["images_to_move"]
    say_fact(console, "grouped", f"{text}; {moves:,} images are on the wrong side now")
