"""What the MLflow run of a record says: name, tags, params and metrics, without MLflow.

Pure functions of a record and its study's folder, so that a run written while the search goes
on and one rebuilt years later are the same.
"""

from __future__ import annotations

import getpass
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from tuner.data.near_duplicates.leaks import leak_sentence
from tuner.errors import StudyError
from tuner.evaluation.metrics import SCORES, class_table
from tuner.files import listed
from tuner.home.baselines import PLAIN, RECIPE
from tuner.home.confirmation import Confirmation
from tuner.home.near_duplicates import load_leaks
from tuner.home.records import Record, load_record
from tuner.home.study_folder import StudyFolder

# Optuna's words for a trial's end, and MLflow's for a run's.
TRIAL_STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
RUN_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}

RECORD_TAG = "tuner.record"
WHOLE_TAG = "tuner.record_sha"  # set last: a run that lacks it was cut off
STUDY_TAG = "tuner.study_id"

_CURVES = ("val/macro_recall", "val/balanced_loss", "train/loss", "learning_rate")
_TAG_LENGTH = 8000  # MLflow's limits
_PARAM_LENGTH = 6000


class Point(NamedTuple):
    """One value of a metric; `timestamp_ms` is Unix time."""

    key: str
    value: float
    timestamp_ms: int
    step: int


def study_id(folder: StudyFolder) -> str:
    """What tells this study from another one of the same name, 32 hexadecimal digits."""
    about = folder.about
    facts = [folder.name] + [
        about.get(key) for key in ("created_at", "data_fingerprint", "split_fingerprint")
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def read_records(folder: StudyFolder) -> tuple[list[Record], list[StudyError]]:
    """Every record that can be read, in the folder's order, and what is wrong with the others."""
    try:
        return folder.records(), []
    except StudyError:
        records, faults = [], []
    for path in listed(folder.records_path, "*.json"):
        try:
            records.append(load_record(path))
        except StudyError as fault:
            faults.append(fault)
    return records, faults


def created_s(folder: StudyFolder) -> float:
    """When the study began, Unix time."""
    try:
        text = str(folder.about.get("created_at"))
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return (folder.path / "about.json").stat().st_mtime


def run_name(record: Record) -> str:
    """Name that says the setting, ``#12 γ1.80 α0.40 ×3 balanced``, or what it trains again."""
    if record.part == "test":
        return f"test: {record.title}"
    if record.kind == "confirm":
        return f"retest {record.seeds.get('study_seed')}: {record.title}"
    return record.title if record.kind == "baseline" else f"{record.title} {record.params}"


def common_tags(folder: StudyFolder) -> dict[str, str]:
    """Tags of every run of a study: who made it with what."""
    about, git = folder.about, folder.about.get("git") or {}
    tags = {
        STUDY_TAG: study_id(folder),
        "tuner.study": folder.name,
        "tuner.data_fingerprint": str(about.get("data_fingerprint", "")),
        "mlflow.user": _user(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "tuner",
    }
    if git.get("commit"):
        tags["mlflow.source.git.commit"] = str(git["commit"])
        tags["tuner.git_dirty"] = str(git.get("dirty", "unknown"))
    return tags


def parent_tags(folder: StudyFolder) -> dict[str, str]:
    """Tags of the study's own run."""
    versions = folder.about.get("versions") or {}
    return {
        **common_tags(folder),
        "tuner.kind": "study",
        "tuner.split_fingerprint": str(folder.about.get("split_fingerprint", "")),
        "tuner.created_at": str(folder.about.get("created_at", "")),
        **{f"tuner.version.{name}": str(version) for name, version in versions.items()},
    }


def record_tags(folder: StudyFolder, record: Record, *, parent_id: str) -> dict[str, str]:
    """Tags of a record's run, without the one that says that it is whole."""
    tags = {
        **common_tags(folder),
        "tuner.kind": record.kind,
        "tuner.trial_state": TRIAL_STATES[record.state],
        "tuner.part": record.part,
        RECORD_TAG: record.name,
        "mlflow.parentRunId": parent_id,
    }
    if record.reason:
        tags["tuner.reason"] = record.reason[:_TAG_LENGTH]
    if record.of:
        tags["tuner.confirms"] = record.of
    if record.attempt > 1:
        tags["tuner.attempt"] = str(record.attempt)
    return tags


def record_params(folder: StudyFolder, record: Record) -> dict[str, str]:
    """Setting of a record's run: the setting and all else that decides its numbers."""
    config, about = folder.config, folder.about
    values: dict[str, Any] = {
        "augmentation_policy": config.augmentation.policy,
        **record.params.as_dict(),
        "study_seed": config.seed,
        "view_seed": config.augmentation.view_seed,
        "data_fingerprint": about.get("data_fingerprint"),
        "split_fingerprint": about.get("split_fingerprint"),
        "image_px": config.data.image_px,
        "precision": config.backbone.precision,
        "tuner_version": (about.get("versions") or {}).get("imbalance-tuner"),
        **record.seeds,
        **{
            _PARAM_NAMES.get(name, name): value
            for name, value in record.environment.items()
            if name != "weights_sha256"
        },
        "weights": _weights(config.backbone.weights, record.environment),
        "trial_number": record.number,
    }
    return {
        _param_key(key): str(value)[:_PARAM_LENGTH]
        for key, value in values.items()
        if value is not None
    }


def record_points(record: Record, names: Sequence[str]) -> list[Point]:
    """Metrics of a record: final ones at step 0, curves at their epoch.

    Args:
        record: The record.
        names: Safe class names, in class order.
    """
    end_ms = to_ms(record.ended_s)
    final = [Point(key, value, end_ms, 0) for key, value in _final(record, names)]
    n_epochs = max((len(values) for values in record.curves.values()), default=0)
    # Epochs were not timed one by one; even steps keep them in order on a time axis.
    seconds = np.linspace(record.started_s, record.ended_s, n_epochs + 1)[1:]
    times = [to_ms(float(second)) for second in seconds]
    return final + [
        Point(key, value, times[epoch], epoch)
        for key, values in _curves(record, names)
        for epoch, value in enumerate(values)
        if value is not None
    ]


def confirmation_metrics(done: Confirmation) -> dict[str, float]:
    """Metrics of a study's own run from its confirmation: the test, and gains with limits."""
    values = {"confirm/test_macro_recall": done.chosen_model.macro_recall}
    names = {
        PLAIN: "cross_entropy",
        RECIPE: "published_recipe",
        done.best_free: "best_free_baseline",
    }
    for pair in done.test.comparisons:
        if name := names.get(pair.against):
            values |= {
                f"confirm/gain_over_{name}": pair.gain,
                f"confirm/gain_over_{name}_low": pair.low,
                f"confirm/gain_over_{name}_high": pair.high,
            }
    return values


def leak_content(folder: StudyFolder) -> tuple[str, dict[str, float]]:
    """Tag and metrics of a study's own run: what its split does to near-duplicates.

    Nothing where nobody has looked.
    """
    facts = load_leaks(folder)
    if facts is None:
        return "", {}
    metrics = {key: float(facts[key]) for key in ("images_across", "test_images_across")}
    return leak_sentence(facts) or "none: no near-duplicates are parted by the split", metrics


def to_ms(seconds: float) -> int:
    """Unix time in whole milliseconds, never negative."""
    return max(0, round(seconds * 1000))


def _final(record: Record, names: Sequence[str]) -> Iterator[tuple[str, float]]:
    yield from ((key, record.scores[key]) for key in SCORES if key in record.scores)
    if record.value is not None:
        yield "objective", record.value
    if record.number is not None:
        yield "trial_number", float(record.number)  # charts take a metric as axis, not a tag
    if record.matrix:
        table = class_table(np.array(record.matrix, dtype=np.int64))
        for key, per_class in table._asdict().items():
            yield from _per_class(key, names, per_class)
    if record.rows:
        yield from _per_class("rows", names, np.mean(record.rows, axis=0))
    if record.class_weights:
        yield from _per_class("weight", names, np.mean(record.class_weights, axis=0))


def _curves(record: Record, names: Sequence[str]) -> Iterator[tuple[str, list[float | None]]]:
    yield from ((key, record.curves[key]) for key in _CURVES if key in record.curves)
    recall = record.curves.get("val/recall", [])
    for k, name in enumerate(names):
        yield f"val/recall/{name}", [row[k] for row in recall]


def _per_class(key: str, names: Sequence[str], values: Any) -> Iterator[tuple[str, float]]:
    yield from ((f"{key}/{name}", float(value)) for name, value in zip(names, values, strict=True))


def _weights(asked: str, environment: Mapping[str, str]) -> str:
    """What the backbone held, the same on every machine: a hash where known, never a path."""
    kind = asked if asked in ("imagenet", "random") else "file"
    sha = environment.get("weights_sha256", "")
    return f"{kind} sha256:{sha}" if sha and kind != "random" else kind


# Bare package names would read like settings.
_PARAM_NAMES = {"tuner": "tuner_version", "version": "tuner_version"}


def _param_key(key: str) -> str:
    return "".join(c if c.isalnum() or c in "_-. " else "_" for c in key)[:250] or "_"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run as a user without a name
        return "unknown"
