"""The final training on images, and fine-tuning of the backbone's last stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tuner.arrays import Float32
from tuner.config import StudyConfig
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.images import read_image
from tuner.errors import TrainingError, UsageError
from tuner.features.backbone import Extractor
from tuner.model.export import Export
from tuner.training.head import HeadWeights
from tuner.training.images.batches import Draws
from tuner.training.images.loop import fit_epoch
from tuner.training.images.model import build_live_model, compile_live, get_head, set_head
from tuner.training.inputs import Inputs
from tuner.training.plan import Plan
from tuner.training.trial import make_head

FINE_TUNE_EPOCHS = 5
FINE_TUNE_RATE = 0.1  # times the learning rate of the study
STAGES = ("conv5", "conv4", "conv3", "conv2")
_BATCH = 32

OnEpoch = Callable[[int, float], None]


def check_stage(stage: str | None, config: StudyConfig) -> None:
    """Refuse a stage that ResNet50 does not have, and any of another backbone.

    Raises:
        UsageError: Naming those it has.
    """
    if stage is not None and config.backbone.model:
        raise UsageError(
            "--fine-tune knows the stages of ResNet50 only, and this study has another backbone",
            where=f"backbone.model: {config.backbone.model}",
            do="train without --fine-tune",
        )
    if stage is not None and stage not in STAGES:
        do = f"write one of {', '.join(STAGES)}; each one takes those behind it along"
        raise UsageError(f"--fine-tune '{stage}' is not a stage of ResNet50", do=do)


def train_final_live(
    export: Export,
    inputs: Inputs,
    plan: Plan,
    *,
    head: HeadWeights | None = None,
    stage: str | None = None,
    on_epoch: OnEpoch = lambda epoch, loss: None,
) -> HeadWeights:
    """The head on all non-test images, trained on images, and the backbone's last stages.

    Args:
        export: The configuration.
        inputs: With `live` images; fine-tuning changes their backbone.
        plan: How long the head is trained, and how fast.
        head: A head that was trained already, on the bank; it is not trained again.
        stage: First stage of the backbone to fine-tune, or None. All from there on learn for
            `FINE_TUNE_EPOCHS` epochs at a tenth of the study's learning rate, with the head;
            BatchNormalization stays as it is.
        on_epoch: Called with (epoch, training loss) after each one.

    Raises:
        TrainingError: If a loss is not finite.
        DataError: If an image cannot be read any more.
    """
    live, training = inputs.live_images, export.config.training
    live.backbone.trainable = False  # one that was fine-tuned before starts frozen again
    places = np.arange(len(inputs.labels))
    recipe = make_head(export.params, inputs, places, config=export.config, fold=None)
    steps = -(-len(places) // training.batch_size)
    draws = Draws(recipe, live, inputs.y)

    def train(rates: Sequence[float], first: int) -> Iterator[tuple[int, float]]:
        for epoch, rate in enumerate(rates, start=first):
            model.optimizer.learning_rate = rate
            batches = draws.epoch(steps=steps, batch_size=training.batch_size)
            loss = fit_epoch(model, batches, epoch=epoch, callbacks=None)["loss"]
            if not np.isfinite(loss):
                raise TrainingError(f"training loss is {loss} in epoch {epoch} of the final head")
            yield epoch, loss

    model = build_live_model(recipe, live, n_classes=inputs.n_classes, training=training)
    compile_live(model, recipe, learning_rate=training.learning_rate)
    n_head = 0 if head else plan.epochs
    for epoch, loss in train(plan.learning_rates[:n_head], 0):
        on_epoch(epoch, loss)
    if head:
        set_head(model, head)
    if stage is not None:
        unfreeze(live.backbone, stage)
        rate = FINE_TUNE_RATE * training.learning_rate
        compile_live(model, recipe, learning_rate=rate)
        for epoch, loss in train([rate] * FINE_TUNE_EPOCHS, n_head):
            on_epoch(epoch, loss)
    return get_head(model)


def unfreeze(backbone: Any, stage: str) -> None:
    """Let the convolutions from a stage on learn; BatchNormalization stays frozen everywhere."""
    learning = STAGES[: STAGES.index(stage) + 1]
    backbone.trainable = True
    for layer in backbone.layers:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = layer.name.startswith(learning) and not is_norm


def file_features(
    backbone: Any, files: Sequence[Path], *, image_px: int, rule: PixelRule = EACH_FILE
) -> Float32:
    """Features of files by a backbone as it is now, float32 (n_files, n_features)."""
    extractor, found = Extractor(backbone), []
    for start in range(0, len(files), _BATCH):
        part = [
            read_image(path, image_px=image_px, rule=rule)
            for path in files[start : start + _BATCH]
        ]
        full = np.stack([part[i % len(part)] for i in range(_BATCH)])
        found.append(np.asarray(extractor(full))[: len(part)])
    return np.concatenate(found)
