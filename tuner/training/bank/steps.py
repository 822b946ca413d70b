"""The arithmetic of training stacked heads: pure functions of tensors, compiled with XLA.

Every array has the heads as its leading axis. The recipe is that of `Model.fit` with Keras's
Adam on ``Dense(relu) -> Dropout -> Dense``; a test holds both against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tuner.training.bank.compiled import compile_xla, value_and_grad
from tuner.training.dropout import dropout_masks
from tuner.training.head import HeadWeights
from tuner.training.losses import focal_loss

# Keras's defaults of Adam.
_BETA_1, _BETA_2, ADAM_EPSILON = 0.9, 0.999, 1e-7
_NEW_SHARE = np.array([[1 - _BETA_1], [1 - _BETA_2]], dtype=np.float32)
_IS_SECOND = np.array([[False], [True]])


class LossFactors(NamedTuple):
    """What sets the heads' losses apart: (n_heads,) or (n_heads, n_classes), float32."""

    gamma: Any
    true_factor: Any
    other_factor: Any
    class_weight: Any


class TrainState(NamedTuple):
    """Weights, Adam's moments and the number of steps taken.

    Attributes:
        weights: Of the heads.
        moments: First and second of each weight, side by side along the axis before the last.
        step: int32 ().
    """

    weights: HeadWeights
    moments: HeadWeights
    step: Any


def initial_state(weights: HeadWeights) -> TrainState:
    """The state before the first step, on the device."""
    none = (ops.zeros((*part.shape[:-1], 2, part.shape[-1]), "float32") for part in weights)
    return TrainState(weights, HeadWeights(*none), ops.convert_to_tensor(0, "int32"))


class CompiledFunctions(NamedTuple):
    """What stacked heads call; each function compiles once per set of shapes."""

    train_epoch: Callable[..., Any]
    logits: Callable[..., Any]


def head_logits(weights: HeadWeights, x: Any, *, hidden_mask: Any = None) -> Any:
    """Logits of each head, (n_heads, batch, n_classes), of features (n_heads, batch, n)."""
    hidden = ops.relu(ops.matmul(x, weights.hidden) + weights.hidden_bias[:, None, :])
    if hidden_mask is not None:
        hidden = hidden * hidden_mask
    return ops.matmul(hidden, weights.output) + weights.output_bias[:, None, :]


def weighted_losses(
    weights: HeadWeights, x: Any, y: Any, factors: LossFactors, hidden_mask: Any
) -> tuple[Any, Any]:
    """Sum over heads and, per head, the mean over its batch of class weight times loss.

    Heads share no parameter, so the gradient of the sum is each head's own.
    """
    logits = head_logits(weights, x, hidden_mask=hidden_mask)
    losses = focal_loss(
        y,
        logits,
        gamma=factors.gamma,
        true_factor=factors.true_factor,
        other_factor=factors.other_factor,
    )
    per_head = ops.mean(losses * ops.take_along_axis(factors.class_weight, y, axis=1), axis=1)
    return ops.sum(per_head), per_head


def adam(
    state: TrainState, gradients: HeadWeights, learning_rate: Any, *, epsilon: float = ADAM_EPSILON
) -> TrainState:
    """One step of Keras's Adam with a learning rate per head, (n_heads,)."""
    step = state.step + 1
    t = ops.cast(step, "float32")
    rate = learning_rate * ops.sqrt(1 - _BETA_2**t) / (1 - _BETA_1**t)
    parts = []
    for w, moments, g in zip(state.weights, state.moments, gradients, strict=True):
        # Products and not two arrays put together, so that XLA makes one loop of both moments.
        g = g[..., None, :]
        new = g * ops.where(_IS_SECOND, g, 1.0)
        moments = moments + (new - moments) * _NEW_SHARE
        m, v = moments[..., 0, :], moments[..., 1, :]
        shaped = ops.reshape(rate, (-1,) + (1,) * (len(w.shape) - 1))
        parts.append((w - shaped * m / (ops.sqrt(v) + epsilon), moments))
    weights, both = (HeadWeights(*part) for part in zip(*parts, strict=True))
    return TrainState(weights, both, step)


@lru_cache(maxsize=8)
def compiled_functions(dropout: float, epsilon: float) -> CompiledFunctions:
    """Compiled `train_epoch` and `logits` for one dropout rate and Adam's epsilon."""
    gradients_of = value_and_grad(weighted_losses)

    def train_epoch(
        state: TrainState,
        X: Any,
        y: Any,
        rows: Any,
        factors: LossFactors,
        learning_rate: Any,
        dropout_keys: Any,
    ) -> tuple[TrainState, Any]:
        """All steps of an epoch; rows is (steps, n_heads, batch), losses (steps, n_heads)."""
        steps, n_heads, batch = rows.shape
        hidden_units = state.weights.hidden.shape[-1]

        def one_step(i: Any, carry: tuple[TrainState, Any]) -> tuple[TrainState, Any]:
            state, losses = TrainState(*carry[0]), carry[1]
            chosen = ops.take(rows, i, axis=0)
            x, labels = ops.take(X, chosen, axis=0), ops.take(y, chosen, axis=0)
            mask = None
            if dropout:
                shape = (batch, hidden_units)
                mask = dropout_masks(dropout_keys, state.step, shape, rate=dropout)
            (_, loss), gradients = gradients_of(state.weights, x, labels, factors, mask)
            losses = ops.slice_update(losses, (i, 0), loss[None, :])
            return adam(state, gradients, learning_rate, epsilon=epsilon), losses

        empty = ops.zeros((steps, n_heads), dtype="float32")
        state, losses = ops.fori_loop(0, steps, one_step, (state, empty))
        return TrainState(*state), losses

    def logits(weights: HeadWeights, X: Any, rows: Any) -> Any:
        """Logits of rows (n_heads, n), dropout off."""
        return head_logits(weights, ops.take(X, rows, axis=0))

    return CompiledFunctions(compile_xla(train_epoch), compile_xla(logits))
