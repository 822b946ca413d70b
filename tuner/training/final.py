"""The final training: one head on all non-test images, for as long as the folds needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from keras import ops

from tuner.arrays import Float32, Float64
from tuner.config import StudyConfig
from tuner.errors import TrainingError
from tuner.evaluation.metrics import log_softmax
from tuner.setting import Setting
from tuner.training.bank.heads import StackedHeads
from tuner.training.head import HeadWeights
from tuner.training.inputs import Inputs
from tuner.training.plan import Plan
from tuner.training.trial import make_head


def train_finals(
    settings: Sequence[tuple[Setting, Plan]], inputs: Inputs, *, config: StudyConfig
) -> list[HeadWeights]:
    """One head per setting on all non-test images, without validation.

    An epoch has the steps that one pass over these images takes, so that an image is seen as
    often as in a fold.

    Args:
        settings: What to train, and how long.
        inputs: The images; their folds are not used.
        config: The study, with the seed to train with.

    Raises:
        TrainingError: If a loss is not finite.
    """
    places = np.arange(len(inputs.labels))
    heads = [make_head(s, inputs, places, config=config, fold=None) for s, _ in settings]
    stack = StackedHeads(
        heads,
        inputs.X,
        ops.convert_to_tensor(inputs.y, "int32"),
        n_classes=inputs.n_classes,
        steps=-(-len(places) // config.training.batch_size),
        training=config.training,
    )
    plans = [plan for _, plan in settings]
    done = {h: stack.weights(h) for h in stack.alive if not plans[h].epochs}
    stack.keep([h for h in stack.alive if h not in done])
    for epoch in range(max(plan.epochs for plan in plans)):
        losses = stack.train_epoch(np.array([plans[h].learning_rates[epoch] for h in stack.alive]))
        if not np.isfinite(losses).all():
            raise TrainingError(f"training loss is not finite in epoch {epoch} of the final head")
        ended = [h for h in stack.alive if plans[h].epochs == epoch + 1]
        done |= {h: stack.weights(h) for h in ended}
        stack.keep([h for h in stack.alive if h not in done])
    return [done[h] for h in range(len(settings))]


def head_log_prob(head: HeadWeights, features: Float32) -> Float64:
    """Log probabilities of features, float64 (n_images, n_classes), computed in NumPy."""
    hidden = np.maximum(features @ head.hidden + head.hidden_bias, 0)
    return log_softmax(hidden @ head.output + head.output_bias)
