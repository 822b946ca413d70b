"""A study's folder: the resolved study file, the images with their folds, the seal, the records.

Everything that shows, exports or mirrors a study reads it from here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, TypeAdapter

from tuner.arrays import Float32
from tuner.config import StudyConfig, load_stored
from tuner.data.decoding.resize import DECODE, OLD_DECODE
from tuner.data.decoding.rule import PixelRule
from tuner.data.image_table import ImageTable
from tuner.data.small_classes import drawn_sentence
from tuner.errors import StudyError
from tuner.files import held, listed, sweep
from tuner.home import Home
from tuner.home.images_csv import read_images
from tuner.home.records import Record, Stamped, load_log_prob, load_records
from tuner.home.seal import add_opening, is_broken, read_openings
from tuner.home.stored import RESTORE, read_stored, reason_of

# Keys, and blocks, that studies of the first version do not hold.
_YOUNGER_BLOCKS = {"records"}
_YOUNGER = {
    ("training", "mode"),
    ("data", "range"),
    ("data", "sample"),
    ("backbone", "engine"),
    ("backbone", "model"),
    ("augmentation", "policy"),
    ("augmentation", "strength"),
    ("augmentation", "fill"),
}


class _About(BaseModel):
    """What every reader of ``about.json`` relies on."""

    class_names: list[str] = Field(min_length=1)
    data_fingerprint: str
    split_fingerprint: str
    versions: dict[str, str] = {}
    git: dict[str, str] = {}
    problems: list[list[str]] = []
    decode: str = OLD_DECODE
    range: tuple[float, float] | None = None
    drawn: dict[str, int] = {}


_ABOUT = TypeAdapter(_About)


class StudyFolder:
    """Reads one study's folder.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: Stamped = {}

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
        config = load_stored(path)
        if lost := _lost_key(path.read_text(encoding="utf-8-sig"), config):
            what = f"the stored study file is cut off: '{lost}' is not whole"
            raise StudyError(what, where=str(path), do=RESTORE)
        return config

    @cached_property
    def about(self) -> dict[str, Any]:
        """Class names, fingerprints, and where the study came from."""
        path, what = self.path / "about.json", "what a study is about"
        found: dict[str, Any] = read_stored(path, _ABOUT, what=what, do=RESTORE)
        return found

    @property
    def class_names(self) -> list[str]:
        """Class names in the order of every per-class array."""
        return list(self.about["class_names"])

    @property
    def sample_sentence(self) -> str:
        """Which classes are a drawn part of what there is; empty where none is."""
        return drawn_sentence(self.about.get("drawn") or {})

    @property
    def decode(self) -> str:
        """What the study's features were made from, by name; of one to come, what they will be."""
        return str(self.about.get("decode", OLD_DECODE)) if self.exists else DECODE

    @property
    def rule(self) -> PixelRule:
        """How its files are read: as when it began, whatever Pillow there is now."""
        about = self.about
        pillow = str(about.get("versions", {}).get("pillow", "")).partition(".")[0]
        is_old = self.decode == OLD_DECODE and pillow.isdecimal() and int(pillow) >= 13
        limits = about.get("range")
        return PixelRule(
            range=None if limits is None else (limits[0], limits[1]),
            order="pillow 13" if is_old else "columns",
        )

    @property
    def kept_predictions(self) -> Literal["all", "best", "none"]:
        """Whose predictions are kept; where the study file says ``auto``, what it began with."""
        asked = self.config.records.predictions
        if asked != "auto":
            return asked
        return "best" if self.about.get("predictions") == "best" else "all"

    @cached_property
    def images(self) -> ImageTable:
        """The images and their folds, as they were when the study began.

        Raises:
            StudyError: If the table is damaged.
        """
        path = self.path / "images.csv"
        names, fingerprint = self.class_names, self.about["split_fingerprint"]
        try:
            table = read_images(path, class_names=names, split_fingerprint=fingerprint)
            return replace(table, rule=self.rule)
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            what = f"the table of the study's images cannot be read: {reason_of(error)}"
            raise StudyError(what, where=str(path), do=RESTORE) from error

    def records(self) -> list[Record]:
        """All records on disk: baselines, trials by number, confirm runs; each is read once.

        Raises:
            StudyError: If one is damaged, or counts other classes than the study's.
        """
        records = load_records(self.records_path, known=self._known)
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
        return read_openings(self.path / "seal.json")

    def open_seal(self, *, command: str, plan: str | None = None) -> int:
        """Record that the test is opened now, as `add_opening` does; returns how often it was."""
        return add_opening(self.path / "seal.json", command=command, plan=plan)

    @contextmanager
    def locked(self, *, alone: bool = True) -> Iterator[None]:
        """Hold the study for this process; the system lets go of it if the process dies.

        Args:
            alone: Whether nobody else may hold it; workers of one study hold it together.

        Raises:
            StudyError: If another process is running the study, and one of both is alone.
        """
        with held(self.lock_path, is_shared=not alone) as is_mine:
            if not is_mine:
                holder = self.lock_path.read_text().strip()
                raise StudyError(
                    f"study '{self.name}' is already running (process {holder})",
                    where=str(self.path),
                    do="wait for it, or watch it with: tuner status " + self.name,
                )
            self.lock_path.write_text(str(os.getpid()))
            for folder in (self.path, self.records_path):
                sweep(folder)
            yield


def need_log_prob(
    folder: StudyFolder, record: Record, *, so: str = "", instead: str = ""
) -> Float32:
    """`load_log_prob` of a record that cannot do without.

    Args:
        folder: The study.
        record: Whose predictions.
        so: What cannot be done without, in words that continue the sentence.
        instead: What else the reader may do than to have them again.

    Raises:
        StudyError: If it has none, or they are damaged.
    """
    found = load_log_prob(folder.records_path, record.name)
    if found is not None:
        return found
    kept = folder.kept_predictions
    if kept == "all" or record.kind != "trial":
        reason, again = "are missing", "restore the file"
    else:
        whose = "no trial" if kept == "none" else f"its {folder.config.records.best} best trials"
        reason = f"were not kept: the study keeps those of {whose} (records.predictions: {kept})"
        again = "give another study records.predictions: all"
    do = f"{again}, or {instead}" if instead else again
    where = str(folder.records_path / f"{record.name}.npz")
    raise StudyError(f"the predictions of {record.name} {reason}{so}", where=where, do=do)


def check_whole(folder: StudyFolder) -> None:
    """Refuse a folder with results of a study but without what the study is about.

    Raises:
        StudyError: If so.
    """
    if folder.exists:
        return
    is_opened = is_broken(folder.path / "seal.json")
    if is_opened or listed(folder.records_path, "*.json"):
        found = "an opened seal" if is_opened else "records"
        raise StudyError(
            f"study '{folder.name}' has {found}, but its about.json is missing",
            where=str(folder.path),
            do=f"{RESTORE}; or move the folder away to begin this one anew",
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
        if block not in stored and block in _YOUNGER_BLOCKS:
            continue
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
