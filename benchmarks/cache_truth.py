"""Does a search on cached views choose what training on fresh images would choose?

    python benchmarks/cache_truth.py > benchmarks/results/cache_truth-amd-epyc-x2.json
    python benchmarks/cache_truth_page.py benchmarks/results/cache_truth-amd-epyc-x2.json

Trains the same settings both ways, with common seeds, on one split: heads on the feature bank, and
Keras's `fit` on images with other views of every added row each time (`tuner run --live`). The
bank way is cheap, so it is also trained with more seeds, on a second bank of other views, on
smaller banks (`one_view` of each image again and again; `repeats`: the image itself), and on banks
of several sets of views, one of them in each epoch. With `--ways` that leave `live` out, the
largest bank stands in its place: that is how many epochs are looked at on a CPU. Every finished
training is a line of PLACE/trainings-….jsonl: a second start goes on from there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
from _common import emit, image_files, machine_name, say
from _ground import ground_elsewhere
from scipy.stats import qmc, spearmanr

from tuner.config import StudyConfig, parse_study
from tuner.evaluation.metrics import balanced_loss, class_table, confusion_matrix, log_softmax
from tuner.features.device import find_device
from tuner.features.source import open_features
from tuner.features.views import view_key
from tuner.features.wanted import ViewOf
from tuner.features.weights.resolve import resolve_weights
from tuner.ground import Ground
from tuner.home import Home
from tuner.home.baselines import baselines
from tuner.home.listener import Listener
from tuner.imbalance.weights import CLASS_WEIGHT_MODES
from tuner.setting import Setting
from tuner.training.bank.folds import train_trials
from tuner.training.bank.heads import StackedHeads
from tuner.training.bank.rows import FeatureRows
from tuner.training.bank.schedule import Schedule
from tuner.training.head import FoldHead
from tuner.training.images.loop import train_trial
from tuner.training.inputs import Inputs
from tuner.training.trial import fold_heads

STUDY = """
name: {name}-{image_px}-{epochs}-{view_seed}
data: {{source: {source}, image_px: {image_px}}}
augmentation: {{view_seed: {view_seed}, policy: minority}}
training: {{epochs: {epochs}}}
"""
SETS = {"bank": 1, "two_sets": 2, "four_sets": 4, "ten_sets": 10}  # of views, in turn by epoch
FEWER = {"repeats": 0, "one_view": 1}  # views of each image: all its added rows show the last
WAYS = (*FEWER, *SETS, "second", "live")  # the last is the dear one


class Training(NamedTuple):
    """One training: what is trained, and how."""

    data: str
    setting: int
    seed: int
    way: str  # one of WAYS


def designed(n: int, *, n_classes: int) -> list[Setting]:
    """The baselines, and a Latin hypercube over the space in which every multiplier occurs."""
    found = list(baselines(n_classes=n_classes).values())
    points = qmc.LatinHypercube(4, rng=np.random.default_rng(0)).random(n - len(found))
    for gamma, alpha, multiplier, mode in points:
        found.append(
            Setting(
                round(5 * gamma, 2),
                round(0.05 + 0.95 * alpha, 2),
                int(9 * multiplier),
                CLASS_WEIGHT_MODES[int(4 * mode)],
            )
        )
    return found


class Bench:
    """Images, banks and backbone of the data sets, opened when they are needed."""

    def __init__(self, place: Path, *, image_px: int, epochs: int, precision: str) -> None:
        self.place, self.image_px, self.epochs = place, image_px, epochs
        self.precision, self.home = precision, Home.find(place / "home")
        self.inputs = cache(self._inputs)
        self.sets = cache(self._sets)
        self._source = cache(self._find_source)

    def _find_source(self, data: str) -> str:
        if data == "digits":
            return data
        found, _ = image_files(data, into=self.place)
        return str(self.place / data / data) if found == data else found

    def config(self, data: str, *, view_seed: int = 0) -> StudyConfig:
        """The study of a data set."""
        text = STUDY.format(
            name=data,
            source=self._source(data),
            image_px=self.image_px,
            epochs=self.epochs,
            view_seed=view_seed,
        )
        return parse_study(text, source="benchmark")

    def _inputs(self, data: str, view_seed: int) -> Inputs:
        """Features of all views, and the images behind them."""
        config = self.config(data, view_seed=view_seed)
        weights, device = resolve_weights("imagenet"), find_device()
        source = open_features(config, self.home, weights=weights, device=device)
        ground = ground_elsewhere(source, self.home, self.home)
        ground.extract(Listener())
        inputs = ground.inputs(Listener())
        live = on_images(ground, precision=self.precision).inputs(Listener())
        return replace(inputs, live=live.live)

    def _sets(self, data: str, n: int) -> list[Any]:
        """The rows of the bank n times: each time with other views of the added ones."""
        config, inputs = self.config(data), self.inputs(data, 0)
        live = inputs.live_images
        source = open_features(
            config, self.home, weights=resolve_weights("imagenet"), device=find_device()
        )
        found = []
        for i in range(n):
            views = np.where(live.row_view > 0, live.row_view + i * live.row_view.max(), 0)
            wanted = [
                ViewOf(live.files[image].path, live.files[image].sha256, int(view))
                for image, view in zip(live.row_place, views, strict=True)
            ]
            source.fill(wanted)
            keys = [view_key(v.sha256, v.view, augmentation=config.augmentation) for v in wanted]
            found.append(keras.ops.convert_to_tensor(source.bank.read(keys)))
        return found

    def fewer(self, inputs: Inputs, n_views: int) -> Any:
        """The rows of the bank, with the n-th view of an image in the place of all later ones."""
        live = inputs.live_images
        rows = inputs.row_of[live.row_place, np.minimum(live.row_view, n_views)]
        return keras.ops.convert_to_tensor(inputs.features(rows))

    def train(self, what: Training, params: Setting) -> dict[str, Any]:
        """Macro and class recall on the validation fold, balanced loss, and seconds."""
        view_seed = 1 if what.way == "second" else 0
        inputs = self.inputs(what.data, view_seed)
        config = self.config(what.data, view_seed=view_seed).model_copy(
            update={"seed": what.seed}
        )  # of weights, rows and dropout; the split stays
        fold = fold_heads(params, inputs, config=config)[0]
        common: dict[str, Any] = {
            "labels": inputs.labels,
            "n_classes": inputs.n_classes,
            "steps": inputs.steps,
            "training": config.training,
        }
        start = time.perf_counter()
        if what.way == "live":
            result = train_trial(
                [fold], inputs.live_images, inputs.y, on_epoch=lambda _: False, **common
            )
            log_prob = result.log_prob[fold.validation_places]
        elif what.way in FEWER:
            log_prob = train_on(fold, [self.fewer(inputs, FEWER[what.way])], inputs, config)
        elif (n := SETS.get(what.way, 1)) > 1:
            log_prob = train_on(fold, self.sets(what.data, n), inputs, config)
        else:
            (result,) = train_trials(
                [[fold]], inputs.X, inputs.y, on_epoch=lambda *_: False, **common
            )
            log_prob = result.log_prob[fold.validation_places]
        seconds = time.perf_counter() - start
        y_true = inputs.labels[fold.validation_places]
        recall = class_table(
            confusion_matrix(y_true, log_prob.argmax(axis=1), n_classes=inputs.n_classes)
        ).recall
        return {
            "macro_recall": float(recall.mean()),
            "recall": recall.tolist(),
            "balanced_loss": balanced_loss(log_prob, y_true),
            "seconds": seconds,
        }


def on_images(ground: Ground, *, precision: str) -> Ground:
    """The same study trained on images, whose backbone computes in some precision."""
    config, source = ground.config, ground.source
    training = config.training.model_copy(update={"mode": "live"})
    backbone = config.backbone.model_copy(update={"precision": precision})
    live = config.model_copy(update={"training": training, "backbone": backbone})
    return replace(ground, config=live, source=replace(source, config=live))


class TurningHeads(StackedHeads):
    """Heads whose features may be others in each epoch."""

    def turn(self, X: Any, y: Any) -> None:
        """Train on these from now on."""
        self._rows = FeatureRows(X, y)


def train_on(fold: FoldHead, sets: list[Any], inputs: Inputs, config: StudyConfig) -> np.ndarray:
    """What `train_trials` does of one fold, on sets of views that epochs take in turn."""
    y = keras.ops.convert_to_tensor(inputs.y, "int32")
    heads = TurningHeads(
        [fold.head],
        sets[0],
        y,
        n_classes=inputs.n_classes,
        steps=inputs.steps,
        training=config.training,
    )
    schedule, best = Schedule(config.training), np.zeros(())
    for epoch in range(config.training.epochs):
        heads.turn(sets[epoch % len(sets)], y)
        heads.train_epoch(np.array([schedule.learning_rate]))
        (logits,) = heads.logits([fold.validation_rows])
        log_prob = log_softmax(logits)
        if schedule.update(epoch, balanced_loss(log_prob, inputs.labels[fold.validation_places])):
            best = log_prob
        if schedule.is_stopped:
            break
    return best


def trainings(options: argparse.Namespace) -> Iterator[Training]:
    """Everything to train, way by way."""
    for way in options.ways:
        seeds = options.noise_seeds if way == "bank" else options.seeds
        for seed, name, setting in itertools.product(
            range(seeds), options.data, range(options.settings)
        ):
            yield Training(name, setting, seed, way)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--place", type=Path, default=Path("build/cache_truth"))
    parser.add_argument("--data", nargs="+", default=["digits", "demo_steel"])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--settings", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--noise-seeds", type=int, default=8, help="of the bank way")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--image-px", type=int, default=64)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    options = parser.parse_args()
    options.place.mkdir(parents=True, exist_ok=True)
    bench = Bench(
        options.place.resolve(),
        image_px=options.image_px,
        epochs=options.epochs,
        precision=options.precision,
    )
    recipe = f"{options.image_px}px-{options.epochs}epochs-{options.precision}"
    kept = options.place / f"trainings-{recipe}.jsonl"
    lines = kept.read_text().splitlines() if kept.exists() else []
    done = {Training(**line.pop("what")): line for line in map(json.loads, lines)}
    with kept.open("a") as stream:
        for what in trainings(options):
            if what in done:
                continue
            n_classes = bench.inputs(what.data, 0).n_classes
            params = designed(options.settings, n_classes=n_classes)[what.setting]
            done[what] = bench.train(what, params) | {"params": params.as_dict()}
            stream.write(json.dumps({"what": what._asdict(), **done[what]}) + "\n")
            stream.flush()
            found = done[what]
            say(f"{what}  {params}  {found['macro_recall']:.3f}  {found['seconds']:.1f} s")
            if what.way == "live":  # each has a model of its own
                keras.utils.clear_session(free_memory=False)
    table = pd.DataFrame([{**what._asdict(), **found} for what, found in done.items()])
    for name in options.data:
        compare(name, table[table["data"] == name], options)


def compare(name: str, table: pd.DataFrame, options: argparse.Namespace) -> None:
    """Print a line for each setting, one for each way against fresh views, and one for noise."""
    n, judge = options.seeds, reference(options.ways)
    params = table.drop_duplicates("setting").sort_values("setting")["params"].to_list()
    mean = {way: by_setting(table, way)[:, :n].mean(axis=1) for way in options.ways}
    loss = {
        way: by_setting(table, way, "balanced_loss")[:, :n].mean(axis=1) for way in options.ways
    }
    for s, setting in enumerate(params):
        emit(
            "cache_truth_setting",
            data=name,
            epochs=options.epochs,
            params=setting,
            **{way: float(found[s]) for way, found in mean.items()},
            seeds={
                way: by_setting(table, way)[s, :n].round(4).tolist() for way in ("bank", judge)
            },
        )
    bank = by_setting(table, "bank")
    # The bank with seeds that the others do not have: what chance alone does.
    mean["bank, other seeds"] = bank[:, n : 2 * n].mean(axis=1)
    loss["bank, other seeds"] = by_setting(table, "bank", "balanced_loss")[:, n : 2 * n].mean(
        axis=1
    )
    has_views = np.array([p["augmentation_multiplier"] > 0 for p in params])
    for way in [way for way in mean if way != judge]:
        difference, best = mean[judge] - mean[way], int(mean[way].argmax())
        viewed = difference[has_views]  # where no view is added both ways are one
        emit(
            "cache_truth_way",
            data=name,
            epochs=options.epochs,
            way=way,
            against=judge,
            difference_mean=float(viewed.mean()),
            difference_standard_error=float(viewed.std(ddof=1) / np.sqrt(len(viewed))),
            difference_spread=float(viewed.std(ddof=1)),
            difference_without_views=float(np.abs(difference[~has_views]).max()),
            loss_difference_mean=float((loss[judge] - loss[way])[has_views].mean()),
            rank_correlation=float(spearmanr(mean[way], mean[judge]).statistic),
            same_winner=best == int(mean[judge].argmax()),
            lost_by_choosing_here=float(mean[judge].max() - mean[judge][best]),
        )
    emit(
        "cache_truth",
        machine=machine_name(),
        backend=keras.backend.backend(),
        data=name,
        image_px=options.image_px,
        epochs=options.epochs,
        settings=len(params),
        seeds=n,
        # Of the mean of n seeds, from the seeds of each setting about their own mean.
        seed_noise=float(np.sqrt(bank.var(axis=1, ddof=1).mean() / n)),
        spread_of_settings=float(mean[judge].std(ddof=1)),
        winner=winner_elsewhere(params, mean, views=0),
        winner_with_views=winner_elsewhere(params, mean, views=1),
        seconds_bank=float(table[table["way"] == "bank"]["seconds"].median()),
        seconds_against=float(table[table["way"] == judge]["seconds"].median()),
    )


def winner_elsewhere(
    params: list[dict[str, Any]], mean: dict[str, np.ndarray], *, views: int
) -> dict[str, Any]:
    """The bank's best setting with at least so many views, and its macro recall everywhere."""
    allowed = [s for s, p in enumerate(params) if p["augmentation_multiplier"] >= views]
    best = max(allowed, key=lambda s: mean["bank"][s])
    return params[best] | {way: float(f"{found[best]:.4g}") for way, found in mean.items()}


def reference(ways: list[str]) -> str:
    """What stands for training on fresh views."""
    return "live" if "live" in ways else "ten_sets"


def by_setting(table: pd.DataFrame, way: str, column: str = "macro_recall") -> np.ndarray:
    """Macro recall, or another column, (n_settings, n_seeds)."""
    chosen = table[table["way"] == way]
    return chosen.pivot(index="setting", columns="seed", values=column).to_numpy()


if __name__ == "__main__":
    main()
