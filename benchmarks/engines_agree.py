"""Do engines differ in anything that matters? Every feature, and what a search makes of them.

python benchmarks/engines_agree.py [--data steel_xsdd blood_chula12] [--image-px 128]
    [--trials 12]

Fills a bank of every image by the Keras engine and one by OpenVINO and takes the largest
difference of a feature. Then runs the same study on both, and on Keras with another seed, which is
what a setting moves by anyway: baselines, winner, and how many decisions of the winner differ.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from _common import emit, image_files, machine_name, say

from tuner.config import StudyConfig, parse_study
from tuner.features.near_duplicates import images_themselves
from tuner.features.source import open_features
from tuner.features.weights.resolve import resolve_weights
from tuner.ground import find_backend
from tuner.home import Home
from tuner.home.founding import read_images
from tuner.home.records import winner
from tuner.study import Study

STUDY = """name: {name}
seed: {seed}
data: {{source: '{source}', image_px: {image_px}}}
backbone: {{engine: {engine}}}
search: {{trials: {trials}}}
"""


def study_of(options: argparse.Namespace, data: str, source: Path, **keys: object) -> StudyConfig:
    text = STUDY.format(
        name=f"{data}-{keys['engine']}-{keys['seed']}",
        source=source,
        image_px=options.image_px,
        trials=max(1, options.trials),
        **keys,
    )
    return parse_study(text, source="study.yaml")


def differences(studies: dict[str, StudyConfig], home: Home) -> dict[str, object]:
    """How far the features of every image are apart."""
    found = []
    for engine, config in studies.items():
        device = find_backend(config)
        source = open_features(config, home, weights=resolve_weights("imagenet"), device=device)
        rows = images_themselves(read_images(config, home))
        say(f"{engine}: {len(rows)} images")
        source.fill(rows)
        found.append(source.bank.read([f"{row.sha256}:0" for row in rows]))
    apart = np.abs(found[0] - found[1])
    return {
        "images": len(found[0]),
        "largest_difference": float(apart.max()),
        "mean_difference": float(apart.mean()),
        "mean_feature": float(found[0].mean()),
        "largest_feature": float(found[0].max()),
    }


def outcome(config: StudyConfig, home: Home) -> tuple[dict[str, float], str, np.ndarray]:
    """Macro recall of every baseline and the winner, which it is, and what it decides."""
    say(f"{config.name}: {config.search.trials} trials")
    study = Study(config, home=home.path, listener=None)
    study.run()
    best = winner(study.folder.records())
    if best is None:
        raise SystemExit("no trial is complete")
    baselines = [r for r in study.folder.records() if r.kind == "baseline"]
    values = {record.title: record.scores["macro_recall"] for record in baselines}
    decided = study.predictions()["predicted"].to_numpy()
    return {**values, "winner": best.scores["macro_recall"]}, best.title, decided


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=["steel_xsdd", "blood_chula12"])
    parser.add_argument("--image-px", type=int, default=128)
    parser.add_argument("--trials", type=int, default=12, help="0: features only")
    options = parser.parse_args()
    for name in options.data:
        with tempfile.TemporaryDirectory() as folder:
            home = Home(Path(folder, "home"))
            data, paths = image_files(name, into=Path(folder))
            root = paths[0].parent.parent
            two = {
                e: study_of(options, data, root, engine=e, seed=0) for e in ("keras", "openvino")
            }
            facts = differences(two, home)
            if options.trials:
                other = study_of(options, data, root, engine="keras", seed=1)
                ends = [outcome(config, home) for config in (*two.values(), other)]
                names = ("keras", "openvino", "keras_other_seed")
                facts |= {f"macro_recall_{k}": end[0] for k, end in zip(names, ends, strict=True)}
                facts["is_same_winner"] = ends[0][1] == ends[1][1]
                facts["decisions_changed"] = int((ends[0][2] != ends[1][2]).sum())
                facts["decisions"] = len(ends[0][2])
            emit(
                "engines_agree",
                machine=machine_name(),
                data=data,
                image_px=options.image_px,
                trials=options.trials,
                **facts,
            )


if __name__ == "__main__":
    main()
