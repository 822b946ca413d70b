"""Studies of any number of classes and trials, made of real records without training anything.

Out-of-fold probabilities are drawn so that settings differ as real ones do: rare classes are
harder, and a setting's quality is a smooth function of its hyperparameters.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tuner.config import parse_study
from tuner.data.image_table import ImageTable
from tuner.data.split import make_split
from tuner.evaluation.intervals import wilson_interval
from tuner.evaluation.metrics import confusion_matrix, log_softmax, macro_recall, scores
from tuner.home.baselines import TITLES, baselines
from tuner.home.founding import create_study_folder
from tuner.home.records import Record, save_record
from tuner.home.study_folder import StudyFolder
from tuner.setting import Setting

HOSTILE = [
    "<script>alert(1)</script>",
    "😀 emoji 👩‍🔬",
    "x" * 80,
    "نسيج تالف",
    "猫の種類",
    "a & \"b\" 'c' $x_1$",
    "\u202eright to left override",
    "new\nline\x1b[31m",
]
MODES = ("none", "sqrt", "balanced", "effective_number")
STARTED_S = 1_790_000_000.0


def make_study(
    home: Path,
    class_names: Sequence[str],
    *,
    name: str = "made",
    trials: int = 15,
    rarest: int = 15,
    largest: int = 150,
    has_images: bool = False,
    seed: int = 0,
) -> StudyFolder:
    """A study with baselines and trials, of which some are pruned and one may have failed.

    Args:
        home: Where; images lie in ``home/images``.
        class_names: Any text.
        name: Of the study.
        trials: Besides the three baselines.
        rarest: Images of the rarest class.
        largest: Images of the largest class.
        has_images: Whether the image files exist.
        seed: Of everything drawn.
    """
    rng = np.random.default_rng(seed)
    folder = _empty_study(home, class_names, name, trials, (largest, rarest), has_images)
    labels = folder.images.labels[folder.images.search]
    hard = rng.normal(0, 1.2, len(labels))  # the same images are hard for every setting
    for key, params in baselines(n_classes=len(class_names)).items():
        _add(folder, "baseline", f"baseline-{key}", None, params, hard, rng)
    for number in range(3, 3 + trials):
        params = Setting(
            float(rng.uniform(0, 5)),
            float(rng.uniform(0.05, 0.95)),
            int(rng.integers(0, 9)),
            str(rng.choice(MODES)),
        )
        state = "failed" if number == 12 else "complete" if rng.random() < 0.5 else "pruned"
        if number == 3:
            params, state = Setting(2.1, 0.6, 3, "sqrt"), "complete"
        _add(folder, "trial", f"trial-{number:05d}", number, params, hard, rng, state=state)
    return folder


def _empty_study(
    home: Path,
    class_names: Sequence[str],
    name: str,
    trials: int,
    counts: tuple[int, int],
    has_images: bool,
) -> StudyFolder:
    n = len(class_names)
    sizes = np.rint(np.geomspace(*counts, n)).astype(int) if n > 1 else np.array([counts[0]])
    labels = np.repeat(np.arange(n), sizes)
    data = [_png(k, i) for i, k in enumerate(labels)]
    paths = [f"{k}/{i:05d}.png" for i, k in enumerate(labels)]
    if has_images:
        for path, content in zip(paths, data, strict=True):
            file = home / "images" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    images = ImageTable(
        root=home / "images",
        paths=tuple(paths),
        labels=labels,
        class_names=tuple(class_names),
        sha256=tuple(hashlib.sha256(content).hexdigest() for content in data),
        fold=make_split(labels, class_names=class_names, n_folds=3, test_fraction=0.2, seed=0),
    )
    config = parse_study(
        f"{{name: {name}, data: {{source: '{home / 'images'}', image_px: 64}},"
        f" split: {{folds: 3}}, search: {{trials: {max(trials, 1)}}}}}",
        source="made.yaml",
    )
    folder = StudyFolder(home / "studies" / name)
    about = {
        "versions": {"python": "3.11.7", "imbalance-tuner": "0.1.0", "keras": "3.15.1"},
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": "no"},
        "question": "Which treatment finds the rare classes?",
    }
    create_study_folder(folder, config, images, about=about)
    return folder


def _png(k: int, i: int) -> bytes:
    """A picture of 24x24 pixels that differs by class and image."""
    rng = np.random.default_rng((k, i))
    y, x = np.mgrid[:24, :24] / 24
    angle = k * 0.7 + rng.normal(0, 0.1)
    wave = np.sin(2 * np.pi * (3 * x * np.cos(angle) + 3 * y * np.sin(angle)) + rng.uniform(0, 6))
    colour = 0.5 + 0.4 * np.cos(k + np.array([0.0, 2.1, 4.2]))
    pixels = (127 + 90 * wave[..., None] * colour + rng.normal(0, 12, (24, 24, 1))).clip(0, 255)
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def _quality(params: Setting) -> tuple[float, float]:
    """How well a setting does on all classes and, beyond that, on rare ones."""
    weights = {"none": 0.0, "sqrt": 0.8, "balanced": 0.7, "effective_number": 0.5}
    rare = weights[params.class_weight_mode] + 0.12 * params.augmentation_multiplier
    return 1.7 - 0.05 * (params.gamma - 2.2) ** 2 + 0.3 * params.alpha, rare


def _add(
    folder: StudyFolder,
    kind: str,
    name: str,
    number: int | None,
    params: Setting,
    hard: np.ndarray,
    rng: np.random.Generator,
    *,
    state: str = "complete",
) -> None:
    images, n = folder.images, len(folder.class_names)
    labels = images.labels[images.search]
    counts = np.bincount(labels, minlength=n)
    rarity = np.log(counts.max() / counts) / np.log(max(2.0, counts.max() / counts.min()))
    common, rare = _quality(params)
    margin = common - 1.9 * rarity[labels] + rare * rarity[labels] - hard
    margin = margin - (0.8 if state == "pruned" else 0) + rng.normal(0, 0.5, len(labels))
    logits = rng.gumbel(0, 0.5, (len(labels), n))
    logits[np.arange(len(labels)), labels] = logits.max(axis=1) + margin
    log_prob = log_softmax(logits).astype(np.float32)
    matrix = confusion_matrix(labels, log_prob.argmax(axis=1), n_classes=n)
    found = scores(matrix)
    n_epochs = 16 if state == "pruned" else int(rng.integers(28, 50))
    is_failed = state == "failed"
    record = Record(
        kind=kind,
        name=name,
        number=number,
        params=params,
        state=state,
        reason="loss is not finite at epoch 3" if is_failed else None,
        value=None if is_failed else found["macro_recall"],
        matrix=[] if is_failed else matrix.tolist(),
        scores={} if is_failed else found,
        curves={} if is_failed else _curves(matrix, n_epochs, rng),
        best_epochs=[] if is_failed else [n_epochs - 1] * 3,
        learning_rates=[[1e-4] * n_epochs] * 3,
        rows=[counts.tolist()] * 3,
        class_weights=[[1.0] * n] * 3,
        constraints={},
        seeds={"study_seed": 0, "view_seed": 0},
        environment={"backend": "tensorflow 2.21.0", "device": "CPU", "precision": "float32"},
        started_s=STARTED_S + 10 * (number or 0),
        ended_s=STARTED_S + 10 * (number or 0) + 4.2,
    )
    save_record(folder.records_path, record, log_prob=None if is_failed else log_prob)


def _curves(matrix: np.ndarray, n_epochs: int, rng: np.random.Generator) -> dict[str, list[Any]]:
    recall = matrix.diagonal() / np.maximum(matrix.sum(axis=1), 1)
    rise = 1 - np.exp(-(np.arange(n_epochs) + 1) / (0.18 * n_epochs))
    noise = 0.01 * rng.normal(0, 1, (n_epochs, len(recall)))
    per_class = (recall * rise[:, None] + noise).clip(0, 1)
    return {
        "objective": per_class.mean(axis=1).tolist(),
        "val/macro_recall": per_class.mean(axis=1).tolist(),
        "val/recall": per_class.tolist(),
        "val/balanced_loss": (2.2 - 1.6 * rise + 0.002 * np.arange(n_epochs)).tolist(),
        "train/loss": (1.9 - 1.7 * rise).tolist(),
        "learning_rate": [1e-4] * n_epochs,
    }


def confirm(folder: StudyFolder, *, is_better: bool = True, seed: int = 0) -> dict[str, Any]:
    """Write a ``confirmation.json`` of the form that `tuner confirm` writes."""
    rng = np.random.default_rng(seed)
    support = folder.images.test_counts
    records = [r for r in folder.records() if r.state == "complete"]
    best = sorted((r for r in records if r.kind == "trial"), key=lambda r: -(r.value or 0))[:3]
    plain = [r for r in records if r.kind == "baseline"]
    rows = [(r.name, _short(r), str(r.params), r.kind, r.value) for r in [*best, *plain]]
    rows += [("logit_adjustment_1", "logit adjustment, τ 1", None, "free", 0.83)]
    rows += [("logistic_regression", "logistic regression", None, "free", 0.80)]
    retest = [_retest_row(row, 0.86 - 0.012 * i, rng) for i, row in enumerate(rows)]
    chosen = retest[0]["key"]
    models = [_tested(row, support, rng) for row in (retest[0], retest[3], retest[6])]
    found = {
        "schema": 1,
        "opening": 1,
        "opened_at": "2026-11-24T01:02:03+0000",
        "opened_by": "user",
        "command": f"tuner confirm {folder.name}",
        "seeds": [0, 1, 2, 3, 4, 5],
        "n_search_settings": len(records),
        "search_winner": best[0].name,
        "chosen": chosen,
        "best_free": "logit_adjustment_1",
        "taus": {"logit_adjustment_1": 1.0, "logit_adjustment_tuned": 1.35},
        "retest": retest,
        "test": {
            "support": support.tolist(),
            "has_groups": False,
            "models": models[::-1],
            "comparisons": [_comparison(models[0], m, support, rng) for m in models[1:]],
        },
        "optimism": {
            "validation": best[0].value,
            "retest": retest[0]["mean"],
            "test": models[0]["macro_recall"],
            "difference": best[0].value - models[0]["macro_recall"],
        },
        "importances": None,
        "verdict": {
            "sentence": "γ2.10 α0.60 ×3 sqrt is better than plain cross-entropy: +0.045 macro "
            "recall on the sealed test, 95 % interval 0.012 to 0.081.",
            "is_better": is_better,
        },
    }
    (folder.path / "confirmation.json").write_text(json.dumps(found), "utf-8")
    return found


def _short(record: Record) -> str:
    key = record.name.removeprefix("baseline-")
    return TITLES.get(key, f"#{record.number}")


def _retest_row(row: tuple[Any, ...], mean: float, rng: np.random.Generator) -> dict[str, Any]:
    key, title, setting, kind, value = row
    values = (mean + rng.normal(0, 0.012, 5)).round(4).tolist()
    behind = max(0.0, 0.86 - mean)
    return {
        "key": key,
        "title": title,
        "setting": setting,
        "kind": kind,
        "validation": value,
        "values": values,
        "mean": float(np.mean(values)),
        "behind": behind,
        "behind_standard_error": 0.011,
        "is_within": behind < 0.011 * 1.5,
    }


def _tested(row: dict[str, Any], support: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    n = len(support)
    found = rng.binomial(support, min(row["mean"], 0.98))
    matrix = np.diag(found)
    for k in range(n):
        matrix[k, (k + 1) % n] += support[k] - found[k]
    low, high = wilson_interval(found, support)
    value = macro_recall(matrix)
    return {
        "key": row["key"],
        "title": row["title"],
        "macro_recall": value,
        "values": (value + rng.normal(0, 0.008, 6)).tolist(),
        "matrix": matrix.tolist(),
        "recall_interval": np.stack([low, high], axis=1).tolist(),
        "calibration": {"balanced_nll": 0.41, "ece": 0.037, "brier": 0.21},
    }


def _comparison(
    ours: dict[str, Any], theirs: dict[str, Any], support: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    gain = ours["macro_recall"] - theirs["macro_recall"]
    classes = []
    for k in range(len(support)):
        net = ours["matrix"][k][k] - theirs["matrix"][k][k]
        both = int(rng.integers(0, 3))
        classes.append(
            {"gained": max(net, 0) + both, "lost": max(-net, 0) + both, "p": 0.6, "p_holm": 1.0}
        )
    return {
        "model": ours["key"],
        "against": theirs["key"],
        "gain": gain,
        "low": gain - 0.04,
        "high": gain + 0.04,
        "is_clear": gain - 0.04 > 0,
        "warning": "",
        "classes": classes,
    }


def free_baselines(folder: StudyFolder) -> None:
    """Write a ``free.json`` of the form that `tuner run` writes."""
    plain = next(r for r in folder.records() if r.name == "baseline-cross_entropy")
    rows = [
        {"key": key, "title": title, "tau": tau, "value": plain.value, "scores": plain.scores,
         "matrix": plain.matrix}
        for key, title, tau in (
            ("logit_adjustment_1", "logit adjustment, τ 1", 1.0),
            ("logit_adjustment_tuned", "logit adjustment, τ tuned", 1.35),
            ("logistic_regression", "logistic regression on the features", None),
            ("nearest_class_mean", "nearest class mean", None),
        )
    ]  # fmt: skip
    text = json.dumps({"schema": 1, "of": len(folder.records()), "baselines": rows})
    (folder.path / "free.json").write_text(text, "utf-8")
