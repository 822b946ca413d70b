"""Export the best configuration, and train it again from what was exported."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from tuner.config import StudyConfig, parse_study
from tuner.config.yaml_text import one_line, to_yaml
from tuner.config.yaml_tree import NOT_YAML
from tuner.data.index import ImageIndex
from tuner.data.sources import some
from tuner.errors import ExportError, StudyError, UsageError
from tuner.evaluation.intervals import macro_recall_standard_error
from tuner.evaluation.metrics import macro_recall
from tuner.files import replacing
from tuner.home.baselines import PLAIN, RECIPE
from tuner.home.confirmation import load_confirmation
from tuner.home.records import Record, winner
from tuner.home.study_folder import StudyFolder
from tuner.imbalance.adjustment import effective_prior
from tuner.imbalance.rows import n_extra
from tuner.imbalance.weights import class_weights
from tuner.setting import Setting
from tuner.training.plan import median_fold, plan_of
from tuner.versions import git_state, package_versions

IntArray = NDArray[np.int64]

_SCHEMA = 1
_MAX_BYTES = 16 << 20  # of two hundred classes about 1 MiB
_CONFIRMED = (
    "verdict",
    "is_chosen",
    "test_macro_recall",
    "test_recall",
    "gain_over_cross_entropy",
    "gain_over_published_recipe",
    "gain_over_best_free_baseline",
    "best_free_baseline",
    "seeds",
    "opened",
)


@dataclass(frozen=True)
class Export:
    """An exported configuration.

    Attributes:
        config: The complete study.
        params: The hyperparameters.
        record: Everything else of the file, as plain values by name.
    """

    config: StudyConfig
    params: Setting
    record: dict[str, Any]

    @property
    def matrix(self) -> IntArray:
        """Recorded out-of-fold confusion matrix, int64 (n_classes, n_classes)."""
        return np.array(self.record["objective"]["confusion_matrix"], dtype=np.int64)

    @property
    def final_epochs(self) -> int:
        """Epochs of the final training."""
        return int(self.record["training_used"]["final_epochs"])

    @property
    def adjustment(self) -> tuple[float, NDArray[np.float64]] | None:
        """Strength and prior, (n_classes,), of the logit adjustment that the model is to hold."""
        part = self.record.get("adjustment")
        return (float(part["tau"]), np.array(part["prior"], dtype=float)) if part else None

    @property
    def final_learning_rates(self) -> list[float]:
        """Learning rate of each epoch of the final training."""
        return [float(rate) for rate in self.record["training_used"]["final_learning_rates"]]


def choose_record(folder: StudyFolder, *, trial: int | None = None) -> Record:
    """What a confirmation has chosen, else the winner, or one of the trials by number.

    Raises:
        StudyError: If there is no such complete record, or no setting meets the recall floor
            and no trial was named.
    """
    records = folder.records()
    if trial is not None:
        for record in records:
            if record.kind == "trial" and record.number == trial and record.state == "complete":
                return record
        complete = [str(r.number) for r in records if r.kind == "trial" and r.state == "complete"]
        raise StudyError(
            f"study '{folder.name}' has no complete trial {trial}",
            where=str(folder.path),
            do=f"complete trials: {', '.join(complete) or 'none'}",
        )
    best = confirmed_choice(folder, records) or winner(records)
    if best is None:
        raise StudyError(
            f"study '{folder.name}' has no complete trial yet",
            where=str(folder.path),
            do=f"go on with: tuner run {folder.name}",
        )
    if not best.is_feasible:
        raise StudyError(
            f"no setting of study '{folder.name}' meets objective.recall_floor; the least "
            f"violating one is {best.name}",
            where="objective.recall_floor",
            do=f"run more trials, or choose one: tuner export {folder.name} --trial N",
        )
    return best


def confirmed_choice(folder: StudyFolder, records: Sequence[Record]) -> Record | None:
    """The setting that `tuner confirm` has chosen among these records, if it has seen them all."""
    done = load_confirmation(folder)
    if done is None or done["n_search_settings"] != sum(r.kind != "confirm" for r in records):
        return None
    return next((r for r in records if r.name == done["chosen"]), None)


def build_export(
    folder: StudyFolder, record: Record, *, tau: float | None = None
) -> dict[str, Any]:
    """Everything that trains a record's configuration again, as plain values.

    Args:
        folder: The study.
        record: One of its trials or baselines.
        tau: Strength of a logit adjustment that the trained model is to hold, or None.
    """
    config, images = folder.config, folder.images
    n_classes = len(folder.class_names)
    final = images.labels[images.search]
    counts = np.bincount(final, minlength=n_classes)
    rows = counts + n_extra(
        counts,
        multiplier=record.params.augmentation_multiplier,
        capped=config.augmentation.cap == "largest",
    )
    weights = class_weights(
        rows, record.params.class_weight_mode, beta=config.training.effective_number_beta
    )
    adjustment = None
    if tau is not None:
        adjustment = {"tau": tau, "prior": effective_prior(rows, weights).tolist()}
    plan = plan_of(record.best_epochs, record.learning_rates)
    return {
        "schema": _SCHEMA,
        "study": {
            "name": folder.name,
            "record": record.name,
            "kind": record.kind,
            "trial_number": record.number,
        },
        "hyperparameters": record.params.as_dict(),
        "objective": {
            "metric": config.objective.metric,
            "value": record.value,
            "macro_recall": record.scores["macro_recall"],
            "macro_recall_standard_error": macro_recall_standard_error(np.array(record.matrix)),
            "recall": dict(zip(folder.class_names, record.recall, strict=True)),
            "confusion_matrix": record.matrix,
            "is_best_of": sum(r.kind != "confirm" for r in folder.records()),
        },
        "confirmation": confirmed_part(folder, record),
        "adjustment": adjustment,
        "classes": folder.class_names,
        "class_weights": {
            "per_fold": record.class_weights,
            "final": weights.tolist(),
        },
        "training_rows": {"per_fold": record.rows, "final": rows.tolist()},
        "training_used": {
            "best_epochs": record.best_epochs,
            "final_fold": median_fold(record.best_epochs),
            "final_epochs": plan.epochs,
            "final_learning_rates": plan.learning_rates,
            "learning_rates": record.learning_rates,
            "seeds": record.seeds,
        },
        "data": {
            "fingerprint": folder.about["data_fingerprint"],
            "split_fingerprint": folder.about["split_fingerprint"],
            "images_per_class": np.bincount(images.labels, minlength=n_classes).tolist(),
            "search_images_per_class": counts.tolist(),
        },
        "fixed": {
            "backbone": "ResNet50, include_top=False, global average pooling, frozen",
            "weights": record.environment.get("weights"),
            "preprocessing": "keras.applications.resnet50.preprocess_input (RGB 0..255)",
            "optimizer": "Adam",
            "loss": "focal loss on softmax logits, see tuner.training.losses",
        },
        "provenance": {
            "environment": record.environment,
            "versions": package_versions(),
            "versions_at_start": folder.about.get("versions", {}),
            "git": folder.about.get("git", {}),
            "git_now": git_state(Path.cwd()),
            "mlflow_run_id": None,
        },
        "study_file": config.model_dump(mode="json"),
    }


def confirmed_part(folder: StudyFolder, record: Record) -> dict[str, Any]:
    """What the sealed test said of a record; all None where it was not confirmed.

    The interval is that of the gain, paired over images and seeds; see `tuner confirm`.
    """
    done = load_confirmation(folder)
    models = {model["key"]: model for model in done["test"]["models"]} if done else {}
    if done is None or record.name not in models:
        return dict.fromkeys(_CONFIRMED)
    is_chosen = record.name == done["chosen"]
    gains = {row["against"]: row for row in done["test"]["comparisons"] if is_chosen}
    values = {
        "test_macro_recall": models[record.name]["macro_recall"],
        "test_recall": dict(zip(folder.class_names, _recalls(models[record.name]), strict=True)),
        "is_chosen": is_chosen,
        "gain_over_cross_entropy": _gain(gains.get(PLAIN)),
        "gain_over_published_recipe": _gain(gains.get(RECIPE)),
        "gain_over_best_free_baseline": _gain(gains.get(done["best_free"])),
        "best_free_baseline": done["best_free"],
        "seeds": done["seeds"],
        "opened": done["opening"],
        "verdict": done["verdict"]["sentence"],
    }
    return {key: values[key] for key in _CONFIRMED}


def _gain(row: Mapping[str, Any] | None) -> dict[str, float] | None:
    return None if row is None else {key: row[key] for key in ("gain", "low", "high")}


def _recalls(model: Mapping[str, Any]) -> list[str]:
    """``12 of 16`` per class, of the model of the study seed."""
    return [f"{row[k]} of {sum(row)}" for k, row in enumerate(model["matrix"])]


def write_export(content: dict[str, Any], path: Path) -> None:
    """Write an export whole or not at all, and read it back before success is reported.

    A file that is there is replaced when it is an export, and left alone when it is not.

    Raises:
        ExportError: If it cannot be written or does not read back the same.
    """
    if path.exists() and not (path.is_file() and _is_export(path)):
        kind = "a folder" if path.is_dir() else "a file that tuner did not export"
        raise ExportError(
            f"there is already {kind}; it was left as it is",
            where=str(path),
            do="choose another place with -o",
        )
    header = (
        f"# Best configuration of study {content['study']['name']!r}"
        f" ({content['study']['record']}).\n"
        f"# Train it again:  tuner train {one_line(shlex.quote(str(path)))}\n"
    )
    text = header + yaml.dump(
        content, Dumper=_FlowLists, sort_keys=False, allow_unicode=True, width=99
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
            if yaml.safe_load(temporary.read_text(encoding="utf-8")) != content:
                what = "the export does not read back as it was written"
                raise ExportError(what, where=str(path), do="please report this")
    except OSError as error:
        raise ExportError(
            f"the export cannot be written: {error.strerror or error}",
            where=str(path),
            do="choose another place with -o",
        ) from error


def load_export(path: Path) -> Export:
    """Read an exported file.

    Raises:
        UsageError: If there is no such file, or it is a study file.
        ExportError: If it is no export, is damaged or from another version.
        StudyFileError: If the study in it was edited and is wrong.
    """
    content = _read_yaml(path)
    if not isinstance(content, dict) or "schema" not in content:
        is_study = isinstance(content, dict) and "data" in content and "name" in content
        kind = "a study file, not an exported configuration" if is_study else "no export of tuner"
        name = path.stem if is_study else "STUDY"
        do = f"write one with: tuner export {name} -o best.yaml"
        raise ExportError(f"this is {kind}", where=str(path), do=do)
    if content["schema"] != _SCHEMA:
        what = f"the export has schema {content['schema']!r}, this version reads {_SCHEMA}"
        do = "write it anew with: tuner export STUDY, or use the version that wrote it"
        raise ExportError(what, where=str(path), do=do)
    try:
        # A hand may have changed the study in it: read as strictly as a study file is.
        text = to_yaml(content["study_file"])
        config = parse_study(text, source=f"{path} (study_file)")
        export = Export(config, Setting.from_dict(content["hyperparameters"]), content)
        _check_parts(export)
    except KeyError as error:
        raise _damaged(path, f"{error} is missing") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _damaged(path, str(error)) from error
    return export


class _PlainLoader(yaml.SafeLoader):
    """Without repetitions: an export holds none, and ten lines of them expand to any size."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse ``*name``; else as SafeLoader."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="'*' repeats a value", problem_mark=mark)
        return super().compose_node(parent, index)


def _read_yaml(path: Path) -> Any:
    shown = one_line(str(path))
    try:
        return yaml.load(_read_text(path), _PlainLoader)
    except FileNotFoundError as error:
        do = "write it with: tuner export STUDY"
        raise UsageError(f"exported file '{shown}' does not exist", do=do) from error
    except IsADirectoryError as error:
        do = "name the file that `tuner export` wrote"
        raise UsageError(f"'{shown}' is a folder, not an exported file", do=do) from error
    except OSError as error:
        raise ExportError(f"cannot be read: {error.strerror or error}", where=shown) from error
    except NOT_YAML as error:
        reason = getattr(error, "problem", None) or "not a text in UTF-8"
        mark = getattr(error, "problem_mark", None)
        where = f"{shown}:{mark.line + 1}" if mark else shown
        do = "write it anew with: tuner export STUDY"
        raise ExportError(f"cannot be read as YAML: {reason}", where=where, do=do) from error


def _read_text(path: Path) -> str:
    """Text of a file of bounded size: a device would never end."""
    with path.open("rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        what = f"larger than {_MAX_BYTES >> 20} MiB, which no export is"
        raise ExportError(what, where=one_line(str(path)), do="is it the right file?")
    return content.decode("utf-8")


def _damaged(path: Path, reason: str) -> ExportError:
    return ExportError(
        f"part of the configuration is missing or damaged: {reason}",
        where=str(path),
        do="write it anew with: tuner export STUDY",
    )


def _check_parts(export: Export) -> None:
    """Raise KeyError, TypeError or ValueError where `tuner train` would stumble later."""
    record, n_classes = export.record, len(export.record["classes"])
    if export.matrix.shape != (n_classes, n_classes) or (export.matrix.sum(axis=1) < 1).any():
        raise ValueError(f"objective.confusion_matrix is not that of {n_classes} classes")
    rates = export.final_learning_rates
    if not rates or len(rates) != export.final_epochs or min(rates) <= 0:
        raise ValueError("training_used.final_learning_rates is not one positive rate an epoch")
    if adjustment := export.adjustment:
        tau, prior = adjustment
        if len(prior) != n_classes or not np.isfinite(tau) or not (prior > 0).all():
            raise ValueError(f"adjustment is not a tau and {n_classes} shares above 0")
    _ = record["data"]["fingerprint"], record["data"]["split_fingerprint"]


def _is_export(path: Path) -> bool:
    """Whether a file is an export, of whatever version, or empty; no folder is one."""
    try:
        text = _read_text(path)
        content = yaml.safe_load(text)
    except (OSError, ExportError, *NOT_YAML):
        return False
    return not text.strip() or (isinstance(content, dict) and "schema" in content)


@dataclass(frozen=True)
class Reproduction:
    """Whether training the folds again gave what was recorded.

    Attributes:
        recorded: Macro recall in the export.
        found: Macro recall now.
        standard_error: Of the recorded one.
        is_exact: Whether the whole confusion matrix is the same.
    """

    recorded: float
    found: float
    standard_error: float
    is_exact: bool

    @property
    def is_suspicious(self) -> bool:
        """Whether the difference is above three standard errors."""
        return abs(self.found - self.recorded) > 3 * self.standard_error


def compare_matrices(recorded: IntArray, found: IntArray) -> Reproduction:
    """Hold a new out-of-fold confusion matrix against the recorded one."""
    return Reproduction(
        macro_recall(recorded),
        macro_recall(found),
        macro_recall_standard_error(recorded),
        recorded.shape == found.shape and bool((recorded == found).all()),
    )


def same_data(export: Export, index: ImageIndex, split_fingerprint: str) -> bool:
    """Whether the images and their split are those of the export."""
    data = export.record["data"]
    return bool(
        data["fingerprint"] == index.fingerprint and data["split_fingerprint"] == split_fingerprint
    )


def check_classes(export: Export, index: ImageIndex) -> None:
    """Refuse images of other classes than those of the export.

    Raises:
        ExportError: Naming the classes that differ.
    """
    then, now = set(export.record["classes"]), set(index.class_names)
    if then != now:
        parts = {"missing": sorted(then - now), "new": sorted(now - then)}
        said = [f"{k}: {some([repr(v) for v in names])}" for k, names in parts.items() if names]
        raise ExportError(
            f"the images are of other classes than the export; {'; '.join(said)}",
            where=str(index.root),
            do="point --data at images of the same classes",
        )


class _FlowLists(yaml.SafeDumper):
    """Block mappings, but lists of numbers on one line."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
        items = list(sequence)
        is_flat = all(isinstance(item, (int, float, str)) or item is None for item in items)
        return super().represent_sequence(tag, items, flow_style=is_flat)

    def ignore_aliases(self, data: Any) -> bool:
        return True
