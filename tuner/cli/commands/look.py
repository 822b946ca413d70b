"""``tuner init``, ``check`` and ``status``: look, and train nothing."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from tuner.cli.commands.run import (
    find_backend,
    find_weights,
    home_words,
    print_problems,
    print_winner,
    say_device,
)
from tuner.cli.commands.studies import find_named, load_config
from tuner.cli.commands.twins import (
    compare_images,
    extract_images,
    has_features,
    leak_facts,
    pair_facts,
    print_twins,
    save_sheet,
    split_by_twins,
)
from tuner.cli.show.tables import class_table, openings, status_table, title
from tuner.cli.show.terminal import command, make_console, say, say_fact, say_step, warn
from tuner.config import StudyConfig, safe_study_name, study_template
from tuner.data.index import ImageIndex, exact_duplicates, label_conflicts, read_index
from tuner.data.sources import some
from tuner.data.split import small_class_warnings
from tuner.errors import DataError, SplitError, StudyError, UsageError, WeightsError
from tuner.home import Home
from tuner.home.founding import NEAR_DUPLICATES, is_grouped, read_images, split_images, with_groups
from tuner.home.records import Record, winner
from tuner.home.study_folder import StudyFolder, all_studies

if TYPE_CHECKING:
    from tuner.data.near_duplicates.find import Twins
    from tuner.data.split import Split

_SETS_SHOWN = 20


def init_study(
    data: str, *, output: Path | None, root: str | None, group_by: str | None, home: Path | None
) -> None:
    """Read the images and write a commented study file for them."""
    name = safe_study_name("digits" if data == "digits" else Path(data).resolve().stem)
    path = output or Path("studies") / f"{name}.yaml"
    _check_target(path)
    try:
        column = None if group_by == NEAR_DUPLICATES else group_by
        index = read_index(data, home=Home.find(home).path, root=root, group_by=column)
    except DataError as error:  # there is no study file yet whose keys could be mended
        do = error.do.replace("data.root", "--root").replace("data.group_by", "--group-by")
        raise DataError(error.what, where=error.where, do=do) from error
    counts = {name: int(n) for name, n in zip(index.class_names, index.counts, strict=True)}
    text = study_template(name, data, classes=counts, path=str(path), root=root, group_by=group_by)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        what = f"the study file cannot be written: {error.strerror or error}"
        do = "choose another place with -o"
        raise UsageError(what, where=str(path), do=do) from error
    console = make_console(is_result=True)
    say(console, f"{index.n_images:,} images in {index.n_classes} classes: {path}")
    print_problems(index.problems, console)
    for note in index.notes:
        warn(console, note)
    features = ["--features"] if group_by == NEAR_DUPLICATES else []
    say_step(console, "look", command("tuner", "check", path, *features, *home_words(home)))
    say_step(console, "start", command("tuner", "run", path, *home_words(home)))


def _check_target(path: Path) -> None:
    """Refuse what would overwrite a study file or could not be named to ``tuner run``."""
    if path.is_dir():
        do = f"name a file in it: -o {command(path / 'NAME.yaml')}"
        raise UsageError(f"'{path}' is a folder", do=do)
    if path.exists():
        do = "choose another place with -o, or delete it first"
        raise UsageError(f"'{path}' exists already", do=do)
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(
            f"'{path}' does not end in .yaml", do=f"write -o {command(f'{path}.yaml')}"
        )


def check_study(
    study: str,
    *,
    overrides: Sequence[str],
    home: Path | None,
    as_json: bool,
    extracts_features: bool = False,
) -> None:
    """Show what the images of a study are, and what stands in its way."""
    at = Home.find(home)
    config = load_config(study, overrides, at)
    progress = make_console(is_result=False)
    with progress.status("reading images"):
        index = read_images(config, at)
        index = with_groups(config, index, StudyFolder(at.studies / config.name))
    twins = _find_twins(config, index, at, progress, extracts_features=extracts_features)
    if not is_grouped(config, index):
        if twins is None:
            words = ["tuner", "check", study, "--features", *home_words(home)]
            what = "near-duplicates cannot be grouped before their features are there"
            do = f"extract them: {command(*words)}"
            raise UsageError(what, where="data.group_by: near_duplicates", do=do)
        index = replace(index, groups=twins.groups)
    split = split_images(config, index)
    sheet = at.studies / config.name / "near_duplicates.png"
    if twins is not None and len(twins.first):
        with progress.status("drawing pairs"):
            save_sheet(twins, index, split.fold, sheet)
    if as_json:
        facts = _facts(config, index, split)
        facts["near_duplicates"] = twins and _twin_facts(twins, config, index, split, sheet)
        print(json.dumps(facts, indent=1))
        return
    console = make_console(is_result=True)
    _print_images(config, index, split, console)
    if twins is not None:
        print_twins(twins, config, index, split.fold, console)
        if len(twins.first):
            say_fact(console, "sheet", str(sheet))
    say_device(console, find_backend(), config)
    if twins is None:
        words = ["tuner", "check", study, "--features", *home_words(home)]
        say_step(console, "twins", command(*words))


def _print_images(config: StudyConfig, index: ImageIndex, split: Split, console: Console) -> None:
    """Classes, groups, what was left out, and what is the same byte for byte."""
    say(console, f"{index.n_images:,} images in {index.n_classes} classes, {index.root}")
    console.print(class_table(index.class_names, index.labels, split.fold))
    ratio = index.counts.max() / index.counts.min()
    say_fact(console, "classes", f"{ratio:.1f} to 1 from the largest to the rarest")
    if index.groups is not None:
        say_fact(console, "groups", f"{len(np.unique(index.groups)):,}; none crosses a split")
    say_fact(console, "split", f"{config.split.folds} folds, sealed test")
    print_problems(index.problems, console, limit=len(index.problems))
    for note in (*index.notes, *small_class_warnings(split, index.labels, index.class_names)):
        warn(console, note)
    _print_duplicates(index, console)


def _find_twins(
    config: StudyConfig,
    index: ImageIndex,
    home: Home,
    console: Console,
    *,
    extracts_features: bool,
) -> Twins | None:
    """Near-duplicates, when their features are there or are to be computed."""
    if not extracts_features and not home.features.is_dir():
        return None  # no bank: spare the backend
    device = find_backend()
    from tuner.features.source import open_features
    from tuner.features.weights.resolve import resolve_weights

    if extracts_features:
        config, weights = find_weights(config, console)
    else:
        try:
            weights = resolve_weights(config.backbone.weights, is_offline=True)
        except WeightsError:
            return None
    source = open_features(config, home, weights=weights, device=device)
    if extracts_features:
        extract_images(source, index, console)
    return compare_images(source, index, console) if has_features(source, index) else None


def _twin_facts(
    twins: Twins, config: StudyConfig, index: ImageIndex, split: Split, sheet: Path
) -> dict[str, Any]:
    grouped = split_by_twins(config, index, twins)
    is_possible = not isinstance(grouped, SplitError)
    return {
        **leak_facts(twins, index, split.fold),
        "grouped_split_is_possible": is_possible,
        "grouped_split_problem": None if is_possible else str(grouped),
        "contact_sheet": str(sheet) if len(twins.first) else None,
        "listed": pair_facts(twins, index, split.fold),
    }


def _print_duplicates(index: ImageIndex, console: Console) -> None:
    conflicts = label_conflicts(index)
    for rows in conflicts[:_SETS_SHOWN]:
        told = [f"{index.paths[i]} ({index.class_names[index.labels[i]]})" for i in rows]
        warn(console, f"same bytes, different labels: {some(told, n=6)}")
    if len(conflicts) > _SETS_SHOWN:
        n_more = len(conflicts) - _SETS_SHOWN
        warn(console, f"and {n_more} more with different labels; all: tuner check STUDY --json")
    same = [rows for rows in exact_duplicates(index) if rows not in conflicts]
    for rows in same[:_SETS_SHOWN]:
        warn(console, f"same bytes: {some([index.paths[i] for i in rows], n=6)}")
    if len(same) > _SETS_SHOWN:
        n_more = len(same) - _SETS_SHOWN
        warn(console, f"and {n_more} more sets of the same bytes; all: tuner check STUDY --json")


def _facts(config: StudyConfig, index: ImageIndex, split: Split) -> dict[str, Any]:
    search = np.bincount(index.labels[split.search], minlength=index.n_classes)
    classes = [
        {"class": name, "images": int(n), "search": int(s), "test": int(n - s)}
        for name, n, s in zip(index.class_names, index.counts, search, strict=True)
    ]
    return {
        "study": config.name,
        "root": str(index.root),
        "images": index.n_images,
        "classes": classes,
        "groups": None if index.groups is None else len(np.unique(index.groups)),
        "folds": config.split.folds,
        "data_fingerprint": index.fingerprint,
        "left_out": [{"path": p.path, "reason": p.reason} for p in index.problems],
        "notes": [
            *index.notes,
            *small_class_warnings(split, index.labels, index.class_names),
        ],
        "duplicates": [[index.paths[i] for i in rows] for rows in exact_duplicates(index)],
        "label_conflicts": [[index.paths[i] for i in rows] for rows in label_conflicts(index)],
    }


def show_status(study: str | None, *, home: Path | None, as_json: bool) -> None:
    """One line per study: what is finished, whether it runs, and the best so far.

    Raises:
        StudyError: If one cannot be read; the others have been printed by then.
    """
    at = Home.find(home)
    folders = [find_named(study, at)] if study else all_studies(at)
    found, damaged = [], []
    for folder in folders:
        try:
            found.append(_status(folder))
        except StudyError as error:
            damaged.append(error)
    if as_json:
        print(json.dumps(found, indent=1))
    elif found:
        _print_status(found, folders[0] if study else None)
    elif not damaged:
        console = make_console(is_result=True)
        say(console, f"no study in {at.path}; start one with: tuner run STUDY.yaml")
    for other in damaged[1:]:
        warn(make_console(is_result=False), f"{other.what} ({other.where})")
    if damaged:
        raise damaged[0]


def _print_status(found: Sequence[Mapping[str, Any]], one: StudyFolder | None) -> None:
    """The table and, of one study, its winner and what mattered."""
    console = make_console(is_result=True)
    console.print(status_table(found))
    if one is None:
        return
    records = one.records()
    best = winner(records)
    if best:
        console.print()
        print_winner(one, best, console)
        _print_importances(records, one.config, console)
    say_fact(console, "test", openings(len(one.seal)))


def _print_importances(records: Sequence[Record], config: StudyConfig, console: Console) -> None:
    """What moves the decision, what moves training, and whether to believe it."""
    from tuner.search.importance import GROUPS, importances

    found = importances(records, config)
    if found is None:
        return
    for name, members in GROUPS.items():
        parts = ", ".join(f"{member} {found.shares[member]:.0%}" for member in members)
        say_fact(console, "matters", f"{name} {found.groups[name]:.0%} ({parts})")
    if found.warning:
        warn(console, found.warning)


def _status(folder: StudyFolder) -> dict[str, Any]:
    records = folder.records()
    trials = [r for r in records if r.kind == "trial"]
    finished = sum(r.state != "failed" for r in trials)
    wanted = max(folder.config.search.trials, finished)  # a later start may have asked for more
    best = winner(records)
    return {
        "study": folder.name,
        "state": _state(folder, n_records=len(records), is_done=finished >= wanted),
        "finished": finished,
        "failed": len(trials) - finished,
        "trials": wanted,
        "metric": folder.config.objective.metric,
        "best": _best(best, folder.class_names) if best else None,
        "test_openings": len(folder.seal),
    }


def _state(folder: StudyFolder, *, n_records: int, is_done: bool) -> str:
    if _is_locked(folder):
        return "running"
    if is_done:
        return "finished"
    return "stopped" if n_records else "not started"


def _best(record: Record, class_names: Sequence[str]) -> dict[str, Any]:
    return {
        "name": record.name,
        "title": title(record),
        "value": record.value,
        "setting": str(record.params),
        "params": record.params.as_dict(),
        "scores": record.scores,
        "recall": dict(zip(class_names, record.recall, strict=True)),
        "is_feasible": record.is_feasible,
    }


def _is_locked(folder: StudyFolder) -> bool:
    if not folder.lock_path.exists():
        return False
    with folder.lock_path.open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
