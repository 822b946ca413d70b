"""The model card: what a model was made of, how good it is, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tuner.arrays import Float64, Int64
from tuner.data.decoding.resize import DECODE
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.evaluation.intervals import macro_recall_standard_error, wilson_interval
from tuner.evaluation.metrics import class_table
from tuner.model.contract import reading
from tuner.model.export import Export
from tuner.text import interval_words, printable, recall_words

_IMAGENET_LICENCE = (
    "ResNet50 by He et al., MIT licence, as Keras distributes it; trained on ImageNet, whose "
    "images are for non-commercial research"
)
_OUTPUT = "probabilities, (batch, n_classes), in the order of class_names; the largest decides"
_SCORES = (
    "scores, (batch, n_classes), in the order of class_names; the largest decides: it is the "
    "answer of the least expected cost. A score is the share of what an answer is expected to "
    "save, no probability; those are the output of the layer 'probabilities'"
)
_LICENCES = {
    "imagenet": _IMAGENET_LICENCE,
    "random": "none: random",
    "model": "unknown; ask where the file came from",
}


def recall_rows(matrix: Int64, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Recall of each class with its 95 % Wilson interval, from a confusion matrix."""
    found, support = np.diag(matrix), matrix.sum(axis=1)
    low, high = wilson_interval(found, support)
    recall = class_table(matrix).recall
    return [
        {
            "class": name,
            "found": int(found[k]),
            "of": int(support[k]),
            "recall": round(float(recall[k]), 4),
            "low": round(float(low[k]), 4),
            "high": round(float(high[k]), 4),
        }
        for k, name in enumerate(class_names)
    ]


def summary(matrix: Int64, class_names: Sequence[str]) -> dict[str, Any]:
    """Macro recall with its standard error, and the recall of each class."""
    return {
        "macro_recall": round(float(class_table(matrix).recall.mean()), 4),
        "macro_recall_standard_error": round(macro_recall_standard_error(matrix), 4),
        "classes": recall_rows(matrix, class_names),
    }


def confirmed_rows(export: Export) -> list[dict[str, Any]] | None:
    """Recall on the sealed test as `tuner confirm` found it, or None."""
    decision = export.record.get("decision")
    if decision is not None:  # of this very rule, or of none
        tested = decision["sealed_test"]
        return None if tested is None else [_rounded(row) for row in tested["after"]["recall"]]
    found = export.record["confirmation"].get("test_recall")
    if not found:
        return None
    counts = [(name, *map(int, text.split(" of "))) for name, text in found.items()]
    matrix = np.zeros((len(counts), len(counts)), dtype=np.int64)
    for k, (_, hits, support) in enumerate(counts):
        matrix[k, k], matrix[k, (k + 1) % len(counts)] = hits, support - hits
    return recall_rows(matrix, [name for name, _, _ in counts])


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    shares = {key: round(row[key], 4) for key in ("recall", "low", "high")}
    return {key: row[key] for key in ("class", "found", "of")} | shares


def make_card(
    export: Export,
    *,
    class_names: Sequence[str],
    fingerprint: str,
    folds: Int64,
    images_per_class: Sequence[int],
    weights: str,
    weights_kind: str,
    fine_tuned: str | None,
    decode: str = DECODE,
    rule: PixelRule = EACH_FILE,
    saved: Float64 | None = None,
) -> dict[str, Any]:
    """Everything that a user of the model should know, as plain values.

    Args:
        export: The configuration, with the mode that it was trained in.
        class_names: In the order of the model's answers.
        fingerprint: Of the images.
        folds: Out-of-fold confusion matrix, of the folds as trained for this model.
        images_per_class: Images that the final head was trained on.
        weights: Where the backbone's weights came from.
        weights_kind: "imagenet", "file", "random" or "model".
        fine_tuned: First stage that was fine-tuned, or None.
        decode: Name of what the features were made from.
        rule: How the files were read.
        saved: What each answer saves, (n_classes, n_classes), where the model decides by costs.
    """
    config, licence = export.config, _LICENCES
    preprocess = "keras.applications.resnet50.preprocess_input"
    then = "the backbone, which preprocesses them" if weights_kind == "model" else preprocess
    # What was confirmed on other images says nothing of a model of these.
    is_same = export.record["data"]["fingerprint"] == fingerprint
    decision = export.record.get("decision")
    return {
        "class_names": list(class_names),
        "image_px": config.data.image_px,
        "answers": "probability" if saved is None else "score",
        "input": "uint8 RGB pixels, (batch, height, width, 3), any size",
        "output": _OUTPUT if saved is None else _SCORES,
        "preprocessing": (
            f"inside the model: bilinear resize with antialiasing to {config.data.image_px} x "
            f"{config.data.image_px} pixels, columns first, rounded to grey levels after each "
            f"pass, then {then}"
        ),
        "decode": decode,
        "range": rule.range,
        "reading": reading(rule),
        "trained_on": fingerprint,
        "images_per_class": dict(zip(class_names, map(int, images_per_class), strict=True)),
        "training": config.training.mode,
        "fine_tuned": fine_tuned,
        "out_of_fold": summary(folds, class_names),
        "sealed_test": confirmed_rows(export) if is_same else None,
        **({"decision": decision} if decision else {}),
        "verdict": export.record["confirmation"].get("verdict") if is_same else None,
        "leak": export.record["data"].get("leak") if is_same else None,
        "weights": {
            "source": weights,
            "licence": licence.get(weights_kind, "of that file; ask where it came from"),
        },
        "export": export.record,
    }


def card_text(card: Mapping[str, Any], *, name: str) -> str:
    """The card as Markdown."""
    return "\n".join(_lines(card, name)) + "\n"


def _lines(card: Mapping[str, Any], name: str) -> Iterator[str]:
    export = card["export"]
    own = export["study_file"]["backbone"].get("model")
    features = "Features of a backbone of its own" if own else "ResNet50 features"
    yield f"# {_cell(name)}"
    yield ""
    yield (
        f"Classifies images into {len(card['class_names'])} classes. {features} and a "
        f"head trained by `tuner` with {_setting(export['hyperparameters'])}, from study "
        f"`{_cell(export['study']['name'])}`, {export['study']['record']}."
    )
    yield ""
    yield card["verdict"] or (
        "Not confirmed on a sealed test: `tuner confirm` says whether this is better than plain "
        "cross-entropy."
    )
    yield from ("", "## How good it is", "")
    if leak := card.get("leak"):
        yield from (f"**{leak}.**", "")
    yield from _recall(card)
    if decision := card.get("decision"):
        yield from ("", "## What it decides by", "")
        yield from _decision(decision, is_same=card["sealed_test"] is not None)
    yield from ("", "## What it was made of", "")
    yield f"- Input: {card['input']}"
    yield f"- Output: {card['output']}"
    yield f"- Preprocessing: {card['preprocessing']}"
    if card["range"]:
        black, white = card["range"]
        yield f"- Gray of more than 8 bits: {black:.9g} is black and {white:.9g} white"
    n_images = sum(card["images_per_class"].values())
    yield f"- Images: {n_images:,}, fingerprint `{card['trained_on']}`"
    views = {"bank": "cached views of the images", "live": "images, other views each time"}
    yield f"- Trained on: {views[card['training']]}"
    if adjustment := export.get("adjustment"):
        yield f"- Logit adjustment: tau {adjustment['tau']:g}, inside the model"
    yield f"- Backbone weights: {card['weights']['source']}"
    yield f"- Licence of the weights: {card['weights']['licence']}"
    yield from _use(card)


def _use(card: Mapping[str, Any]) -> Iterator[str]:
    """How a file becomes its input, and in which formats it lies here."""
    if steps := card.get("reading"):
        yield from ("", "## From a file to its input", "")
        yield from (f"{k}. {step}" for k, step in enumerate(steps, start=1))
    if files := card.get("files"):
        yield from ("", "## Other formats", "")
        yield (
            "Each was run by its runtime when it was written, on real pictures of all forms, and "
            "held against Keras."
        )
        yield from ("", "| file | precision | MB | runtime | pictures | largest difference |")
        yield "|---|---|--:|---|--:|--:|"
        whole = {n: facts for n, facts in files.items() if facts["precision"] == "float32"}
        for name, facts in whole.items():
            yield (
                f"| {_cell(name)} | {facts['precision']} | {facts['bytes'] / 1e6:.0f} "
                f"| {facts['runtime']} | {facts['pictures']} | {facts['largest_difference']:.1g} |"
            )
        for name in sorted(files.keys() - whole.keys()):
            yield from _smaller(name, files[name])


def _smaller(name: str, facts: Mapping[str, Any]) -> Iterator[str]:
    """What less precision changed, beside the float32 file of the format."""
    rate, recall = facts["images_a_second"], facts.get("recall")
    yield from ("", f"### {_cell(name)}", "")
    yield (
        f"{facts['precision']}, {facts['bytes'] / 1e6:.0f} MB, {facts['runtime']}. On "
        f"{facts['pictures']:,} images outside of the test, which the head was trained on, "
        f"{facts['decisions_changed']:,} decided otherwise than in float32, and a probability "
        f"differs by at most {facts['largest_difference']:.2g}; {rate['this']:.0f} images a "
        f"second instead of {rate['float32']:.0f} on the machine that wrote it."
    )
    if recall:
        yield from ("", "| class | float32 | this file |", "|---|--:|--:|")
        for before, after in zip(recall["float32"], recall["this"], strict=True):
            yield f"| {_cell(before['class'])} | {recall_words(before)} | {recall_words(after)} |"


def _recall(card: Mapping[str, Any]) -> Iterator[str]:
    found, test = card["out_of_fold"], card["sealed_test"]
    yield (
        f"Macro recall {found['macro_recall']:.3f} on the validation folds (standard error "
        f"{found['macro_recall_standard_error']:.3f}, of the images alone; the setting was chosen "
        "on these folds, so the number is optimistic). Recall with 95 % Wilson intervals:"
    )
    yield ""
    yield "| class | trained on | validation folds |" + (" sealed test |" if test else "")
    yield "|---|--:|--:|" + ("--:|" if test else "")
    for k, row in enumerate(found["classes"]):
        trained = card["images_per_class"][row["class"]]
        cells = [_cell(row["class"]), f"{trained:,}", recall_words(row)]
        yield "| " + " | ".join([*cells, *([recall_words(test[k])] if test else [])]) + " |"
    if card["fine_tuned"]:
        yield ""
        yield (
            f"The backbone was fine-tuned from {card['fine_tuned']} on after that. These numbers "
            "are of the model before it; what fine-tuning changed only new images can tell."
        )
    elif test and card["training"] == "live":
        yield ""
        yield "The sealed test was answered by a head trained on cached views."


def _decision(decision: Mapping[str, Any], *, is_same: bool) -> Iterator[str]:
    before, after, change = decision["before"], decision["after"], decision["change"]
    parts = {"costs": decision["costs"], "recall floors": decision["recall_floors"]}
    made = [name for name, part in parts.items() if part]
    over = ", over groups of images" if decision["has_groups"] else ""
    yield (
        f"Not by the largest probability but by a rule for {' and '.join(made)}, fitted to "
        f"{decision['n_images']:,} out-of-fold predictions and part of the model. The recalls "
        "above are of these predictions. Below, each fold is decided as fitted to the others; "
        f"95 % intervals{over}."
    )
    yield ""
    if change:
        then, now = (interval_words(**part["cost"]) for part in (before, after))
        yield (
            f"An image costs {now}, by the largest probability {then}: "
            f"{interval_words(**change, form='+.3g')}. This holds for classes as frequent as in "
            "these images."
        )
        yield ""
    yield from ("| class | floor | largest probability | decision rule |", "|---|--:|--:|--:|")
    for then, now in zip(before["recall"], after["recall"], strict=True):
        floor = f"{now['floor']:g}" if "floor" in now else ""
        yield f"| {_cell(now['class'])} | {floor} | {recall_words(then)} | {recall_words(now)} |"
    yield ""
    tested, ask = decision["sealed_test"], "`tuner confirm` with its costs and floors"
    is_told = tested and is_same
    yield tested["sentence"] if is_told else f"Not confirmed on a sealed test: {ask}."


def _setting(params: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in params.items()
    )


def _cell(text: str) -> str:
    """Text that stays what it is inside a Markdown table."""
    shown = printable(text)
    for mark in "\\`*_[]<>|#":
        shown = shown.replace(mark, f"\\{mark}")
    return shown
