"""A study's folder: the resolved study file, the images with their folds, the seal, the records.

Everything that shows, exports or mirrors a study reads it from here.
"""

from __future__ import annotations

import csv
import fcntl
import getpass
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tuner.atomic import sweep, write_whole
from tuner.config import StudyConfig, dump_study, incomparable_changes, parse_study
from tuner.data.index import ImageIndex
from tuner.data.split import Split, split_fingerprint
from tuner.errors import StudyError
from tuner.home import Home
from tuner.search.records import Record, load_records

IntArray = NDArray[np.int64]

TEST = -1  # value of `ImageTable.fold` for the sealed test


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
    def search_rows(self) -> IntArray:
        """Images that are not in the sealed test."""
        return np.flatnonzero(self.fold != TEST)

    @property
    def test_rows(self) -> IntArray:
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

    @property
    def exists(self) -> bool:
        """Whether a whole study lies here; `about.json` is written last."""
        return (self.path / "about.json").exists()

    @cached_property
    def config(self) -> StudyConfig:
        """The resolved study file."""
        path = self.path / "study.yaml"
        return parse_study(path.read_text(encoding="utf-8"), source=str(path))

    @cached_property
    def about(self) -> dict[str, Any]:
        """Class names, fingerprints, and where the study came from."""
        found: dict[str, Any] = json.loads((self.path / "about.json").read_text("utf-8"))
        return found

    @property
    def class_names(self) -> list[str]:
        """Class names in the order of every per-class array."""
        return list(self.about["class_names"])

    @cached_property
    def images(self) -> ImageTable:
        """The images and their folds, as they were when the study began."""
        frame = pd.read_csv(
            self.path / "images.csv", dtype={"path": str, "sha256": str}, keep_default_na=False
        )
        has_groups = "group" in frame.columns
        return ImageTable(
            frame["path"].tolist(),
            frame["sha256"].tolist(),
            frame["label"].to_numpy(np.int64),
            frame["fold"].to_numpy(np.int64),
            frame["group"].to_numpy(np.int64) if has_groups else None,
        )

    def records(self) -> list[Record]:
        """All records on disk: baselines, trials by number, confirm runs."""
        return load_records(self.records_path)

    @property
    def seal(self) -> list[dict[str, Any]]:
        """Every opening of the sealed test: who, when, with what command."""
        openings: list[dict[str, Any]] = json.loads((self.path / "seal.json").read_text("utf-8"))
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
    def locked(self) -> Iterator[None]:
        """Hold the study for this process; the system lets go of it if the process dies.

        Raises:
            StudyError: If another process is running the study.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self.lock_path.open("a+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
    """Write a new study's folder; it exists once `about.json` is there."""
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


def find_study(home: Home, name: str) -> StudyFolder:
    """The folder of a study by name.

    Raises:
        StudyError: If the home holds no such study; lists those it holds.
    """
    folder = StudyFolder(home.studies / name)
    if folder.exists:
        return folder
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


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run as a user without a name
        return str(os.getuid())
