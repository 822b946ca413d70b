"""From an exported configuration to a model file: folds as a check, final head, model, test."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tuner.arrays import Int64
from tuner.config import DataConfig
from tuner.config.models import AUTO, NEAR_DUPLICATES, NONE
from tuner.data.image_table import ImageTable
from tuner.data.labels.rows import is_label_source
from tuner.data.near_duplicates.groups import groups_of_linked
from tuner.data.seen import DICOM_PATIENT
from tuner.errors import DataError
from tuner.ground import (
    Ground,
    find_weights,
    grouped,
    say_problems,
    start_device,
)
from tuner.home import Home
from tuner.home.founding import (
    asks_for_near_duplicates,
    create_study_folder,
    read_images,
    split_images,
)
from tuner.home.listener import Listener
from tuner.home.study_folder import StudyFolder
from tuner.model.export import (
    Export,
    check_backbone,
    check_classes,
    compare_matrices,
    same_data,
)

if TYPE_CHECKING:
    from tuner.features.source import FeatureSource
    from tuner.model.files import Trained
    from tuner.training.head import HeadWeights
    from tuner.training.inputs import Inputs
    from tuner.training.plan import Plan


_NO_COLUMNS = (AUTO, NEAR_DUPLICATES, NONE, DICOM_PATIENT)  # values of `data.group_by`


@dataclass(frozen=True)
class FinalTraining:
    """What a configuration was trained to, before it is written.

    Attributes:
        model: Head and backbone.
        ground: Images and features that it was trained on.
    """

    model: Trained
    ground: Ground


def with_images(export: Export, data: str | None) -> Export:
    """The export with other images than its own, when the user names some."""
    if data is None:
        return export
    old = export.config.data
    changes: dict[str, Any] = {"source": data, "root": None, "images": _moved(old, data)}
    if not is_label_source(data):
        changes |= {"columns": None, "class_names": None}
        if isinstance(old.group_by, str) and old.group_by not in _NO_COLUMNS:
            changes["group_by"] = NONE  # a column of the label file that the study had
    images = old.model_copy(update=changes)
    return replace(export, config=export.config.model_copy(update={"data": images}))


def _moved(old: DataConfig, data: str) -> tuple[str, ...]:
    """Folders of images that lie to another label file as they did to the old one."""
    if not is_label_source(data):
        return ()
    then, now = Path(old.source).parent, Path(data).parent
    moved = [now / os.path.relpath(folder, then) for folder in old.images]
    return tuple(str(folder) for folder in moved if folder.is_dir())


def with_mode(export: Export, is_live: bool | None) -> Export:
    """The export with another way of training than its study's, when the user names one."""
    if is_live is None:
        return export
    mode: Literal["bank", "live"] = "live" if is_live else "bank"
    training = export.config.training.model_copy(update={"mode": mode})
    return replace(export, config=export.config.model_copy(update={"training": training}))


def train_again(
    export: Export,
    home: Home,
    listener: Listener,
    *,
    unlike: str = "",
    stage: str | None = None,
) -> FinalTraining:
    """Train the folds as a check, then one head on all images outside the test.

    Args:
        export: The configuration.
        home: Where features and the seal lie.
        listener: Told what happens, and how well the folds were reproduced.
        unlike: In what it is trained otherwise than its study; empty when in nothing.
        stage: First stage of the backbone to fine-tune.

    Raises:
        DataError: If the images cannot be used.
        ExportError: If their classes are not those of the export.
        TrainingError: If a loss is not finite.
    """
    config = export.config
    device = start_device(config, listener)
    _, weights = find_weights(config, listener)
    from tuner.features.source import open_features
    from tuner.model.files import Trained
    from tuner.model.fine_tune import FINE_TUNE_EPOCHS, check_stage
    from tuner.model.reproduce import (
        adjusted_head,
        adjusted_matrix,
        calibrated_head,
        fresh_plan,
        recorded_plan,
        train_folds_again,
    )

    check_stage(stage, config)
    check_backbone(export, weights)
    source = open_features(config, home, weights=weights, device=device)
    ground, is_same = _open_images(export, home, listener, source=source)
    ground.fill(listener)
    inputs = ground.inputs(listener)
    unlike = unlike or ("" if is_same else "other images or folds than the export's")
    with listener.status("training the folds again"):
        folds = train_folds_again(export, inputs)
    _say_reproduction(export, np.array(folds.matrix), listener, unlike=unlike)
    plan = fresh_plan(folds) if unlike else recorded_plan(export)
    n_images = len(inputs.labels)
    with listener.status(f"training on all {n_images:,} non-test images"):
        head, backbone = _train_final(export, inputs, plan, ground, stage=stage)
    rule = export.rule
    head = calibrated_head(adjusted_head(head, export.adjustment), rule)
    matrix = adjusted_matrix(folds, inputs.labels, export.adjustment, rule=rule)
    views = " and views of them" if export.params.augmentation_multiplier else ""
    images = f"{n_images:,} images{views}, {inputs.n_classes} classes"
    listener.result(f"final head: {plan.epochs} epochs on {images}")
    if stage:
        listener.result(f"backbone fine-tuned from {stage} on, {FINE_TUNE_EPOCHS} epochs")
    saved = None if rule is None else rule.saved
    trained = Trained(head=head, backbone=backbone, folds=matrix, stage=stage, saved=saved)
    return FinalTraining(trained, ground)


def open_test(export: Export, training: FinalTraining, *, command: str) -> tuple[Int64, int]:
    """Record that the test is opened, then score the model on it.

    Args:
        export: The configuration.
        training: What came of it.
        command: What the user wrote, for the seal.

    Returns:
        Confusion matrix, int64 (n_classes, n_classes), rows true, and how often the test has
        been opened.
    """
    from tuner.model.reproduce import head_answers, test_matrix

    ground, model = training.ground, training.model
    table = ground.table
    times = ground.folder.open_seal(command=command)
    if model.backbone is None:
        ground.source.fill(ground.files(table.test))
    features = model.features(export.config, ground, table.test)
    answers = head_answers(model.head, features, saved=model.saved)
    return test_matrix(answers, table.labels[table.test]), times


def _train_final(
    export: Export, inputs: Inputs, plan: Plan, ground: Ground, *, stage: str | None
) -> tuple[HeadWeights, Any]:
    """The final head, and the backbone where it is another than its weights'."""
    from tuner.model.fine_tune import train_final_live
    from tuner.model.reproduce import train_final
    from tuner.training.inputs import LiveSource, with_live

    if stage is None:
        train: Callable[..., HeadWeights] = (
            train_final if inputs.live is None else train_final_live
        )
        return train(export, inputs, plan), None
    head = None
    if inputs.live is None:
        head = train_final(export, inputs, plan)
        place = LiveSource(ground.table.root, ground.source.backbone())
        inputs = with_live(inputs, place, ground.table, config=export.config)
    head = train_final_live(export, inputs, plan, head=head, stage=stage)
    return head, inputs.live.backbone if inputs.live else None


def _say_reproduction(export: Export, matrix: Int64, listener: Listener, *, unlike: str) -> None:
    found = compare_matrices(export.matrix, matrix)
    numbers = f"macro recall {found.found:.4f}, recorded {found.recorded:.4f}"
    if unlike:
        listener.result(f"{unlike}: {numbers}")
    elif found.is_exact:
        listener.result(f"reproduced: the out-of-fold confusion matrix is the same; {numbers}")
    else:
        listener.result(
            f"not bit for bit (another machine, backend or version): {numbers}, "
            f"difference {found.found - found.recorded:+.4f}, "
            f"standard error {found.standard_error:.4f}"
        )
        if found.is_suspicious:
            listener.result("! the difference is above three standard errors")


def _open_images(
    export: Export, home: Home, listener: Listener, *, source: FeatureSource
) -> tuple[Ground, bool]:
    """The images and folds to train on, and whether they are those of the export."""
    config, folder = export.config, StudyFolder(home.studies / export.config.name)
    try:
        with listener.status("reading images"):
            table = read_images(config, home)
    except DataError as error:
        do = f"{error.do}, with --data" if error.do else "name the images with --data"
        raise type(error)(error.what, where=error.where, do=do) from error
    check_classes(export, table)
    say_problems(table, listener)
    table = _as_exported(export, table)
    table, _ = grouped(source, table, folder, listener)
    table = split_images(config, table)
    is_same = same_data(export, table)
    # The seal lives with the study; other images, and other machines, need a place for it.
    if not is_same or (folder.exists and not _holds(folder, table)):
        place = f"{config.name}@{table.fingerprint[:8]}{table.split_fingerprint[:8]}"
        folder = StudyFolder(home.studies / place)
    if not folder.exists:
        create_study_folder(folder, config, table, about={})
    return Ground(config=config, folder=folder, table=table, source=source), is_same


def _as_exported(export: Export, table: ImageTable) -> ImageTable:
    """The images in the groups of the export, where they are its images.

    Found anew, on another machine or by a later version, groups might differ.
    """
    linked = export.record["data"].get("groups", [])
    is_within = max((i for one in linked for i in one), default=-1) < table.n_images
    if not is_within or not asks_for_near_duplicates(export.config):
        return table
    groups = groups_of_linked(linked, table.n_images)
    candidates = [groups] if linked else [groups, None]
    for found in candidates:
        then = replace(table, groups=found, is_grouped=True)
        if then.fingerprint == export.record["data"]["fingerprint"]:
            return then
    return table


def _holds(folder: StudyFolder, table: ImageTable) -> bool:
    about = folder.about
    return bool(
        about["data_fingerprint"] == table.fingerprint
        and about["split_fingerprint"] == table.split_fingerprint
    )
