"""A study's folder: the resolved study file, the images with their folds, the seal, the records.

Everything that shows, exports or mirrors a study reads it from here.
"""

from __future__ import annotations

import csv
import fcntl
import getpass
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, Field, TypeAdapter

from tuner.config import StudyConfig, dump_study, incomparable_changes, load_study
from tuner.data.index import ImageIndex
from tuner.data.split import Split, split_fingerprint
from tuner.errors import StudyError
from tuner.files import listed, sweep, write_whole
from tuner.home import Home
from tuner.home.records import Record, load_records
from tuner.home.stored import read_stored, reason_of

IntArray = NDArray[np.int64]

TEST = -1  # value of `ImageTable.fold` for the sealed test
_YOUNGER = {("training", "mode")}  # keys that studies of the first version do not hold
_RESTORE = "restore it from a backup, or start a study of another name"


class _About(BaseModel):
    """What every reader of ``about.json`` relies on."""

    class_names: list[str] = Field(min_length=1)
    data_fingerprint: str
    split_fingerprint: str
    versions: dict[str, str] = {}
    git: dict[str, str] = {}
    problems: list[list[str]] = []


_ABOUT = TypeAdapter(_About)
_SEAL = TypeAdapter(list[dict[str, Any]])


class ImageTable(NamedTuple):
    """The images of a study in the order of its index, each array of shape (n_images,).

    Attributes:
        paths: Relative to the data's root.
        sha256: Hash of each file's bytes.
        labels: Index of each class, int64.
        fold: Validation fold, int64; -1 is the sealed test.
        groups: Group of each image, int64, or None.
    """

    paths: list[str]
    sha256: list[str]
    labels: IntArray
    fold: IntArray
    groups: IntArray | None

    @property
    def search(self) -> IntArray:
        """Images that are not in the sealed test."""
        return np.flatnonzero(self.fold != TEST)

    @property
    def test(self) -> IntArray:
        """Images of the sealed test."""
        return np.flatnonzero(self.fold == TEST)


class StudyFolder:
    """Reads one study's folder.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The study's name."""
        return self.path.name

    @property
    def records_path(self) -> Path:
        """Where the records lie."""
        return self.path / "records"

    @property
    def lock_path(self) -> Path:
        """Held by the process that runs the study."""
        return self.path / ".lock"

    def turn_path(self, what: str) -> Path:
        """Lock of something that only one worker of the study does at a time."""
        return self.path / f".{what}.lock"

    @property
    def exists(self) -> bool:
        """Whether a whole study lies here; `about.json` is written last."""
        return (self.path / "about.json").exists()

    @cached_property
    def config(self) -> StudyConfig:
        """The resolved study file.

        Raises:
            StudyFileError: If it is missing or wrong.
            StudyError: If its end is missing: defaults would take the place of what it said.
        """
        path = self.path / "study.yaml"
        config = load_study(path)
        if lost := _lost_key(path.read_text(encoding="utf-8-sig"), config):
            what = f"the stored study file is cut off: '{lost}' is not whole"
            raise StudyError(what, where=str(path), do=_RESTORE)
        return config

    @cached_property
    def about(self) -> dict[str, Any]:
        """Class names, fingerprints, and where the study came from."""
        path, what = self.path / "about.json", "what a study is about"
        found: dict[str, Any] = read_stored(path, _ABOUT, what=what, do=_RESTORE)
        return found

    @property
    def class_names(self) -> list[str]:
        """Class names in the order of every per-class array."""
        return list(self.about["class_names"])

    @cached_property
    def images(self) -> ImageTable:
        """The images and their folds, as they were when the study began.

        Raises:
            StudyError: If the table is damaged.
        """
        path = self.path / "images.csv"
        try:
            table = _read_images(path)
            _check_images(table, self.about)
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            what = f"the table of the study's images cannot be read: {reason_of(error)}"
            raise StudyError(what, where=str(path), do=_RESTORE) from error
        return table

    def records(self) -> list[Record]:
        """All records on disk: baselines, trials by number, confirm runs.

        Raises:
            StudyError: If one is damaged, or counts other classes than the study's.
        """
        records = load_records(self.records_path)
        for record in records:
            if fault := _fault(record, n_classes=len(self.class_names)):
                raise StudyError(
                    f"record cannot be used: {fault}",
                    where=str(self.records_path / f"{record.name}.json"),
                    do="restore it, and about.json beside the records, from a backup",
                )
        return records

    @property
    def seal(self) -> list[dict[str, Any]]:
        """Every opening of the sealed test: who, when, with what command."""
        path, what = self.path / "seal.json", "the seal of the test"
        openings: list[dict[str, Any]] = read_stored(path, _SEAL, what=what, do=_RESTORE)
        return openings

    def open_seal(self, *, command: str, plan: str | None = None) -> int:
        """Record that the test is opened now; returns how often it has been opened.

        Args:
            command: What the user wrote.
            plan: Hash of what a confirmation had decided before it looked, so that one that is
                interrupted can go on.
        """
        opening = {
            "opened_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "user": _user(),
            "command": command,
        }
        openings = [*self.seal, opening | ({} if plan is None else {"plan": plan})]
        write_whole(self.path / "seal.json", json.dumps(openings, indent=1))
        return len(openings)

    @contextmanager
    def locked(self, *, alone: bool = True) -> Iterator[None]:
        """Hold the study for this process; the system lets go of it if the process dies.

        Args:
            alone: Whether nobody else may hold it; workers of one study hold it together.

        Raises:
            StudyError: If another process is running the study, and one of both is alone.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self.lock_path.open("a+") as stream:
            try:
                fcntl.flock(stream, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except OSError as error:
                stream.seek(0)
                raise StudyError(
                    f"study '{self.name}' is already running (process {stream.read().strip()})",
                    where=str(self.path),
                    do="wait for it, or watch it with: tuner status " + self.name,
                ) from error
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            for folder in (self.path, self.records_path):
                sweep(folder)
            yield


def create_study_folder(
    folder: StudyFolder,
    config: StudyConfig,
    index: ImageIndex,
    split: Split,
    *,
    about: dict[str, Any],
) -> None:
    """Write a new study's folder; it exists once `about.json` is there.

    Raises:
        StudyError: If results lie there that have lost it: a new study would mix with them, and
            its seal would forget who opened the test.
    """
    check_whole(folder)
    (folder.path / "records").mkdir(parents=True, exist_ok=True)
    columns: dict[str, Any] = {
        "path": index.paths,
        "sha256": index.sha256,
        "label": index.labels,
        "class": [index.class_names[k] for k in index.labels],
        "fold": split.fold,
    }
    if index.groups is not None:
        columns["group"] = index.groups
    # All text quoted: pandas leaves a carriage return bare, and reads it as the end of a line.
    table = pd.DataFrame(columns).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    write_whole(folder.path / "images.csv", table)
    write_whole(folder.path / "study.yaml", dump_study(config))
    write_whole(folder.path / "seal.json", "[]")
    facts = {
        "class_names": list(index.class_names),
        "data_fingerprint": index.fingerprint,
        "split_fingerprint": split_fingerprint(split, index.sha256),
        "problems": [[p.path, p.reason] for p in index.problems],
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "id": secrets.token_hex(16),  # tells two homes apart that began the same study at once
        **about,
    }
    write_whole(folder.path / "about.json", json.dumps(facts, indent=1))


def check_unchanged(folder: StudyFolder, config: StudyConfig, index: ImageIndex) -> None:
    """Refuse to go on when that would mix trials that cannot be compared.

    Raises:
        StudyError: If a setting or an image that matters has changed; names which.
    """
    changes = incomparable_changes(folder.config, config)
    if changes:
        raise StudyError(
            f"study '{folder.name}' was begun with other settings: " + "; ".join(changes),
            where=str(folder.path / "study.yaml"),
            do="change them back, or give the study another name",
        )
    if folder.about["data_fingerprint"] == index.fingerprint:
        return
    then = dict(zip(folder.images.paths, folder.images.sha256, strict=True))
    now = dict(zip(index.paths, index.sha256, strict=True))
    differences = {
        "added": sorted(now.keys() - then.keys()),
        "removed": sorted(then.keys() - now.keys()),
        "changed": sorted(p for p in then.keys() & now.keys() if then[p] != now[p]),
    }
    said = [
        f"{len(paths)} {what} ({paths[0]}{', …' if len(paths) > 1 else ''})"
        for what, paths in differences.items()
        if paths
    ]
    raise StudyError(
        f"the images of study '{folder.name}' are not those it began with: "
        + (", ".join(said) or "labels or groups differ"),
        where=str(index.root),
        do="restore them, or give the study another name to start anew on what is there",
    )


def keep_settings(folder: StudyFolder, config: StudyConfig) -> None:
    """Store settings that may change between starts, such as the number of trials."""
    if folder.config != config:
        write_whole(folder.path / "study.yaml", dump_study(config))
        folder.config = config


def check_whole(folder: StudyFolder) -> None:
    """Refuse a folder with results of a study but without what the study is about.

    Raises:
        StudyError: If so.
    """
    if folder.exists:
        return
    seal = folder.path / "seal.json"
    is_opened = seal.exists() and seal.read_bytes().strip() not in (b"", b"[]")
    if is_opened or listed(folder.records_path, "*.json"):
        found = "an opened seal" if is_opened else "records"
        raise StudyError(
            f"study '{folder.name}' has {found}, but its about.json is missing",
            where=str(folder.path),
            do=f"{_RESTORE}; or move the folder away to begin this one anew",
        )


def find_study(home: Home, name: str) -> StudyFolder:
    """The folder of a study by name.

    Raises:
        StudyError: If the home holds no such study; lists those it holds.
    """
    folder = StudyFolder(home.studies / name)
    if folder.exists:
        return folder
    check_whole(folder)
    known = ", ".join(f.name for f in all_studies(home)) or "none"
    raise StudyError(
        f"no study '{name}' in this home; there: {known}",
        where=str(home.studies),
        do="start it with: tuner run STUDY.yaml, or point --home at its home",
    )


def all_studies(home: Home) -> list[StudyFolder]:
    """Every study of the home, by name."""
    if not home.studies.is_dir():
        return []
    folders = (StudyFolder(path) for path in sorted(home.studies.iterdir()) if path.is_dir())
    return [folder for folder in folders if folder.exists]


def _lost_key(text: str, config: StudyConfig) -> str:
    """The first key that a stored study file lacks of the complete one, or an empty text."""
    stored: dict[str, Any] = yaml.safe_load(text)
    for block, values in config.model_dump().items():
        known = stored.get(block)
        if block not in stored or (isinstance(values, dict) and not isinstance(known, dict)):
            return block
        for key in values if isinstance(values, dict) else ():
            if key not in stored[block] and (block, key) not in _YOUNGER:
                return f"{block}.{key}"
    return "" if text.endswith("\n") else "the last line"


def _fault(record: Record, *, n_classes: int) -> str:
    """Why a record is none of a study of so many classes, or an empty text."""
    if record.matrix and len(record.matrix) != n_classes:
        return f"it counts {len(record.matrix)} classes, and its study has {n_classes}"
    if record.state != "complete":
        return ""
    if not record.matrix or "macro_recall" not in record.scores:
        return "it is complete, but has no confusion matrix or no scores"
    is_judged = record.value is not None or record.kind == "confirm"
    return "" if is_judged else "it is complete, but has no value"


def _read_images(path: Path) -> ImageTable:
    frame = pd.read_csv(path, dtype={"path": str, "sha256": str}, keep_default_na=False)
    has_groups = "group" in frame.columns
    return ImageTable(
        frame["path"].tolist(),
        frame["sha256"].tolist(),
        frame["label"].to_numpy(np.int64),
        frame["fold"].to_numpy(np.int64),
        frame["group"].to_numpy(np.int64) if has_groups else None,
    )


def _check_images(table: ImageTable, about: dict[str, Any]) -> None:
    """Raise ValueError unless these are the images, and the folds, that the study began with."""
    n_classes = len(about["class_names"])
    if len(table.labels) and not 0 <= table.labels.min() <= table.labels.max() < n_classes:
        raise ValueError(f"a label is none of the {n_classes} classes")
    split = Split(table.fold, int(table.fold.max(initial=-1)) + 1)
    if split_fingerprint(split, table.sha256) != about["split_fingerprint"]:
        raise ValueError("images or folds are not those that the study began with")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run as a user without a name
        return str(os.getuid())
