import keras
import numpy as np
import pytest
from keras import ops

from tuner.training.bank.compiled import value_and_grad
from tuner.training.bank.steps import (
    ADAM_EPSILON,
    LossFactors,
    adam,
    head_logits,
    initial_state,
    weighted_losses,
)
from tuner.training.head import HeadWeights
from tuner.training.losses import FocalLoss, focal_terms

N_HEADS, BATCH, N_FEATURES, HIDDEN, N_CLASSES = 3, 8, 6, 5, 4
RTOL = 2e-5  # sums of at most 8 float32 products


def tensors(parts, dtype="float32"):
    """Each part as a tensor."""
    return [ops.convert_to_tensor(np.asarray(part), dtype) for part in parts]


def random_weights(seed):
    """Weights of `N_HEADS` heads, NumPy."""
    rng = np.random.default_rng(seed)
    shapes = [(N_FEATURES, HIDDEN), (HIDDEN,), (HIDDEN, N_CLASSES), (N_CLASSES,)]
    return HeadWeights(
        *(rng.normal(size=(N_HEADS, *shape)).astype(np.float32) for shape in shapes)
    )


def batch_of_each_head(seed=0):
    """Features and labels of one batch of each head."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_HEADS, BATCH, N_FEATURES)).astype(np.float32)
    return x, rng.integers(0, N_CLASSES, (N_HEADS, BATCH)).astype(np.int32)


def test_logits_are_two_dense_layers_of_each_head():
    """Each head's logits are relu, mask and product of its own weights and rows."""
    weights, (x, _) = random_weights(0), batch_of_each_head()
    mask = np.random.default_rng(1).integers(0, 2, (N_HEADS, BATCH, HIDDEN)) / 0.5
    for hidden_mask, factor in ((None, 1.0), (ops.convert_to_tensor(mask, "float32"), mask)):
        found = head_logits(HeadWeights(*tensors(weights)), x, hidden_mask=hidden_mask)
        hidden = np.maximum(np.matmul(x, weights.hidden) + weights.hidden_bias[:, None], 0)
        expected = np.matmul(hidden * factor, weights.output) + weights.output_bias[:, None]
        np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=RTOL, atol=1e-5)


def test_losses_and_gradients_are_those_of_keras_losses():
    """Each head's loss and gradient are those of a `FocalLoss` with sample weights on it."""
    weights, (x, y) = HeadWeights(*tensors(random_weights(0))), batch_of_each_head()
    gammas, alphas = [0.0, 1.5, 4.0], [0.2, 0.5, 1.0]
    terms = [focal_terms(alpha, n_classes=N_CLASSES) for alpha in alphas]
    class_weight = np.random.default_rng(2).uniform(0.2, 5, (N_HEADS, N_CLASSES))
    factors = LossFactors(
        *tensors(
            [gammas, [t.true_factor for t in terms], [t.other_factor for t in terms], class_weight]
        )
    )
    labels = ops.convert_to_tensor(y)
    (total, per_head), gradients = value_and_grad(weighted_losses)(
        weights, ops.convert_to_tensor(x), labels, factors, None
    )
    assert float(total) == pytest.approx(float(ops.sum(per_head)), rel=1e-6)
    for k in range(N_HEADS):
        loss = FocalLoss(gammas[k], terms[k].true_factor, terms[k].other_factor)

        def alone(own, k=k, loss=loss):
            hidden = ops.relu(ops.matmul(x[k], own.hidden) + own.hidden_bias)
            logits = ops.matmul(hidden, own.output) + own.output_bias
            return loss(y[k], logits, sample_weight=class_weight[k][y[k]]), 0

        (value, _), expected = value_and_grad(alone)(HeadWeights(*(part[k] for part in weights)))
        assert float(per_head[k]) == pytest.approx(float(value), rel=RTOL)
        for found, wanted in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(
                ops.convert_to_numpy(found)[k], ops.convert_to_numpy(wanted), rtol=RTOL, atol=1e-6
            )


@pytest.mark.parametrize("epsilon", [ADAM_EPSILON, 1e-3])
def test_adam_is_kerass_adam(epsilon):
    """Twenty steps with a learning rate per head end where Keras's Adam ends."""
    assert keras.optimizers.Adam().epsilon == ADAM_EPSILON
    rates = [1e-2, 1e-4, 3e-1]
    weights = random_weights(0)
    state = initial_state(HeadWeights(*tensors(weights)))
    gradients = [random_weights(seed) for seed in range(1, 21)]
    for gradient in gradients:
        state = adam(
            state,
            HeadWeights(*tensors(gradient)),
            ops.convert_to_tensor(rates, "float32"),
            epsilon=epsilon,
        )
    assert int(state.step) == 20
    for k, rate in enumerate(rates):
        optimizer = keras.optimizers.Adam(rate, epsilon=epsilon)
        variables = [keras.Variable(part[k]) for part in weights]
        for gradient in gradients:
            optimizer.apply(tensors(part[k] for part in gradient), variables)
        for found, variable in zip(state.weights, variables, strict=True):
            np.testing.assert_allclose(
                ops.convert_to_numpy(found)[k],
                ops.convert_to_numpy(variable),
                rtol=RTOL,
                atol=1e-6,
            )
