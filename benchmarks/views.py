"""What views do to the rare classes: in every class alike, or of the rare classes only.

    python benchmarks/views.py --place PLACE > benchmarks/results/views.json
    python benchmarks/views_page.py benchmarks/results/views.json

Trains cross-entropy by both policies of `augmentation.policy` with each multiplier, without class
weights and with balanced ones, on divisions into three folds by several seeds; near-duplicates, or
the listed groups, stay together and the sealed test is not looked at. Then asks a linear probe how
well it tells views from images, and how well what it says tells rows of rare classes from those
of the largest: the label that views give away. Every finished training is a line of
PLACE/lines.jsonl: a second start goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from _common import emit, image_files, machine_name, say

from tuner.config import StudyConfig, parse_study
from tuner.confirm.retest import fresh_folds
from tuner.evaluation.metrics import class_table
from tuner.features.device import find_device
from tuner.features.source import open_features
from tuner.features.weights.resolve import resolve_weights
from tuner.ground import Ground, open_ground
from tuner.home import Home
from tuner.home.listener import Listener
from tuner.setting import Setting
from tuner.training.inputs import Inputs, redivided
from tuner.training.trial import train_settings
from tuner.training.view_probe import fit_probe

STUDY = """
name: {name}
data: {{source: {source}, image_px: {image_px}, group_by: {group_by}}}
augmentation: {{policy: shared}}
"""
MULTIPLIERS, MODES, POLICIES = (0, 1, 2, 4, 8), ("balanced", "none"), ("minority", "shared")
N_RAREST = 3


@dataclass(frozen=True)
class Images:
    """A data set of the benchmark.

    Attributes:
        archive: Of `image_files`, or "digits".
        image_px: Side of the images unless told otherwise.
        group_by: Of the study.
        overrides: Other keys of the study.
        one_in: Only so many of its groups, by name.
    """

    archive: str
    image_px: int
    group_by: str = "auto"
    overrides: tuple[str, ...] = ()
    one_in: int = 1


SETS = {
    "steel_xsdd": Images("steel_xsdd", 96),
    "waste_trashnet": Images("waste_trashnet", 64),
    "blood_chula12": Images(
        "blood_chula12", 64, "{pattern: '/(s\\d+)_'}", ("data.min_images=20",), 3
    ),
    "digits": Images("digits", 64),
    "digits, no flip": Images("digits", 64, overrides=("augmentation.flip=false",)),
}


def study_of(name: str, place: Path, *, overrides: Sequence[str]) -> StudyConfig:
    """The study of a data set."""
    images, source = SETS[name], "digits"
    overrides = [*images.overrides, *overrides]
    if images.archive != "digits":
        found, files = image_files(images.archive, into=place)
        source = str(place / found / found)
        if images.one_in > 1:
            groups = sorted({file.name.partition("_")[0] for file in files})[:: images.one_in]
            overrides += [f"data.include={json.dumps([f'*/{group}_*' for group in groups])}"]
    text = STUDY.format(
        name="-".join(name.replace(",", "").split()),
        source=source,
        image_px=images.image_px,
        group_by=images.group_by,
    )
    return parse_study(text, source="benchmark", overrides=overrides)


def ground_of(config: StudyConfig, place: Path) -> Ground:
    """Images in folds, with the means to compute their features."""
    home, device = Home.find(place / "home"), find_device()
    weights = resolve_weights(os.environ.get("TUNER_WEIGHTS", "imagenet"))
    source = open_features(config, home, weights=weights, device=device)
    return open_ground(source, home, Listener())


def settings() -> Iterator[Setting]:
    """Cross-entropy with each multiplier, weights and policy; without views both are the same."""
    for mode, multiplier, policy in product(MODES, MULTIPLIERS, POLICIES):
        if multiplier or policy == POLICIES[0]:
            yield Setting(0.0, 1.0, multiplier, mode, augmentation_policy=policy)


def score(setting: Setting, inputs: Inputs, *, config: StudyConfig) -> dict[str, Any]:
    """Macro recall and the recall of the rarest classes, out of fold."""
    (outcome,) = train_settings([setting], inputs, config=config, on_epoch=lambda i, epoch: False)
    recall = class_table(np.array(outcome.matrix)).recall
    rarest = np.argsort(np.bincount(inputs.labels), kind="stable")[:N_RAREST]
    return {
        "macro_recall": outcome.scores["macro_recall"],
        "rarest_recall": float(recall[rarest].mean()),
        "recall": [round(float(r), 4) for r in recall],
        "rows": outcome.rows[0],
        "epochs": [len(rates) for rates in outcome.learning_rates],
    }


def probe_lines(inputs: Inputs) -> Iterator[dict[str, Any]]:
    """How well the probe tells views from images of other folds, and rare classes by that."""
    known, others = np.flatnonzero(inputs.fold != 0), np.flatnonzero(inputs.fold == 0)
    first = [inputs.features(inputs.row_of[known, view]) for view in (0, 1)]
    probe = fit_probe(*first)
    told = [probe(inputs.features(inputs.row_of[others, view])) == view for view in (0, 1)]
    counts = np.bincount(inputs.labels)
    rarest = np.argsort(counts, kind="stable")[:N_RAREST]
    for policy, multiplier in product(POLICIES, MULTIPLIERS[1:]):
        rows = np.atleast_2d(
            inputs.training_rows(others, multiplier=multiplier, capped=True, policy=policy)
        )
        label, says_view = inputs.y[rows].ravel(), probe(inputs.features(rows.ravel()))
        of_rare = says_view[np.isin(label, rarest)].mean()
        of_largest = says_view[label == counts.argmax()].mean()
        yield {
            "policy": policy,
            "multiplier": multiplier,
            "tells_views": float(np.mean([t.mean() for t in told])),
            "says_view_of_rare": float(of_rare),
            "says_view_of_largest": float(of_largest),
            "tells_rare_by_views": float((of_rare + 1 - of_largest) / 2),
        }


def lines_of(
    name: str, place: Path, *, n_seeds: int, overrides: Sequence[str], known: set[str]
) -> Iterator[dict[str, Any]]:
    """Every line of a data set that is not known yet."""
    config = study_of(name, place, overrides=overrides)
    ground = ground_of(config, place)
    config, chosen = ground.config, ground.table.search
    fresh = fresh_folds(ground.folder, n_seeds=n_seeds - 1) if n_seeds > 1 else {}
    folds = {config.seed: ground.table.fold[chosen], **fresh}
    ground.extract(Listener(), other_folds=list(fresh.values()))
    inputs = ground.inputs(Listener(), other_folds=list(fresh.values()))
    about = {
        "data": name,
        "images": len(chosen),
        "classes": inputs.n_classes,
        "image_px": config.data.image_px,
        "hidden_units": config.training.hidden_units,
        "learning_rate": config.training.learning_rate,
        "fill": config.augmentation.fill,
        "strength": config.augmentation.strength,
        "machine": machine_name(),
    }
    for found in probe_lines(inputs):
        yield {"benchmark": "views_probe", **about, **found}
    for seed, setting in product(list(folds)[:n_seeds], settings()):
        policy = setting.augmentation_policy
        line = {
            "benchmark": "views",
            **about,
            "policy": policy,
            "multiplier": setting.augmentation_multiplier,
            "weights": setting.class_weight_mode,
            "seed": seed,
        }
        if key_of(line) in known:
            continue
        mine = redivided(inputs, folds[seed], batch_size=config.training.batch_size)
        yield line | score(setting, mine, config=config.model_copy(update={"seed": seed}))


def key_of(line: dict[str, Any]) -> str:
    """What tells a line from the others."""
    about = ("data", "image_px", "hidden_units", "learning_rate", "fill", "strength")
    keys = ("benchmark", *about, "policy", "multiplier", "weights", "seed")
    return json.dumps([line.get(key) for key in keys])


def main() -> None:
    """Measure what is missing, and print every line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--place", type=Path, required=True, help="folder of images and features")
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=3, help="0: the probe only")
    parser.add_argument("--set", nargs="*", default=[], help="other keys of the study")
    chosen = parser.parse_args()
    path = chosen.place / "lines.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    known = {key_of(line): line for line in map(json.loads, path.read_text().splitlines())}
    for name in chosen.data:
        for line in lines_of(
            name, chosen.place, n_seeds=chosen.seeds, overrides=chosen.set, known=set(known)
        ):
            if key_of(line) not in known:
                with path.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                say(json.dumps(line))
            known[key_of(line)] = line
    for line in known.values():
        emit(line["benchmark"], **{k: v for k, v in line.items() if k != "benchmark"})


if __name__ == "__main__":
    main()
