"""One search as a user would write it: Keras on images, driven by Optuna or by KerasTuner.

python benchmarks/peer_search.py optuna|keras_tuner JOB.json RESULT.json   (called by peers.py)

Of `tuner` it takes only what makes the recipe the same: the focal loss, the class weights and how
many rows a class gets. Images are decoded once into memory, the added rows go through Keras's
affine layers, the backbone is frozen, and MLflow is written to as the epochs end. It runs in an
environment without the rest of `tuner`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import tensorflow as tf
from keras import layers

from tuner.imbalance.rows import training_rows, view_order
from tuner.imbalance.weights import class_weights
from tuner.training.losses import FocalLoss, focal_terms

BATCH, MODES = 32, ["none", "sqrt", "balanced", "effective_number"]


class EachEpoch(keras.callbacks.Callback):
    """Writes the epoch to MLflow and notes when it ended."""

    def __init__(self, fold: int) -> None:
        super().__init__()
        self.fold, self.ended = fold, []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """One call to MLflow an epoch, as its own autologging would make it."""
        metrics = {f"fold{self.fold}/{name}": float(v) for name, v in (logs or {}).items()}
        mlflow.log_metrics(metrics, step=epoch)
        self.ended.append(time.perf_counter())


class Problem:
    """Images in memory, the frozen backbone, and macro recall of a setting."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job, self.px = job, job["image_px"]
        size = (self.px, self.px)
        self.images = np.stack(
            [
                keras.utils.img_to_array(
                    keras.utils.load_img(path, target_size=size, interpolation="bilinear"),
                    dtype="uint8",
                )
                for path in job["paths"]
            ]
        )
        self.labels, self.fold = np.array(job["labels"]), np.array(job["fold"])
        self.n_classes = len(job["class_names"])
        self.rank = view_order(job["sha256"], view_seed=0)
        self.backbone = keras.applications.ResNet50(
            include_top=False, weights=job["weights"], input_shape=(*size, 3), pooling="avg"
        )
        self.backbone.trainable = False
        # Rotation by 20 degrees, shifts and zoom by a fifth, flips.
        self.augment = keras.Sequential(
            [
                layers.RandomFlip("horizontal"),
                layers.RandomRotation(20 / 360, fill_mode="nearest"),
                layers.RandomTranslation(0.2, 0.2, fill_mode="nearest"),
                layers.RandomZoom((-0.2, 0.2), (-0.2, 0.2), fill_mode="nearest"),
            ]
        )
        largest = max(int((self.fold != k).sum()) for k in range(self.fold.max() + 1))
        self.steps = -(-largest // BATCH)
        self.trials: list[dict[str, Any]] = []

    def model(self, params: dict[str, Any]) -> Any:
        """Compiled, with a monitor that knows neither gamma nor weights."""
        inputs = keras.Input((self.px, self.px, 3))
        x = keras.applications.resnet50.preprocess_input(inputs)
        x = self.backbone(x, training=False)
        x = layers.Dense(512, activation="relu")(x)
        model = keras.Model(inputs, layers.Dense(self.n_classes)(layers.Dropout(0.3)(x)))
        terms = focal_terms(params["alpha"], n_classes=self.n_classes)
        balanced = keras.metrics.SparseCategoricalCrossentropy("balanced_loss", from_logits=True)
        model.compile(
            keras.optimizers.Adam(1e-4),
            FocalLoss(params["gamma"], terms.true_factor, terms.other_factor),
            weighted_metrics=[balanced],
        )
        return model

    def training_data(self, images: Any, params: dict[str, Any]) -> Any:
        """Endless full batches of pixels, classes and weights; added rows are augmented."""
        rows = training_rows(
            self.labels[images],
            self.rank[images],
            n_classes=self.n_classes,
            multiplier=params["augmentation_multiplier"],
            policy="minority",
        )
        chosen, is_added = images[rows.images], rows.views > 0
        counts = np.bincount(self.labels[chosen], minlength=self.n_classes)
        weight = class_weights(counts, params["class_weight_mode"], beta=0.999)
        y = self.labels[chosen]
        data = tf.data.Dataset.from_tensor_slices((chosen, is_added, y, weight[y]))
        data = data.shuffle(len(chosen), seed=0).repeat().batch(BATCH)
        pixels = tf.constant(self.images)

        def load(row: Any, is_added: Any, y: Any, weight: Any) -> Any:
            x = tf.cast(tf.gather(pixels, row), "float32")
            if params["augmentation_multiplier"]:
                x = tf.where(is_added[:, None, None, None], self.augment(x, training=True), x)
            return x, y, weight

        return data.map(load, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def train_fold(self, k: int, params: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Predicted classes of the held-out images, and how long the epochs took."""
        start = time.perf_counter()
        images, held_out = np.flatnonzero(self.fold != k), np.flatnonzero(self.fold == k)
        X, y = self.images[held_out].astype("float32"), self.labels[held_out]
        each_class = (1 / np.bincount(y, minlength=self.n_classes))[y]  # all classes alike
        monitor: dict[str, Any] = {"monitor": "val_balanced_loss", "mode": "min"}
        each_epoch = EachEpoch(k)
        model = self.model(params)
        model.fit(
            self.training_data(images, params),
            steps_per_epoch=self.steps,
            epochs=self.job["epochs"],
            validation_data=(X, y, each_class),
            callbacks=[
                keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True, **monitor),
                keras.callbacks.ReduceLROnPlateau(
                    factor=0.2, patience=3, min_delta=0, min_lr=1e-6, **monitor
                ),
                each_epoch,
            ],
            verbose=0,
        )
        predicted = model.predict(X, verbose=0).argmax(axis=1)
        ended = [start, *each_epoch.ended]
        epochs = [b - a for a, b in pairwise(ended)]
        return predicted, {"seconds": time.perf_counter() - start, "epochs": epochs}

    def macro_recall(self, params: dict[str, Any]) -> float:
        """Train the folds of one setting and log it, from the first epoch to the matrix."""
        start = time.perf_counter()
        with mlflow.start_run():
            mlflow.log_params(params)
            predicted, folds = np.zeros_like(self.labels), []
            for k in range(self.fold.max() + 1):
                predicted[self.fold == k], times = self.train_fold(k, params)
                folds.append(times)
            matrix = np.zeros((self.n_classes, self.n_classes), int)
            np.add.at(matrix, (self.labels, predicted), 1)
            recall = matrix.diagonal() / matrix.sum(axis=1)
            names = self.job["class_names"]
            mlflow.log_metrics({f"recall_{n}": r for n, r in zip(names, recall, strict=True)})
            mlflow.log_metric("macro_recall", float(recall.mean()))
            mlflow.log_dict({"classes": names, "matrix": matrix.tolist()}, "confusion_matrix.json")
        seconds = time.perf_counter() - start
        self.trials.append({"seconds": seconds, "folds": folds, "value": float(recall.mean())})
        return float(recall.mean())


def by_optuna(problem: Problem) -> None:
    """The settings of the job are asked first, so that both peers and `tuner` train the same."""
    import optuna

    def objective(trial: Any) -> float:
        return problem.macro_recall(
            {
                "gamma": trial.suggest_float("gamma", 0, 5),
                "alpha": trial.suggest_float("alpha", 0.05, 1),
                "augmentation_multiplier": trial.suggest_int("augmentation_multiplier", 0, 8),
                "class_weight_mode": trial.suggest_categorical("class_weight_mode", MODES),
            }
        )

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    for params in problem.job["settings"]:
        study.enqueue_trial(params)
    study.optimize(objective, n_trials=len(problem.job["settings"]))


def by_keras_tuner(problem: Problem) -> None:
    """`BayesianOptimization` over the same space; the settings of the job come first."""
    import keras_tuner as kt

    settings = problem.job["settings"]

    class Oracle(kt.oracles.BayesianOptimizationOracle):
        def populate_space(self, trial_id: str) -> dict[str, Any]:
            if int(trial_id) < len(settings):
                return {"status": "RUNNING", "values": dict(settings[int(trial_id)])}
            return super().populate_space(trial_id)

    class Search(kt.Tuner):
        def run_trial(self, trial: Any, *args: Any, **options: Any) -> dict[str, float]:
            hp = trial.hyperparameters
            params = {
                "gamma": hp.Float("gamma", 0.0, 5.0),
                "alpha": hp.Float("alpha", 0.05, 1.0),
                "augmentation_multiplier": hp.Int("augmentation_multiplier", 0, 8),
                "class_weight_mode": hp.Choice("class_weight_mode", MODES),
            }
            return {"macro_recall": problem.macro_recall(params)}

    objective = kt.Objective("macro_recall", "max")
    oracle = Oracle(objective=objective, max_trials=len(settings), seed=0)
    Search(oracle=oracle, directory=problem.job["place"], project_name="kt").search(verbose=0)


SEARCHES: dict[str, Callable[[Problem], None]] = {
    "optuna": by_optuna,
    "keras_tuner": by_keras_tuner,
}


def main() -> None:
    start = time.perf_counter()
    contestant, job_file, result_file = sys.argv[1:]
    job = json.loads(Path(job_file).read_text())
    mlflow.set_tracking_uri(f"sqlite:///{job['place']}/mlflow.db")
    mlflow.create_experiment("peer", artifact_location=f"{job['place']}/artifacts")
    mlflow.set_experiment("peer")
    problem = Problem(job)
    ready_s = time.perf_counter() - start
    SEARCHES[contestant](problem)
    Path(result_file).write_text(json.dumps({"ready_s": ready_s, "trials": problem.trials}))


if __name__ == "__main__":
    main()
