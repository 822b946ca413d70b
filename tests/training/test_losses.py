import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import ops

from tuner.training.bank.compiled import value_and_grad
from tuner.training.losses import FocalLoss, focal_loss, focal_terms

GAMMAS = [0.0, 0.3, 1.0, 2.0, 5.0]
# float32 logits of 120 are known to 4e-6, and gamma of 5 makes 4e-5 of that in the power.
RTOL = 1e-4
TINY = 1e-30  # below this float32 powers underflow to zero


def minus_log(p, q):
    """-ln p, where q = 1 - p: of the two the smaller one has all its digits."""
    return -np.log(p) if p < q else -np.log1p(-q)


def equation(y_true, logits, *, gamma, alpha, rarer_class=None):
    """The equation of docs/architecture.md in float64, image by image and class by class."""
    losses = []
    for y, z in zip(y_true, np.asarray(logits, dtype=np.float64), strict=True):
        e = np.exp(z - z.max())
        p = e / e.sum()
        q = np.array([np.delete(p, j).sum() for j in range(len(z))])  # 1 - p
        if len(z) == 2:
            a = alpha if y == rarer_class else 1 - alpha
            losses.append(2 * a * q[y] ** gamma * minus_log(p[y], q[y]))
            continue
        loss = alpha * q[y] ** gamma * minus_log(p[y], q[y])
        for j in {*range(len(z))} - {y}:
            loss += (1 - alpha) * p[j] ** gamma * minus_log(q[j], p[j])
        losses.append(loss)
    return np.array(losses)


def slope(function, z, *, step=1e-5):
    """Central differences of a float64 function of (batch, n_classes), summed over the batch."""
    found = np.zeros_like(z)
    for at in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[at] += step
        down[at] -= step
        found[at] = (function(up) - function(down)).sum() / (2 * step)
    return found


def computed(y, logits, *, gamma, alpha, rarer_class=None):
    """Losses by `focal_loss`."""
    terms = focal_terms(alpha, n_classes=np.shape(logits)[-1], rarer_class=rarer_class)
    z = ops.convert_to_tensor(np.asarray(logits, dtype=np.float32))
    true_factor = ops.convert_to_tensor(terms.true_factor)
    return ops.convert_to_numpy(
        focal_loss(
            ops.convert_to_tensor(np.asarray(y), "int32"),
            z,
            gamma=gamma,
            true_factor=true_factor,
            other_factor=terms.other_factor,
        )
    )


def gradient(y, logits, *, gamma, alpha, rarer_class=None, weight=None):
    """Gradient of the sum over images, by the backend."""
    terms = focal_terms(alpha, n_classes=np.shape(logits)[-1], rarer_class=rarer_class)
    loss = FocalLoss(gamma, terms.true_factor, terms.other_factor, reduction="sum")

    def total(z):
        return loss(ops.convert_to_tensor(np.asarray(y)), z, sample_weight=weight), 0

    z = ops.convert_to_tensor(np.asarray(logits, dtype=np.float32))
    return ops.convert_to_numpy(value_and_grad(total)(z)[1])


def some_logits(n_classes, *, scale, n_images=6, seed=0):
    """Labels and float32 logits, each image with its scale."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n_images, n_classes)) * np.reshape(scale, (-1, 1))
    return rng.integers(0, n_classes, n_images), z.astype(np.float32)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("alpha", [0.05, 0.25, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("n_classes", [3, 4, 7])
def test_equation_of_many_classes(n_classes, alpha, gamma):
    """Three classes and more follow the written equation, to relative precision."""
    y, z = some_logits(n_classes, scale=[1, 3, 10, 20, 30, 40])
    expected = equation(y, z, gamma=gamma, alpha=alpha)
    np.testing.assert_allclose(
        computed(y, z, gamma=gamma, alpha=alpha), expected, rtol=RTOL, atol=TINY
    )


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("alpha", [0.05, 0.25, 0.5, 0.95])
@pytest.mark.parametrize("rarer_class", [0, 1])
def test_equation_of_two_classes(rarer_class, alpha, gamma):
    """Two classes follow the written equation, with alpha on the rarer class."""
    y, z = some_logits(2, scale=[1, 3, 10, 20, 30, 40])
    expected = equation(y, z, gamma=gamma, alpha=alpha, rarer_class=rarer_class)
    found = computed(y, z, gamma=gamma, alpha=alpha, rarer_class=rarer_class)
    np.testing.assert_allclose(found, expected, rtol=RTOL, atol=TINY)


@st.composite
def predictions(draw):
    """Labels and logits of three images."""
    n_classes, n_images = draw(st.sampled_from([2, 3, 5])), 3
    # Whole numbers among them, so that classes tie.
    number = st.one_of(st.integers(-60, 60), st.floats(-60, 60, width=32))
    z = draw(arrays(np.float32, (n_images, n_classes), elements=number.map(np.float32)))
    y = draw(arrays(np.int64, n_images, elements=st.integers(0, n_classes - 1)))
    return y, z


@settings(deadline=None, max_examples=30)
@given(
    batch=predictions(),
    gamma=st.floats(0, 5),
    alpha=st.floats(0.05, 0.95),
    rarer=st.integers(0, 1),
)
def test_equation_of_any_prediction(batch, gamma, alpha, rarer):
    """Whatever the logits, ties among them, value and gradient follow the equation."""
    y, z = batch
    setting = {"gamma": gamma, "alpha": alpha, "rarer_class": rarer}
    expected = equation(y, z, **setting)
    np.testing.assert_allclose(computed(y, z, **setting), expected, rtol=RTOL, atol=TINY)
    by_hand = slope(lambda at: equation(y, at, **setting), z.astype(np.float64))
    # Central differences of a value near 100 keep nine digits after the point.
    np.testing.assert_allclose(gradient(y, z, **setting), by_hand, rtol=2e-4, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(batch=predictions(), seed=st.integers(0, 99))
def test_class_order_does_not_matter(batch, seed):
    """Renaming the classes leaves the losses as they are."""
    y, z = batch
    new = np.random.default_rng(seed).permutation(z.shape[1])
    renamed = np.empty_like(z)
    renamed[:, new] = z
    before = computed(y, z, gamma=1.5, alpha=0.4, rarer_class=1)
    after = computed(new[y], renamed, gamma=1.5, alpha=0.4, rarer_class=int(new[1]) % 2)
    np.testing.assert_allclose(before, after, rtol=RTOL, atol=TINY)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("n_classes", [3, 5])
def test_first_term_is_keras_categorical_focal(n_classes, gamma):
    """Without the second term the loss is Keras's CategoricalFocalCrossentropy."""
    y, z = some_logits(n_classes, scale=1)
    keras_loss = keras.losses.CategoricalFocalCrossentropy(alpha=0.3, gamma=gamma, reduction=None)
    expected = keras_loss(np.eye(n_classes)[y], keras.activations.softmax(z).__array__())
    found = focal_loss(
        y, z, gamma=gamma, true_factor=np.full(n_classes, 0.3, np.float32), other_factor=0.0
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32 on both sides


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("n_classes", [3, 5])
def test_both_terms_are_keras_binary_focal(n_classes, alpha, gamma):
    """Both terms are Keras's BinaryFocalCrossentropy over one-hot rows, times the classes."""
    y, z = some_logits(n_classes, scale=1)
    keras_loss = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=alpha, gamma=gamma, reduction=None
    )
    # A plain array: Keras would take the logits behind a softmax tensor for sigmoid logits.
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    expected = n_classes * np.asarray(keras_loss(np.eye(n_classes)[y], p))
    np.testing.assert_allclose(computed(y, z, gamma=gamma, alpha=alpha), expected, rtol=2e-5)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("rarer_class", [0, 1])
def test_two_classes_are_keras_binary_focal(rarer_class, alpha, gamma):
    """Two classes are twice Keras's BinaryFocalCrossentropy of the rarer class."""
    y, z = some_logits(2, scale=1, n_images=8)
    keras_loss = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=alpha, gamma=gamma, reduction=None
    )
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    is_rarer = (y == rarer_class).astype(np.float32)
    expected = 2 * np.asarray(keras_loss(is_rarer[:, None], p[:, rarer_class, None]))
    found = computed(y, z, gamma=gamma, alpha=alpha, rarer_class=rarer_class)
    np.testing.assert_allclose(found, expected, rtol=2e-5)


@pytest.mark.parametrize(("n_classes", "alpha"), [(2, 0.5), (3, 1.0), (9, 1.0)])
def test_corner_is_cross_entropy(n_classes, alpha):
    """Gamma 0 with alpha 1, or 0.5 for two classes, is Keras's cross-entropy."""
    y, z = some_logits(n_classes, scale=20)
    keras_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    found = computed(y, z, gamma=0.0, alpha=alpha, rarer_class=0)
    np.testing.assert_allclose(found, np.asarray(keras_loss(y, z)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("size", [60.0, 120.0])
@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_finite_when_saturated(n_classes, size, gamma):
    """Values and gradients are finite when every logit is at plus or minus 60 or 120."""
    signs = np.array(list(np.ndindex((2,) * n_classes))) * 2.0 - 1
    z = np.repeat(signs * size, n_classes, axis=0)
    y = np.tile(np.arange(n_classes), len(signs))
    setting = {"gamma": gamma, "alpha": 0.25, "rarer_class": 1}
    assert np.isfinite(computed(y, z, **setting)).all()
    assert np.isfinite(gradient(y, z, **setting)).all()


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 5.0])
def test_confidently_wrong_keeps_its_gradient(gamma):
    """However wrong and sure a prediction, each alpha pulls it back at full strength."""
    z = np.array([[-60.0, 60.0, 0.0]])
    found = gradient([0], z, gamma=gamma, alpha=0.25)
    np.testing.assert_allclose(found, [[-0.25, 1.0, -0.75]], atol=1e-5)
    two = gradient([0], [[-60.0, 60.0]], gamma=gamma, alpha=0.25, rarer_class=0)
    np.testing.assert_allclose(two, [[-0.5, 0.5]], atol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_leading_axes_are_heads(n_classes):
    """Stacked heads get, each with its own gamma and factors, the losses they get alone."""
    heads = [some_logits(n_classes, scale=3, seed=seed) for seed in range(4)]
    gammas, alphas = [0.0, 0.5, 2.0, 5.0], [0.1, 0.3, 0.6, 0.9]
    terms = [focal_terms(a, n_classes=n_classes, rarer_class=0) for a in alphas]
    stacked = focal_loss(
        np.stack([y for y, _ in heads]),
        np.stack([z for _, z in heads]),
        gamma=np.array(gammas),
        true_factor=ops.convert_to_tensor(np.stack([t.true_factor for t in terms])),
        other_factor=np.array([t.other_factor for t in terms]),
    )
    assert tuple(stacked.shape) == (4, 6)
    for k, (y, z) in enumerate(heads):
        alone = computed(y, z, gamma=gammas[k], alpha=alphas[k], rarer_class=0)
        np.testing.assert_allclose(stacked[k], alone, rtol=1e-6)


def test_half_precision_logits_are_lifted():
    """The loss is computed in float32 whatever the precision of the logits."""
    loss = focal_loss(
        np.array([0]),
        ops.convert_to_tensor([[8.0, 0.0, -8.0]], "bfloat16"),
        gamma=2.0,
        true_factor=np.full(3, 0.25, np.float32),
        other_factor=0.75,
    )
    assert ops.dtype(loss) == "float32"
    expected = equation([0], [[8.0, 0.0, -8.0]], gamma=2.0, alpha=0.25)
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=RTOL)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_sample_weights_reach_their_own_image(n_classes):
    """A sample's weight scales that sample's gradient and no other's."""
    y, z = some_logits(n_classes, scale=1)
    weight = np.array([0.1, 3.0, 1.0, 0.5, 2.0, 7.0], dtype=np.float32)
    setting = {"gamma": 1.0, "alpha": 0.3, "rarer_class": 0}
    plain = gradient(y, z, **setting)
    found = gradient(y, z, weight=weight, **setting)
    np.testing.assert_allclose(found, plain * weight[:, None], rtol=1e-5, atol=1e-7)
    permuted = gradient(y, z, weight=np.roll(weight, 1), **setting)
    assert np.abs(found - permuted).max() > 0.01


@pytest.mark.parametrize("n_classes", [2, 3])
def test_alpha_is_alive(n_classes):
    """Alpha changes the direction of the gradient, which Adam cannot scale away."""
    y, z = np.array([0, 1]), some_logits(n_classes, scale=1, n_images=2)[1]
    low, high = (
        gradient(y, z, gamma=1.0, alpha=alpha, rarer_class=1).ravel() for alpha in (0.1, 0.9)
    )
    assert low @ high / np.linalg.norm(low) / np.linalg.norm(high) < 0.97


@pytest.mark.parametrize(
    ("alpha", "n_classes", "rarer_class", "message"),
    [
        (-0.1, 3, None, r"alpha must lie in \[0, 1\], got -0.1"),
        (1.1, 3, None, r"alpha must lie in \[0, 1\], got 1.1"),
        (float("nan"), 3, None, r"alpha must lie in \[0, 1\], got nan"),
        (0.0, 2, 0, r"inside \(0, 1\), got 0.0"),
        (1.0, 2, 1, r"inside \(0, 1\), got 1.0"),
        (float("nan"), 2, 1, r"inside \(0, 1\), got nan"),
        (0.5, 2, None, "two classes need rarer_class 0 or 1, got None"),
        (0.5, 2, 2, "two classes need rarer_class 0 or 1, got 2"),
    ],
)
def test_bad_terms_are_refused(alpha, n_classes, rarer_class, message):
    """An alpha out of range or a missing rarer class is refused with its value."""
    with pytest.raises(ValueError, match=message):
        focal_terms(alpha, n_classes=n_classes, rarer_class=rarer_class)


def test_loss_is_rebuilt_from_its_config():
    """A serialised FocalLoss comes back as the same function."""
    y, z = some_logits(3, scale=1)
    terms = focal_terms(0.25, n_classes=3)
    loss = FocalLoss(2.0, terms.true_factor, terms.other_factor, reduction="sum", name="mine")
    config = keras.losses.serialize(loss)
    again = keras.losses.deserialize(config, custom_objects={"FocalLoss": FocalLoss})
    assert again.get_config() == loss.get_config()
    assert float(again(y, z)) == float(loss(y, z))
    assert loss(y, z).shape == ()


def test_loss_of_a_setting_is_that_of_its_terms():
    """Gamma and alpha make the same loss as the factors of both terms, with two classes, too."""
    for n_classes, rarer_class in ((3, None), (2, 1)):
        terms = focal_terms(0.25, n_classes=n_classes, rarer_class=rarer_class)
        loss = FocalLoss.of(gamma=2, alpha=0.25, n_classes=n_classes, rarer_class=rarer_class)
        direct = FocalLoss(2.0, terms.true_factor, terms.other_factor)
        assert loss.get_config() == direct.get_config()


def test_a_model_compiled_with_the_loss_is_read_back(tmp_path):
    """Keras makes the loss of a saved model anew, once it is told of the class."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile("sgd", FocalLoss.of(gamma=2.0, alpha=0.25, n_classes=3))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(
        tmp_path / "model.keras", custom_objects={"FocalLoss": FocalLoss}
    )
    assert again.loss.get_config() == model.loss.get_config()


def test_class_weights_work_in_model_fit():
    """In `Model.fit` class weights enter as the weighted mean of the images' losses."""
    y, X = some_logits(3, scale=1, n_images=40)
    weight = {0: 0.5, 1: 4.0, 2: 1.5}
    terms = focal_terms(0.25, n_classes=3)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, use_bias=False)])
    model.set_weights([np.eye(3)])  # logits are the inputs
    loss = FocalLoss(2.0, terms.true_factor, terms.other_factor)
    model.compile("sgd", loss, jit_compile=False)
    history = model.fit(X, y, batch_size=40, class_weight=weight, verbose=0)
    losses = equation(y, X, gamma=2.0, alpha=0.25)
    expected = np.mean(losses * np.array([weight[k] for k in y]))
    np.testing.assert_allclose(history.history["loss"][0], expected, rtol=1e-5)


def test_heavier_class_is_found_more_often():
    """Ten times the weight raises the recall of a rare class that overlaps another."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [200, 200, 20])
    X = (rng.normal(size=(420, 2)) + np.array([[-3, 0], [0.5, 0], [2, 0]])[y]).astype(np.float32)
    terms = focal_terms(0.25, n_classes=3)
    recall = []
    for weight in (1.0, 10.0):
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(3, kernel_initializer="zeros")]
        )
        loss = FocalLoss(1.0, terms.true_factor, terms.other_factor)
        model.compile(keras.optimizers.Adam(1.0), loss, jit_compile=False)
        model.fit(
            X, y, batch_size=420, epochs=20, class_weight={0: 1.0, 1: 1.0, 2: weight}, verbose=0
        )
        found = model.predict(X, batch_size=420, verbose=0).argmax(axis=1)
        recall.append((found[y == 2] == 2).mean())
    assert recall[1] > recall[0] + 0.2
