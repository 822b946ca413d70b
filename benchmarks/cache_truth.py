"""Does a search on cached views choose what training on fresh images would choose?

    python benchmarks/cache_truth.py --place build/cache_truth --plot docs/images/cache-truth.png

Trains the same settings both ways, with common seeds, on one split: heads on the feature bank, and
Keras's `fit` on images with other views of every added row each time (`tuner run --live`). The
bank way is cheap, so it is also trained with more seeds, on a second bank of other views, on
smaller banks (`one_view` of each image again and again; `repeats`: the image itself), and on banks
of several sets of views that epochs take in turn (`many_sets`: another in each epoch). Every
finished training is a line of PLACE/trainings-….jsonl: a second start goes on from there.
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
from scipy.stats import qmc, spearmanr

from tuner.config import StudyConfig, parse_study
from tuner.evaluation.metrics import balanced_loss, class_table, confusion_matrix, log_softmax
from tuner.features.backbone import build_backbone
from tuner.features.device import find_device
from tuner.features.extract import ViewOf
from tuner.features.source import open_features
from tuner.features.views import view_key
from tuner.features.weights_source import resolve_weights
from tuner.home import Home
from tuner.imbalance.weights import CLASS_WEIGHT_MODES
from tuner.search.baselines import baselines
from tuner.search.inputs import LiveSource, SearchInputs, load_inputs, rows_to_extract
from tuner.search.objective import prepare
from tuner.search.session import open_study, read_images
from tuner.search.space import Params
from tuner.training.batches import LiveImages
from tuner.training.folds import Fold, train_trials
from tuner.training.heads import StackedHeads
from tuner.training.loop import train_trial
from tuner.training.rows import FeatureRows
from tuner.training.schedule import Schedule

STUDY = """
name: {name}-{image_px}-{epochs}-{view_seed}
data: {{source: {source}, image_px: {image_px}}}
augmentation: {{view_seed: {view_seed}}}
training: {{epochs: {epochs}}}
"""
NOISE_SEEDS = 8  # of the bank way, for the noise that differences are held against
SETS = {"bank": 1, "two_sets": 2, "four_sets": 4, "many_sets": 0}  # of views, in turn by epoch
FEWER = {"repeats": 0, "one_view": 1}  # views of each image: all its added rows show the last
WAYS = (*FEWER, *SETS, "second", "live")  # the last is the dear one


class Training(NamedTuple):
    """One training: what is trained, and how."""

    data: str
    setting: int
    seed: int
    way: str  # one of WAYS


def designed(n: int, *, n_classes: int) -> list[Params]:
    """The baselines, and a Latin hypercube over the space in which every multiplier occurs."""
    found = list(baselines(n_classes=n_classes).values())
    points = qmc.LatinHypercube(4, rng=np.random.default_rng(0)).random(n - len(found))
    for gamma, alpha, multiplier, mode in points:
        found.append(
            Params(
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

    def _inputs(self, data: str, view_seed: int) -> SearchInputs:
        """Features of all views, and the images behind them."""
        config = self.config(data, view_seed=view_seed)
        weights, device = resolve_weights("imagenet"), find_device()
        source = open_features(config, self.home, weights=weights, device=device)
        index = read_images(config, self.home)
        opened = open_study(config, index, self.home)
        images, names = opened.folder.images, index.class_names
        source.fill(rows_to_extract(config, images, index.root, n_classes=len(names)))
        inputs = load_inputs(config, images, source.bank, class_names=names)
        live = load_inputs(
            config,
            images,
            source.bank,
            class_names=names,
            live=LiveSource(index.root, build_backbone(weights, precision=self.precision)),
        )
        return replace(inputs, live=live.live)

    def _sets(self, data: str, n: int) -> list[Any]:
        """The rows of the bank n times: each time with other views of the added ones."""
        config, inputs = self.config(data), self.inputs(data, 0)
        live: LiveImages = inputs.live  # type: ignore[assignment]
        source = open_features(
            config, self.home, weights=resolve_weights("imagenet"), device=find_device()
        )
        found = []
        for i in range(n):
            views = np.where(live.row_view > 0, live.row_view + i * live.row_view.max(), 0)
            wanted = [
                ViewOf(live.files[image].path, live.files[image].sha256, int(view))
                for image, view in zip(live.row_image, views, strict=True)
            ]
            source.fill(wanted)
            keys = [view_key(v.sha256, v.view, augmentation=config.augmentation) for v in wanted]
            found.append(keras.ops.convert_to_tensor(source.bank.read(keys)))
        return found

    def fewer(self, inputs: SearchInputs, n_views: int) -> Any:
        """The rows of the bank, with the n-th view of an image in the place of all later ones."""
        live: LiveImages = inputs.live  # type: ignore[assignment]
        rows = inputs.row_of[live.row_image, np.minimum(live.row_view, n_views)]
        return keras.ops.convert_to_tensor(inputs.features(rows))

    def train(self, what: Training, params: Params) -> dict[str, Any]:
        """Macro and class recall on the validation fold, balanced loss, and seconds."""
        view_seed = 1 if what.way == "second" else 0
        inputs = self.inputs(what.data, view_seed)
        config = self.config(what.data, view_seed=view_seed).model_copy(
            update={"seed": what.seed}
        )  # of weights, rows and dropout; the split stays
        fold = prepare(params, inputs, config=config).folds[0]
        common: dict[str, Any] = {
            "y_images": inputs.labels,
            "n_classes": inputs.n_classes,
            "steps": inputs.steps,
            "training": config.training,
        }
        start = time.perf_counter()
        if what.way == "live":
            live: LiveImages = inputs.live  # type: ignore[assignment]
            result = train_trial([fold], live, inputs.y, on_epoch=lambda _: False, **common)
            log_prob = result.log_prob[fold.validation_images]
        elif what.way in FEWER:
            log_prob = train_on(fold, [self.fewer(inputs, FEWER[what.way])], inputs, config)
        elif (n := SETS.get(what.way, 1) or self.epochs) > 1:
            log_prob = train_on(fold, self.sets(what.data, n), inputs, config)
        else:
            (result,) = train_trials(
                [[fold]], inputs.X, inputs.y, on_epoch=lambda *_: False, **common
            )
            log_prob = result.log_prob[fold.validation_images]
        seconds = time.perf_counter() - start
        y_true = inputs.labels[fold.validation_images]
        recall = class_table(
            confusion_matrix(y_true, log_prob.argmax(axis=1), n_classes=inputs.n_classes)
        ).recall
        return {
            "macro_recall": float(recall.mean()),
            "recall": recall.tolist(),
            "balanced_loss": balanced_loss(log_prob, y_true),
            "seconds": seconds,
        }


class TurningHeads(StackedHeads):
    """Heads whose features may be others in each epoch."""

    def turn(self, X: Any, y: Any) -> None:
        """Train on these from now on."""
        self._rows = FeatureRows(X, y)


def train_on(fold: Fold, sets: list[Any], inputs: SearchInputs, config: StudyConfig) -> np.ndarray:
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
        if schedule.update(epoch, balanced_loss(log_prob, inputs.labels[fold.validation_images])):
            best = log_prob
        if schedule.is_stopped:
            break
    return best


def trainings(
    data: list[str], ways: list[str], *, n_settings: int, n_seeds: int
) -> Iterator[Training]:
    """Everything to train, the cheap ways first."""
    for way in ways:
        seeds = NOISE_SEEDS if way == "bank" else n_seeds
        for seed, name, setting in itertools.product(range(seeds), data, range(n_settings)):
            yield Training(name, setting, seed, way)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--place", type=Path, default=Path("build/cache_truth"))
    parser.add_argument("--data", nargs="+", default=["digits", "demo_steel"])
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--settings", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--image-px", type=int, default=64)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--plot", type=Path)
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
        for what in trainings(
            options.data, options.ways, n_settings=options.settings, n_seeds=options.seeds
        ):
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
    if options.plot:
        plot(table, options.data, options.plot)


def compare(name: str, table: pd.DataFrame, options: argparse.Namespace) -> None:
    """Print a line for each setting and one for all."""
    n = options.seeds
    values = {way: by_setting(table, way) for way in WAYS}
    mean = {way: found[:, :n].mean(axis=1) for way, found in values.items()}
    bank, live, second = mean["bank"], mean["live"], mean["second"]
    # Spread of the mean of n seeds, from the seeds of each setting about their own mean.
    noise = float(np.sqrt(values["bank"].var(axis=1, ddof=1).mean() / n))
    difference, rest = live - bank, values["bank"][:, n : 2 * n].mean(axis=1)
    multipliers = np.array([
        table[table["setting"] == s]["params"].iloc[0]["augmentation_multiplier"]
        for s in range(len(bank))
    ])  # fmt: skip
    for s in range(len(bank)):
        emit(
            "cache_truth_setting",
            data=name,
            params=table[table["setting"] == s]["params"].iloc[0],
            **{way: float(mean[way][s]) for way in WAYS},
            difference=float(difference[s]),
        )
    emit(
        "cache_truth",
        machine=machine_name(),
        backend=keras.backend.backend(),
        data=name,
        image_px=options.image_px,
        epochs=options.epochs,
        settings=len(bank),
        seeds=n,
        seed_noise=noise,
        difference_mean=float(difference.mean()),
        difference_mean_standard_error=float(difference.std(ddof=1) / np.sqrt(len(bank))),
        difference_spread=float(difference.std(ddof=1)),
        difference_without_views=float(np.abs(difference[multipliers == 0]).max()),
        difference_to_second_bank_spread=float((second - bank).std(ddof=1)),
        difference_to_other_seeds_spread=float((rest - bank).std(ddof=1)),
        spread_of_settings=float(live.std(ddof=1)),
        rank_correlation=float(spearmanr(bank, live).statistic),
        rank_correlation_other_seeds=float(spearmanr(bank, rest).statistic),
        rank_correlation_second_bank=float(spearmanr(bank, second).statistic),
        same_winner=bool(bank.argmax() == live.argmax()),
        lost_by_choosing_on_the_bank=float(live.max() - live[bank.argmax()]),
        **{f"difference_spread_{way}": float((live - mean[way]).std(ddof=1)) for way in SETS},
        **{f"difference_mean_{way}": float((live - mean[way]).mean()) for way in SETS},
        winner_on_second_bank=float(second[bank.argmax()] - bank[bank.argmax()]),
        seconds_bank=float(table[table["way"] == "bank"]["seconds"].median()),
        seconds_live=float(table[table["way"] == "live"]["seconds"].median()),
    )


def by_setting(table: pd.DataFrame, way: str) -> np.ndarray:
    """Macro recall, (n_settings, n_seeds)."""
    chosen = table[table["way"] == way]
    return chosen.pivot(index="setting", columns="seed", values="macro_recall").to_numpy()


def plot(table: pd.DataFrame, data: list[str], path: Path) -> None:
    """Live against bank, each setting a point with its seeds, one panel for each data set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(data), 4.4), layout="constrained")
    for ax, name in zip(figure.subplots(1, len(data), squeeze=False)[0], data, strict=True):
        chosen = table[table["data"] == name]
        bank, live = by_setting(chosen, "bank"), by_setting(chosen, "live")
        bank = bank[:, : live.shape[1]]
        multiplier = [
            chosen[chosen["setting"] == s]["params"].iloc[0]["augmentation_multiplier"]
            for s in range(len(live))
        ]
        low, high = min(bank.min(), live.min()) - 0.02, max(bank.max(), live.max()) + 0.02
        ax.plot([low, high], [low, high], color="0.7", lw=1, zorder=0)
        ax.errorbar(
            bank.mean(axis=1),
            live.mean(axis=1),
            xerr=np.ptp(bank, axis=1) / 2,
            yerr=np.ptp(live, axis=1) / 2,
            fmt="none",
            ecolor="0.75",
            lw=1,
            zorder=1,
        )
        dots = ax.scatter(bank.mean(axis=1), live.mean(axis=1), c=multiplier, cmap="viridis", s=36)
        ax.set(xlim=(low, high), ylim=(low, high), aspect="equal", title=name)
        ax.set(xlabel="macro recall, cached views", ylabel="macro recall, fresh views")
    figure.colorbar(dots, ax=ax, label="augmentation multiplier")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
