"""What a training leaves behind: the model, its card, a SavedModel, a registered version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.arrays import Float32, Float64, Int64
from tuner.config import StudyConfig
from tuner.errors import ExportError
from tuner.files import replacing_folder, write_whole
from tuner.ground import Ground
from tuner.model.export import Export
from tuner.text import first_line

if TYPE_CHECKING:
    from tuner.training.head import HeadWeights


_N_CHECKED = 16  # images on which the written file is held against the head


@dataclass(frozen=True)
class Trained:
    """A head, and what it stands on.

    Attributes:
        head: Its weights.
        backbone: A fine-tuned backbone; None for the frozen one of the bank.
        folds: Out-of-fold confusion matrix of the same recipe.
        stage: First stage that was fine-tuned, or None.
        saved: What each answer saves where costs decide, (n_classes, n_classes), or None.
    """

    head: HeadWeights
    backbone: Any
    folds: Int64
    stage: str | None
    saved: Float64 | None = None

    def features(self, config: StudyConfig, ground: Ground, images: Int64) -> Float32:
        """Features of images by their number in the table, float32 (n_images, n_features)."""
        from tuner.model.fine_tune import file_features

        files = ground.files(images)
        if self.backbone is not None:
            paths, rule = [file.path for file in files], ground.table.rule
            return file_features(self.backbone, paths, image_px=config.data.image_px, rule=rule)
        return ground.source.bank.read(files.names(config.augmentation))


def write_model(export: Export, model: Trained, ground: Ground, target: Path) -> float:
    """Write the model and its card, once its file agreed with the head on real images.

    Returns:
        Largest difference of a probability between file and head.

    Raises:
        ExportError: If they do not agree, or the file cannot be written.
    """
    import keras

    from tuner.model.card import card_text, make_card
    from tuner.model.keras_model import build_model, save_model
    from tuner.model.reproduce import check_model, head_answers

    config, table, source = export.config, ground.table, ground.source
    built = build_model(
        model.head,
        source.weights,
        image_px=config.data.image_px,
        dropout=config.training.dropout,
        precision=config.backbone.precision,
        name="tuner_model",
        backbone=model.backbone,
        saved=model.saved,
    )
    card = make_card(
        export,
        class_names=table.class_names,
        fingerprint=table.fingerprint,
        folds=model.folds,
        images_per_class=table.search_counts.tolist(),
        weights=source.weights.source,
        weights_kind=source.weights.kind,
        fine_tuned=model.stage,
        decode=ground.folder.decode,
        rule=table.rule,
        saved=model.saved,
    )
    n_checked = min(_N_CHECKED, len(table.search))
    chosen = table.search[np.linspace(0, len(table.search) - 1, n_checked).astype(int)]
    features = model.features(config, ground, chosen)
    expected = head_answers(model.head, features, saved=model.saved)
    files = [file.path for file in ground.files(chosen)]
    worst = 0.0

    def check(path: Path) -> None:
        nonlocal worst
        loaded = keras.saving.load_model(path)
        worst = check_model(loaded, expected, files, config=config, rule=table.rule)

    save_model(built, target, card=card, check=check)
    write_whole(target.with_suffix(".md"), card_text(card, name=target.stem))
    return worst


def write_saved_model(model: Path, place: Path) -> None:
    """Keras's own export, whole or not at all.

    Raises:
        ExportError: If something else lies there, or the backend cannot do it.
    """
    import keras

    if place.exists() and not (place / "saved_model.pb").exists():
        do = "choose another place with -o"
        raise ExportError("something else lies there; it was left", where=str(place), do=do)
    with replacing_folder(place) as temporary:
        try:
            keras.saving.load_model(model, compile=False).export(temporary, verbose=False)
        except Exception as error:  # TensorFlow's and JAX's converters raise what they like
            reason = first_line(error)
            raise ExportError(
                f"Keras cannot export a SavedModel on {keras.backend.backend()}: {reason}",
                where=str(place),
                do="export on TensorFlow: KERAS_BACKEND=tensorflow; the .keras file is whole",
            ) from error


def register(
    target: Path, name: str, ground: Ground, *, tracking_uri: str, artifacts: Path
) -> int:
    """Put a written model into MLflow's registry; returns the number of its version.

    Raises:
        TrackingError: If MLflow cannot be reached or refuses.
    """
    from tuner.data.images import read_bytes, read_image
    from tuner.model.archive import read_card
    from tuner.model.served import CODE, columns_of
    from tuner.tracking.registry import register_model
    from tuner.tracking.serving.log import FileExample

    example = ground.files(ground.table.search[:1])[0].path
    card = read_card(target)
    return register_model(
        target,
        name,
        tracking_uri=tracking_uri,
        experiment=ground.config.name,
        artifacts=artifacts,
        example=read_image(example, image_px=card["image_px"], rule=ground.table.rule)[None],
        files=FileExample(code=CODE, data=read_bytes(example), columns=columns_of(card)),
        card={key: value for key, value in card.items() if key != "export"},
        card_text=target.with_suffix(".md").read_text("utf-8"),
    )
