"""Focal loss on softmax logits, one value per image, in log space."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from tuner.arrays import Float32


class FocalTerms(NamedTuple):
    """How much the two terms of the focal loss count.

    Attributes:
        true_factor: Factor of the true-class term for each true class, float32 (n_classes,).
        other_factor: Factor of the other-classes term.
    """

    true_factor: Float32
    other_factor: float


def focal_terms(alpha: float, *, n_classes: int, rarer_class: int | None = None) -> FocalTerms:
    """Turn alpha into the factors of both terms (`focal_loss` gives the equation).

    With three classes or more alpha weighs the true-class term against the others'. With two
    it would cancel there, so it is the weight of the rarer class instead (Lin et al. 2017).

    Args:
        alpha: In [0, 1]; with two classes strictly between.
        n_classes: Two or more.
        rarer_class: Which of two classes is the rarer one; required there, unused otherwise.

    Raises:
        ValueError: If alpha is out of range or the rarer class is missing.
    """
    if n_classes == 2:
        if rarer_class not in (0, 1):
            raise ValueError(f"two classes need rarer_class 0 or 1, got {rarer_class!r}")
        if not 0 < alpha < 1:
            raise ValueError(f"with two classes alpha must lie inside (0, 1), got {alpha!r}")
        weights = np.full(2, 2 * (1 - alpha), dtype=np.float32)
        weights[rarer_class] = 2 * alpha
        return FocalTerms(weights, 0.0)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha!r}")
    return FocalTerms(np.full(n_classes, alpha, dtype=np.float32), 1 - alpha)


def focal_loss(
    y_true: Any, logits: Any, *, gamma: Any, true_factor: Any, other_factor: Any
) -> Any:
    """Focal loss of each image, ``a_y (1-p_y)^g (-ln p_y) + b sum_{j!=y} p_j^g (-ln(1-p_j))``.

    ``a = alpha, b = 1 - alpha`` for three classes or more; ``gamma=0, alpha=1`` is
    cross-entropy. With two classes ``a_y = 2 alpha`` or ``2 (1 - alpha)`` and ``b = 0``;
    ``gamma=0, alpha=0.5`` is cross-entropy. Leading axes (heads) broadcast.

    Powers are taken as ``exp(gamma * log(...))`` of finite logarithms: no clipping, so a
    confidently wrong image keeps its gradient, and no ``0 ** (gamma - 1)``, so none is NaN.

    Args:
        y_true: Classes, integer tensor of shape (..., batch).
        logits: float32 tensor of shape (..., batch, n_classes).
        gamma: Focusing exponent, scalar or (...,), each >= 0.
        true_factor: `FocalTerms.true_factor`, float32 tensor of shape (..., n_classes).
        other_factor: `FocalTerms.other_factor`, scalar or (...,).

    Returns:
        float32 tensor of shape (..., batch).

    References:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017 (arXiv:1708.02002).
    """
    logits = ops.cast(logits, "float32")
    is_true = ops.one_hot(y_true, logits.shape[-1], dtype="float32")
    log_p, log_not_p = _log_probabilities(logits)
    gamma = ops.expand_dims(ops.convert_to_tensor(gamma, "float32"), (-2, -1))
    other_factor = ops.expand_dims(ops.convert_to_tensor(other_factor, "float32"), (-2, -1))
    true_term = -ops.expand_dims(true_factor, -2) * ops.exp(gamma * log_not_p) * log_p
    other_term = -other_factor * ops.exp(gamma * log_p) * log_not_p
    return ops.sum(is_true * true_term + (1.0 - is_true) * other_term, axis=-1)


def _log_probabilities(logits: Any) -> tuple[Any, Any]:
    """``ln p`` and ``ln(1 - p)`` of softmax logits, both finite and exact to the last digits.

    Only the largest class can exceed 1/2, where ``1 - p`` and ``ln p`` lose their digits: its
    odds against the rest are summed over the others instead.
    """
    largest = ops.one_hot(ops.argmax(logits, axis=-1), logits.shape[-1], dtype="float32")
    z = logits - ops.sum(largest * logits, axis=-1, keepdims=True)
    # -1e30, not -inf: infinity times zero would be NaN in the gradient.
    rest = ops.logsumexp(z - 1e30 * largest, axis=-1, keepdims=True)
    log_p = z - ops.softplus(rest)
    # The unused branch gets a harmless -1, since its gradient is multiplied by zero, not skipped.
    small = ops.where(largest > 0, -1.0, log_p)
    return log_p, ops.where(largest > 0, -ops.softplus(-rest), ops.log1p(-ops.exp(small)))


# Not registered with Keras: MLflow pickles whatever is into every model that it logs.
class FocalLoss(keras.losses.Loss):
    """`focal_loss` for `Model.fit`: integer labels (batch,) and logits (batch, n_classes).

    `FocalLoss.of` makes one from gamma and alpha. A model that was compiled with it is read by
    ``load_model(path, custom_objects={"FocalLoss": FocalLoss})``.

    Args:
        gamma: Focusing exponent, >= 0.
        true_factor: `FocalTerms.true_factor`, one number per class.
        other_factor: `FocalTerms.other_factor`.
    """

    def __init__(
        self,
        gamma: float,
        true_factor: Any,
        other_factor: float,
        name: str = "focal_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.gamma, self.other_factor = float(gamma), float(other_factor)
        self.true_factor = [float(weight) for weight in true_factor]

    @classmethod
    def of(
        cls,
        *,
        gamma: float,
        alpha: float,
        n_classes: int,
        rarer_class: int | None = None,
        **kwargs: Any,
    ) -> FocalLoss:
        """The loss of a setting.

        Args:
            gamma: Focusing exponent, >= 0.
            alpha: As for `focal_terms`.
            n_classes: Two or more.
            rarer_class: Which of two classes is the rarer one; unused with more.
            kwargs: As for any loss of Keras: `name`, `reduction`, `dtype`.

        Raises:
            ValueError: If alpha is out of range or the rarer class is missing.
        """
        terms = focal_terms(alpha, n_classes=n_classes, rarer_class=rarer_class)
        return cls(gamma, terms.true_factor, terms.other_factor, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each image, shape (batch,): class and sample weights keep their effect."""
        y_true = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        true_factor = ops.convert_to_tensor(self.true_factor, "float32")
        return focal_loss(
            y_true,
            y_pred,
            gamma=self.gamma,
            true_factor=true_factor,
            other_factor=self.other_factor,
        )

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the loss."""
        own = {
            "gamma": self.gamma,
            "true_factor": self.true_factor,
            "other_factor": self.other_factor,
        }
        return {**super().get_config(), **own}
