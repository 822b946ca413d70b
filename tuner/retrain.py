"""Train an exported configuration again: its folds as a check, then one head for the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from numpy.typing import NDArray

from tuner.data.images import decode_rgb, read_bytes
from tuner.errors import ExportError, TrainingError
from tuner.evaluation.metrics import confusion_matrix, log_softmax
from tuner.export import Export, median_fold
from tuner.search.inputs import SearchInputs
from tuner.search.objective import Evaluated, make_head, prepare, train_prepared
from tuner.training.heads import StackedHeads
from tuner.training.steps import HeadWeights

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

# Of a probability, between Pillow's and the backend's resize of the same file.
_TOLERANCE = 0.05
_FINAL = -1  # key of the final training's random streams, beside the folds' 0, 1, …


class Plan(NamedTuple):
    """How long the final head is trained, and how fast in each epoch."""

    learning_rates: list[float]

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return len(self.learning_rates)


def train_folds_again(export: Export, inputs: SearchInputs) -> Evaluated:
    """Train the folds as the search did.

    Raises:
        TrainingError: If a loss is not finite.
    """
    prepared = prepare(export.params, inputs, config=export.config)
    evaluated = train_prepared(
        [prepared], inputs, config=export.config, on_epoch=lambda trial, epoch: False
    )[0]
    if evaluated.result.state == "failed":
        raise TrainingError(f"the folds cannot be trained: {evaluated.result.reason}")
    return evaluated


def recorded_plan(export: Export) -> Plan:
    """The plan of the export: the median fold's best epoch and its learning-rate cuts."""
    return Plan(export.final_learning_rates)


def fresh_plan(evaluated: Evaluated) -> Plan:
    """The plan of folds trained just now, for other images than the export's."""
    fold = median_fold(evaluated.result.best_epochs)
    n_epochs = evaluated.result.best_epochs[fold] + 1
    return Plan(evaluated.result.learning_rates[fold][:n_epochs])


def train_final(export: Export, inputs: SearchInputs, plan: Plan) -> HeadWeights:
    """One head on all non-test images, without validation, for as long as the folds needed.

    An epoch has the steps that one pass over these images takes, so that an image is seen as
    often as in a fold.

    Raises:
        TrainingError: If a loss is not finite.
    """
    n_images = len(inputs.labels)
    head, _ = make_head(
        export.params, inputs, np.arange(n_images), config=export.config, key=_FINAL
    )
    steps = -(-n_images // export.config.training.batch_size)
    stack = StackedHeads(
        [head],
        inputs.X,
        ops.convert_to_tensor(inputs.y, "int32"),
        n_classes=inputs.n_classes,
        steps=steps,
        training=export.config.training,
    )
    for epoch, rate in enumerate(plan.learning_rates):
        losses = stack.train_epoch(np.array([rate]))
        if not np.isfinite(losses).all():
            raise TrainingError(f"training loss is not finite in epoch {epoch}")
    return stack.weights(0)


def head_probabilities(head: HeadWeights, features: NDArray[np.float32]) -> FloatArray:
    """Class probabilities of features, float64 (n_images, n_classes), computed in NumPy."""
    hidden = np.maximum(features @ head.hidden + head.hidden_bias, 0)
    return np.exp(log_softmax(hidden @ head.output + head.output_bias))


def check_model(model: Any, probabilities: FloatArray, images: Sequence[Path]) -> float:
    """Hold a model's answers on real files against those of the bank and the head.

    The model resizes on the backend, the bank with Pillow: both antialiased bilinear, rounded
    to grey levels, and apart by a level here and there.

    Args:
        model: From uint8 pixels of any size to probabilities.
        probabilities: What head and bank say, float64 (n_images, n_classes).
        images: The files.

    Returns:
        Largest difference of a probability.

    Raises:
        ExportError: If it is larger than a resize can explain.
    """
    worst = 0.0
    for path, expected in zip(images, probabilities, strict=True):
        pixels = np.asarray(decode_rgb(read_bytes(path), name=str(path)))
        found = np.asarray(ops.convert_to_numpy(model(pixels[None], training=False)))[0]
        worst = max(worst, float(np.abs(found - expected).max()))
    if worst > _TOLERANCE:
        raise ExportError(
            f"the saved model differs from the trained head by {worst:.3f} in a probability",
            do="please report this with the versions that `tuner export` writes",
        )
    return worst


def test_matrix(
    head: HeadWeights, features: NDArray[np.float32], labels: IntArray, *, n_classes: int
) -> IntArray:
    """Confusion matrix of the sealed test, int64 (n_classes, n_classes)."""
    predicted = head_probabilities(head, features).argmax(axis=1)
    return confusion_matrix(labels, predicted, n_classes=n_classes)
