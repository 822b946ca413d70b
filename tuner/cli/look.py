"""``tuner init``, ``check`` and ``status``: look, and train nothing."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from tuner.cli.run import load_config, print_problems
from tuner.cli.terminal import class_table, command, make_console, short, title
from tuner.config import StudyConfig, safe_study_name, study_template
from tuner.data.index import ImageIndex, exact_duplicates, label_conflicts, read_index
from tuner.data.split import small_class_warnings
from tuner.errors import UsageError
from tuner.home import Home
from tuner.search.folder import StudyFolder, all_studies, find_study
from tuner.search.records import Record, winner
from tuner.search.session import read_images, split_images

if TYPE_CHECKING:
    from tuner.data.split import Split


def init_study(data: str, *, output: Path | None, home: Path | None) -> None:
    """Read the images and write a commented study file for them."""
    console = make_console(is_result=True)
    index = read_index(data, home=Home.find(home).path)
    name = safe_study_name(Path(data).resolve().stem if data != "digits" else "digits")
    path = output or Path("studies") / f"{name}.yaml"
    if path.exists():
        raise UsageError(
            f"'{path}' exists already", do="choose another place with -o, or delete it first"
        )
    counts = {name: int(n) for name, n in zip(index.class_names, index.counts, strict=True)}
    text = study_template(name, data, classes=counts, path=str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    console.print(f"{index.n_images:,} images in {index.n_classes} classes: {escape(str(path))}")
    print_problems(index.problems, console)
    for note in index.notes:
        console.print(f"[yellow]! {escape(note)}[/yellow]")
    console.print(f"  [dim]look [/dim] {escape(command('tuner', 'check', path))}")
    console.print(f"  [dim]start[/dim] {escape(command('tuner', 'run', path))}")


def check_study(study: str, *, overrides: Sequence[str], home: Path | None, as_json: bool) -> None:
    """Show what the images of a study are, and what stands in its way."""
    at = Home.find(home)
    config = load_config(study, overrides, at)
    console = make_console(is_result=True)
    progress = make_console(is_result=False)
    with progress.status("reading images"):
        index = read_images(config, at)
    split = split_images(config, index)
    if as_json:
        print(json.dumps(_facts(config, index, split), indent=1, ensure_ascii=False))
        return
    console.print(f"{index.n_images:,} images in {index.n_classes} classes, {index.root}")
    console.print(class_table(index.class_names, index.labels, split.fold))
    ratio = index.counts.max() / index.counts.min()
    console.print(f"imbalance {ratio:.1f} to 1, {config.split.folds} folds, sealed test")
    if index.groups is not None:
        console.print(f"groups    {len(np.unique(index.groups)):,}; none crosses a split")
    print_problems(index.problems, console, limit=len(index.problems))
    for note in (*index.notes, *small_class_warnings(split, index.labels, index.class_names)):
        console.print(f"[yellow]! {escape(note)}[/yellow]")
    _print_duplicates(index, console)
    from tuner.features.device import find_device

    device = find_device()
    console.print(f"device    {escape(str(device))}, {config.backbone.precision}")
    if device.warning:
        console.print(f"[yellow]! {escape(device.warning)}[/yellow]")


def _print_duplicates(index: ImageIndex, console: Any) -> None:
    conflicts = label_conflicts(index)
    for rows in conflicts:
        told = ", ".join(f"{index.paths[i]} ({index.class_names[index.labels[i]]})" for i in rows)
        console.print(f"[yellow]! same bytes, different labels: {escape(told)}[/yellow]")
    same = [rows for rows in exact_duplicates(index) if rows not in conflicts]
    for rows in same[:20]:
        told = ", ".join(index.paths[i] for i in rows)
        console.print(f"[yellow]! same bytes: {escape(told)}[/yellow]")
    if len(same) > 20:
        console.print(f"[yellow]! and {len(same) - 20} more sets of byte-identical files[/yellow]")


def _facts(config: StudyConfig, index: ImageIndex, split: Split) -> dict[str, Any]:
    search = np.bincount(index.labels[split.search_rows], minlength=index.n_classes)
    classes = [
        {"class": name, "images": int(n), "search": int(s), "test": int(n - s)}
        for name, n, s in zip(index.class_names, index.counts, search, strict=True)
    ]
    return {
        "study": config.name,
        "root": str(index.root),
        "images": index.n_images,
        "classes": classes,
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
    """One line per study: what is finished, whether it runs, and the best so far."""
    at = Home.find(home)
    folders = [find_study(at, Path(study).stem)] if study else all_studies(at)
    found = [_status(folder) for folder in folders]
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    console = make_console(is_result=True)
    if not found:
        console.print(f"no study in {escape(str(at.path))}; start one with: tuner run STUDY.yaml")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("study", "trials", "state", "best", "objective", "setting"):
        table.add_column(column)
    for facts in found:
        best = facts["best"] or {}
        failed = f", {facts['failed']} failed" if facts["failed"] else ""
        value = best.get("value")
        table.add_row(
            escape(short(facts["study"], 40)),
            f"{facts['finished']} of {facts['trials']}{failed}",
            facts["state"],
            escape(best.get("title", "")),
            "" if value is None else f"{facts['metric']} {value:.3f}",
            best.get("setting", ""),
        )
    console.print(table)


def _status(folder: StudyFolder) -> dict[str, Any]:
    records = folder.records()
    trials = [r for r in records if r.kind == "trial"]
    finished = sum(r.state != "failed" for r in trials)
    best = winner(records)
    is_done = finished >= folder.config.search.trials
    return {
        "study": folder.name,
        "state": "running" if _is_locked(folder) else "finished" if is_done else "stopped",
        "finished": finished,
        "failed": len(trials) - finished,
        "trials": folder.config.search.trials,
        "metric": folder.config.objective.metric,
        "best": _best(best, folder.class_names) if best else None,
        "test_openings": len(folder.seal),
    }


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
