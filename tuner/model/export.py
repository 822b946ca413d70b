"""The best configuration: which it is, and all that trains it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tuner.arrays import Float64, Int64
from tuner.config import StudyConfig
from tuner.data.decoding.rule import PixelRule
from tuner.data.image_table import ImageTable
from tuner.data.near_duplicates.groups import linked_images
from tuner.decision.fit import Decision
from tuner.decision.rule import DecisionRule
from tuner.errors import ExportError, StudyError
from tuner.evaluation.intervals import macro_recall_standard_error
from tuner.evaluation.metrics import macro_recall
from tuner.features.weights.resolve import ResolvedWeights
from tuner.home.baselines import PLAIN, RECIPE
from tuner.home.confirmation import Compared, Tested, load_confirmation
from tuner.home.founding import asks_for_near_duplicates
from tuner.home.near_duplicates import leak_of
from tuner.home.records import Record, winner
from tuner.home.study_folder import StudyFolder
from tuner.imbalance.adjustment import effective_prior
from tuner.imbalance.rows import n_extra
from tuner.imbalance.weights import class_weights
from tuner.setting import Setting
from tuner.text import some
from tuner.training.plan import median_fold, plan_of
from tuner.versions import git_state, package_versions

SCHEMA = 1
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
    def matrix(self) -> Int64:
        """Recorded out-of-fold confusion matrix, int64 (n_classes, n_classes)."""
        return np.array(self.record["objective"]["confusion_matrix"], dtype=np.int64)

    @property
    def final_epochs(self) -> int:
        """Epochs of the final training."""
        return int(self.record["training_used"]["final_epochs"])

    @property
    def adjustment(self) -> tuple[float, Float64] | None:
        """Strength and prior, (n_classes,), of the logit adjustment that the model is to hold."""
        part = self.record.get("adjustment")
        return (float(part["tau"]), np.array(part["prior"], dtype=float)) if part else None

    @property
    def rule(self) -> DecisionRule | None:
        """The decision rule that the model is to hold, behind the adjustment."""
        part = self.record.get("decision")
        if part is None:
            return None
        return DecisionRule.from_plain(part["rule"], n_classes=len(self.record["classes"]))

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
    if done is None or done.n_search_settings != sum(r.kind != "confirm" for r in records):
        return None
    return next((r for r in records if r.name == done.chosen), None)


def build_export(
    folder: StudyFolder,
    record: Record,
    *,
    tau: float | None = None,
    decision: Decision | None = None,
) -> dict[str, Any]:
    """Everything that trains a record's configuration again, as plain values.

    Args:
        folder: The study.
        record: One of its trials or baselines.
        tau: Strength of a logit adjustment that the trained model is to hold, or None.
        decision: The rule by which it is to decide, or None for the largest probability.
    """
    config, counts, leak = folder.config, folder.images.search_counts, leak_of(folder)
    groups = linked_images(folder.images) if asks_for_near_duplicates(config) else None
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
    return {
        "schema": SCHEMA,
        "study": {
            "name": folder.name,
            "record": record.name,
            "kind": record.kind,
            "trial_number": record.number,
        },
        "hyperparameters": record.params.as_dict(),
        "objective": _objective_part(folder, record),
        "confirmation": confirmed_part(folder, record),
        "adjustment": adjustment,
        **({"decision": _decision_part(folder, record, decision)} if decision else {}),
        "classes": folder.class_names,
        "class_weights": {"per_fold": record.class_weights, "final": weights.tolist()},
        "training_rows": {"per_fold": record.rows, "final": rows.tolist()},
        "training_used": _training_part(record),
        "data": {
            "fingerprint": folder.about["data_fingerprint"],
            "split_fingerprint": folder.about["split_fingerprint"],
            "images_per_class": folder.images.counts.tolist(),
            "search_images_per_class": counts.tolist(),
            **({"leak": leak} if leak else {}),
            **({"groups": groups} if groups else {}),
        },
        "fixed": {
            **_backbone_part(config, record),
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
        "study_file": _settled(config, folder.rule).model_dump(mode="json"),
    }


def _settled(config: StudyConfig, rule: PixelRule) -> StudyConfig:
    """The study file with the range that its images were found to use."""
    if config.data.range != "auto":
        return config
    found = "full" if rule.range is None else rule.range
    return config.model_copy(update={"data": config.data.model_copy(update={"range": found})})


def _backbone_part(config: StudyConfig, record: Record) -> dict[str, Any]:
    """What features are computed with."""
    weights = record.environment.get("weights")
    if config.backbone.model is None:
        return {
            "backbone": "ResNet50, include_top=False, global average pooling, frozen",
            "weights": weights,
            "preprocessing": "keras.applications.resnet50.preprocess_input (RGB 0..255)",
        }
    return {
        "backbone": f"{weights}, frozen, a feature map global average pooled",
        "backbone_sha256": record.environment.get("weights_sha256"),
        "weights": weights,
        "preprocessing": "inside the backbone (RGB 0..255)",
    }


def _objective_part(folder: StudyFolder, record: Record) -> dict[str, Any]:
    """What the record is worth, and among how many it was chosen."""
    return {
        "metric": folder.config.objective.metric,
        "value": record.value,
        "macro_recall": record.scores["macro_recall"],
        "macro_recall_standard_error": macro_recall_standard_error(np.array(record.matrix)),
        "recall": dict(zip(folder.class_names, record.recall, strict=True)),
        "confusion_matrix": record.matrix,
        "is_best_of": sum(r.kind != "confirm" for r in folder.records()),
    }


def _training_part(record: Record) -> dict[str, Any]:
    """How the folds were trained, and how the final head is to be."""
    plan = plan_of(record.best_epochs, record.learning_rates)
    return {
        "best_epochs": record.best_epochs,
        "final_fold": median_fold(record.best_epochs),
        "final_epochs": plan.epochs,
        "final_learning_rates": plan.learning_rates,
        "learning_rates": record.learning_rates,
        "seeds": record.seeds,
    }


def confirmed_part(folder: StudyFolder, record: Record) -> dict[str, Any]:
    """What the sealed test said of a record; all None where it was not confirmed.

    The interval is that of the gain, paired over images and seeds; see `tuner confirm`.
    """
    done = load_confirmation(folder)
    model = done.test.model(record.name) if done else None
    if done is None or model is None:
        return dict.fromkeys(_CONFIRMED)
    is_chosen = record.name == done.chosen
    gains = {pair.against: pair for pair in done.test.comparisons if is_chosen}
    values = {
        "test_macro_recall": model.macro_recall,
        "test_recall": dict(zip(folder.class_names, _recalls(model), strict=True)),
        "is_chosen": is_chosen,
        "gain_over_cross_entropy": _gain(gains.get(PLAIN)),
        "gain_over_published_recipe": _gain(gains.get(RECIPE)),
        "gain_over_best_free_baseline": _gain(gains.get(done.best_free)),
        "best_free_baseline": done.best_free,
        "seeds": done.seeds,
        "opened": done.opening,
        "verdict": done.verdict.sentence,
    }
    return {key: values[key] for key in _CONFIRMED}


def _decision_part(folder: StudyFolder, record: Record, decision: Decision) -> dict[str, Any]:
    """The rule, and what the sealed test said of this very one, if it did."""
    part, done = decision.as_plain(folder.class_names), load_confirmation(folder)
    found = done.decision if done else None
    is_same = found and found["of"] == record.name and found["rule"] == part["rule"]
    return part | {"sealed_test": found if is_same else None}


def _gain(pair: Compared | None) -> dict[str, float] | None:
    return None if pair is None else {"gain": pair.gain, "low": pair.low, "high": pair.high}


def _recalls(model: Tested) -> list[str]:
    """``12 of 16`` per class, of the model of the study seed."""
    return [f"{row[k]} of {sum(row)}" for k, row in enumerate(model.matrix)]


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


def compare_matrices(recorded: Int64, found: Int64) -> Reproduction:
    """Hold a new out-of-fold confusion matrix against the recorded one."""
    return Reproduction(
        recorded=macro_recall(recorded),
        found=macro_recall(found),
        standard_error=macro_recall_standard_error(recorded),
        is_exact=recorded.shape == found.shape and bool((recorded == found).all()),
    )


def same_data(export: Export, images: ImageTable) -> bool:
    """Whether the images and their split are those of the export."""
    data = export.record["data"]
    return bool(
        data["fingerprint"] == images.fingerprint
        and data["split_fingerprint"] == images.split_fingerprint
    )


def check_backbone(export: Export, weights: ResolvedWeights) -> None:
    """Refuse another backbone file than the one of the export.

    Raises:
        ExportError: If so.
    """
    then = export.record["fixed"].get("backbone_sha256")
    if weights.kind == "model" and weights.sha256 != then:
        raise ExportError(
            f"the backbone is not that of the export: SHA-256 {weights.sha256}, not {then}",
            where=f"backbone.model: {export.config.backbone.model}",
            do="put the file that the study had into its place",
        )


def check_classes(export: Export, images: ImageTable) -> None:
    """Refuse images of other classes than those of the export.

    Raises:
        ExportError: Naming the classes that differ.
    """
    then, now = set(export.record["classes"]), set(images.class_names)
    if then != now:
        parts = {"missing": sorted(then - now), "new": sorted(now - then)}
        said = [f"{k}: {some([repr(v) for v in names])}" for k, names in parts.items() if names]
        raise ExportError(
            f"the images are of other classes than the export; {'; '.join(said)}",
            where=str(images.root),
            do="point --data at images of the same classes",
        )
