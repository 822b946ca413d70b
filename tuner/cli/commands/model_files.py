"""What ``tuner train`` leaves behind: the model, its card, a SavedModel, a registered version."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from tuner.cli.show.terminal import command, make_console, say, say_step
from tuner.config import StudyConfig
from tuner.errors import ExportError
from tuner.files import write_whole
from tuner.home.founding import Opened
from tuner.model.export import Export

if TYPE_CHECKING:
    from tuner.features.source import FeatureSource
    from tuner.training.bank.steps import HeadWeights

IntArray = NDArray[np.int64]

_N_CHECKED = 16  # images on which the written file is held against the head


@dataclass(frozen=True)
class Trained:
    """A head, and what it stands on.

    Attributes:
        head: Its weights.
        backbone: A fine-tuned backbone; None for the frozen one of the bank.
        folds: Out-of-fold confusion matrix of the same recipe.
        stage: First stage that was fine-tuned, or None.
    """

    head: HeadWeights
    backbone: Any
    folds: IntArray
    stage: str | None

    def features(
        self, config: StudyConfig, opened: Opened, source: FeatureSource, rows: IntArray
    ) -> NDArray[np.float32]:
        """Features of images by their place in the table, float32 (n_images, n_features)."""
        from tuner.features.views import view_key
        from tuner.model.fine_tune import file_features

        images, root = opened.folder.images, opened.index.root
        if self.backbone is not None:
            files = [root / images.paths[i] for i in rows]
            return file_features(self.backbone, files, image_px=config.data.image_px)
        keys = [view_key(images.sha256[i], 0, augmentation=config.augmentation) for i in rows]
        return source.bank.read(keys)


def write_trained(
    export: Export, model: Trained, opened: Opened, source: FeatureSource, target: Path
) -> float:
    """Write the model, once its file was read back and agreed with the head on real images."""
    import keras

    from tuner.model.card import card_text, make_card
    from tuner.model.keras_model import build_model, save_model
    from tuner.model.reproduce import check_model, head_probabilities

    config, images = export.config, opened.folder.images
    names, rows = opened.index.class_names, images.search
    built = build_model(
        model.head,
        source.weights,
        image_px=config.data.image_px,
        dropout=config.training.dropout,
        precision=config.backbone.precision,
        name="tuner_model",
        backbone=model.backbone,
    )
    card = make_card(
        export,
        class_names=names,
        fingerprint=opened.index.fingerprint,
        folds=model.folds,
        images_per_class=np.bincount(images.labels[rows], minlength=len(names)).tolist(),
        weights=source.weights.source,
        weights_kind=source.weights.kind,
        fine_tuned=model.stage,
    )
    chosen = rows[np.linspace(0, len(rows) - 1, min(_N_CHECKED, len(rows))).astype(int)]
    features = model.features(config, opened, source, chosen)
    expected = head_probabilities(model.head, features)
    files = [opened.index.root / images.paths[i] for i in chosen]
    worst: list[float] = []

    def check(path: Path) -> None:
        loaded = keras.saving.load_model(path)
        worst.append(check_model(loaded, expected, files, config=config))

    save_model(built, target, card=card, check=check)
    write_whole(target.with_suffix(".md"), card_text(card, name=target.stem))
    return worst[0]


def hand_over(
    target: Path,
    opened: Opened,
    results: Console,
    *,
    form: str,
    register: str | None,
    tracking_uri: str,
    artifacts: Path,
) -> None:
    """Say where the card lies; write a SavedModel and a registered version when asked."""
    say(results, f"model card written to {target.with_suffix('.md')}")
    if form == "saved_model":
        place = target.with_suffix(".saved_model")
        with make_console(is_result=False).status("writing the SavedModel"):
            _export_saved_model(target, place)
        say(results, f"SavedModel written to {place}")
    if register:
        with make_console(is_result=False).status("registering the model"):
            version = _register(
                target, register, opened, tracking_uri=tracking_uri, artifacts=artifacts
            )
        say(results, f"registered as '{register}', version {version}, alias champion")
    say_step(results, "predict", command("tuner", "predict", target, "IMAGES"))


def _export_saved_model(model: Path, place: Path) -> None:
    """Keras's own export, whole or not at all."""
    import keras

    if place.exists() and not (place / "saved_model.pb").exists():
        do = "choose another place with -o"
        raise ExportError("something else lies there; it was left", where=str(place), do=do)
    temporary = place.with_name(f".{place.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        keras.saving.load_model(model, compile=False).export(temporary, verbose=False)
    except Exception as error:  # TensorFlow's and JAX's converters raise what they like
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ExportError(
            f"Keras cannot export a SavedModel on {keras.backend.backend()}: {reason}",
            where=str(place),
            do="export on TensorFlow: KERAS_BACKEND=tensorflow; the .keras file is whole",
        ) from error
    shutil.rmtree(place, ignore_errors=True)
    temporary.rename(place)


def _register(
    target: Path, name: str, opened: Opened, *, tracking_uri: str, artifacts: Path
) -> int:
    from tuner.data.images import read_image
    from tuner.model.archive import read_card
    from tuner.tracking.registry import register_model

    first = opened.folder.images.search[0]
    file = opened.index.root / opened.folder.images.paths[first]
    card = read_card(target)
    return register_model(
        target,
        name,
        tracking_uri=tracking_uri,
        experiment=opened.config.name,
        artifacts=artifacts,
        example=read_image(file, image_px=card["image_px"])[None],
        card={key: value for key, value in card.items() if key != "export"},
        card_text=target.with_suffix(".md").read_text("utf-8"),
    )
