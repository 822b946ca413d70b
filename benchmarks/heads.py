"""Milliseconds of one step of one head: trained together, by `Model.fit`, and at the floor.

python benchmarks/heads.py [--heads 1 2 3 4 8 16] [--repeats 5] [--steps 40]

All take the same rows, 2,048 features each, through 512 units with dropout 0.3 and Adam. The floor
is what a step cannot do without: its matrix products, and one pass that reads weights, gradients
and both moments of Adam and writes all but the gradients. KERAS_BACKEND=jax needs no TensorFlow.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from _common import alternate, emit, machine_name, median_ratio, say
from keras import ops

from tuner.config import TrainingConfig
from tuner.evaluation.metrics import balanced_loss, log_softmax
from tuner.features.device import find_device
from tuner.training.bank.compiled import compile_xla
from tuner.training.bank.heads import StackedHeads
from tuner.training.head import Head, RowOrder
from tuner.training.losses import FocalLoss, focal_terms

N_ROWS, N_FEATURES, N_CLASSES, EPOCHS = 3000, 2048, 7, 4
N_VALIDATION = N_ROWS // 3
TRAINING = TrainingConfig()
TERMS = focal_terms(0.25, n_classes=N_CLASSES)
WEIGHT = np.linspace(0.5, 2.0, N_CLASSES)
TRAIN_ROWS, VALIDATION_ROWS = np.split(np.arange(N_ROWS), [N_ROWS - N_VALIDATION])


def make_stack(n_heads: int, X: Any, y: Any, *, steps: int) -> StackedHeads:
    heads = [Head(TRAIN_ROWS, 2.0, TERMS, WEIGHT, (0, k)) for k in range(n_heads)]
    return StackedHeads(heads, X, y, n_classes=N_CLASSES, steps=steps, training=TRAINING)


def train(stack: StackedHeads) -> None:
    for _ in range(EPOCHS):
        stack.train_epoch(np.full(len(stack.alive), TRAINING.learning_rate))


def train_and_evaluate(stack: StackedHeads, y: Any) -> None:
    for _ in range(EPOCHS):
        stack.train_epoch(np.full(len(stack.alive), TRAINING.learning_rate))
        for logits in stack.logits([VALIDATION_ROWS] * len(stack.alive)):
            balanced_loss(log_softmax(logits), y[VALIDATION_ROWS])


def keras_fit(X: Any, y: Any, *, steps: int) -> Callable[[], object]:
    """The same recipe, for one head, by `Model.fit`."""
    model = keras.Sequential(
        [
            keras.Input((N_FEATURES,)),
            keras.layers.Dense(TRAINING.hidden_units, activation="relu"),
            keras.layers.Dropout(TRAINING.dropout),
            keras.layers.Dense(N_CLASSES),
        ]
    )
    loss = FocalLoss(2.0, TERMS.true_factor, TERMS.other_factor)
    model.compile(keras.optimizers.Adam(TRAINING.learning_rate), loss)
    rows = RowOrder(TRAIN_ROWS, (0, 0)).take(steps * TRAINING.batch_size)
    data = {"x": X[rows], "y": y[rows], "sample_weight": WEIGHT[y[rows]]}
    return lambda: model.fit(
        **data, batch_size=TRAINING.batch_size, epochs=EPOCHS, shuffle=False, verbose=0
    )


def floor(X: Any, n_heads: int, *, steps: int) -> Callable[[], object]:
    """The products of as many steps, then as many passes over the arrays that Adam updates."""
    rng = np.random.default_rng(0)
    shapes = [(N_FEATURES, TRAINING.hidden_units), (TRAINING.hidden_units, N_CLASSES)]
    drawn = [rng.normal(size=(n_heads, *shape)).astype(np.float32) / 99 for shape in shapes]
    hidden, output = (ops.convert_to_tensor(part) for part in drawn)
    rows = rng.integers(0, N_ROWS, (steps * EPOCHS, n_heads, TRAINING.batch_size))
    rows = ops.convert_to_tensor(rows, "int32")

    def products(X: Any, rows: Any, hidden: Any, output: Any) -> Any:
        def one_step(i: Any, _: Any) -> Any:
            x = ops.take(X, ops.take(rows, i, axis=0), axis=0)
            units = ops.matmul(x, hidden)
            logits = ops.matmul(units, output)
            back = ops.matmul(logits, ops.swapaxes(output, 1, 2))
            by_output = ops.matmul(ops.swapaxes(units, 1, 2), logits)
            return ops.matmul(ops.swapaxes(x, 1, 2), back), by_output

        return ops.fori_loop(0, steps * EPOCHS, one_step, (hidden, output))

    def passes(held: Any, gradient: Any) -> Any:
        return ops.fori_loop(0, steps * EPOCHS, lambda _, held: held + gradient, held)

    # Weights and both moments in one array, row beside row: XLA makes one loop of it.
    held = ops.repeat(ops.expand_dims(hidden, 2), 3, axis=2)
    gradient = ops.expand_dims(hidden, 2)
    compiled_products, compiled_passes = compile_xla(products), compile_xla(passes)

    def run() -> None:
        ops.convert_to_numpy(compiled_products(X, rows, hidden, output)[1])
        ops.convert_to_numpy(compiled_passes(held, gradient)[0, 0, 0, 0])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=int, nargs="+", help="default: to 16, on a GPU to 512")
    parser.add_argument("--steps", type=int, default=40, help="of an epoch")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    device, steps = find_device(), options.steps
    is_gpu = device.kind == "gpu"
    counts = options.heads or [1, 2, 3, 4, 8, 16] + [32, 64, 128, 256, 512] * is_gpu
    rng = np.random.default_rng(0)
    features = rng.gamma(0.5, 1.0, (N_ROWS, N_FEATURES)).astype(np.float32)
    labels = rng.integers(0, N_CLASSES, N_ROWS)
    X, y = ops.convert_to_tensor(features), ops.convert_to_tensor(labels, "int32")
    fit = keras_fit(features, labels, steps=steps)
    say(f"{steps} steps an epoch on {device}")
    for n_heads in counts:
        stack = make_stack(n_heads, X, y, steps=steps)
        start = time.perf_counter()
        train_and_evaluate(stack, labels)
        first_s = time.perf_counter() - start
        stacked = n_heads if is_gpu else 1  # heads in one compiled call
        contestants = {
            "fit": fit,
            "heads": lambda stack=stack: train(stack),
            "heads and evaluation": lambda stack=stack: train_and_evaluate(stack, labels),
            "floor": floor(X, stacked, steps=steps),
        }
        seconds = alternate(contestants, repeats=options.repeats)
        per_head = {name: [s / n_heads for s in taken] for name, taken in seconds.items()}
        per_head |= {"fit": seconds["fit"], "floor": [s / stacked for s in seconds["floor"]]}
        n_steps = steps * EPOCHS
        ms = {name: 1000 * statistics.median(taken) for name, taken in per_head.items()}
        evaluated_s = statistics.median(seconds["heads and evaluation"])
        emit(
            "heads",
            machine=machine_name(gpu=device.name if is_gpu else ""),
            backend=device.backend,
            heads=n_heads,
            ms_per_head_step=ms["heads"] / n_steps,
            fit_ms_per_step=ms["fit"] / n_steps,
            floor_ms_per_head_step=ms["floor"] / n_steps,
            ratio_to_fit=median_ratio(per_head["fit"], per_head["heads"]),
            ratio_to_floor=median_ratio(per_head["floor"], per_head["heads"]),
            steps=steps,
            ms_per_head_epoch_with_evaluation=ms["heads and evaluation"] / EPOCHS,
            compile_s=max(0.0, first_s - evaluated_s),
        )


if __name__ == "__main__":
    main()
