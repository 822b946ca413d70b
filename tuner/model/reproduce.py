"""Train an exported configuration again: its folds as a check, then one head for the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from tuner.arrays import Float32, Float64, Int64, UInt8
from tuner.config import StudyConfig
from tuner.data.decoding.rule import EACH_FILE, PixelRule
from tuner.data.images import decode_rgb, read_bytes, read_image
from tuner.decision.rule import DecisionRule, scores_of
from tuner.errors import ExportError, TrainingError
from tuner.evaluation.metrics import confusion_matrix
from tuner.model.export import Export
from tuner.training.final import head_log_prob, train_finals
from tuner.training.head import HeadWeights
from tuner.training.inputs import Inputs
from tuner.training.outcome import Outcome
from tuner.training.plan import Plan, plan_of
from tuner.training.trial import train_settings

# Of a probability: batches of another size add in another order, cards round to TF32.
_TOLERANCE = {"float32": 0.02, "bfloat16": 0.1}
_PART, _PART_BYTES = 8, 2**24  # pictures, and what they hold, in a call of the model
_RESIZE_TOLERANCE = 0.1  # as far as grey levels that are off by one can carry, in older studies


def train_folds_again(export: Export, inputs: Inputs) -> Outcome:
    """Train the folds as the search did.

    Raises:
        TrainingError: If a loss is not finite, or memory runs out.
    """
    (outcome,) = train_settings(
        [export.params], inputs, config=export.config, on_epoch=lambda i, epoch: False
    )
    if outcome.state == "failed":
        raise TrainingError(f"the folds cannot be trained: {outcome.reason}")
    return outcome


def recorded_plan(export: Export) -> Plan:
    """The plan of the export: the median fold's best epoch and its learning-rate cuts."""
    return Plan(export.final_learning_rates)


def fresh_plan(folds: Outcome) -> Plan:
    """The plan of folds trained just now, for other images than the export's."""
    return plan_of(folds.best_epochs, folds.learning_rates)


def train_final(export: Export, inputs: Inputs, plan: Plan) -> HeadWeights:
    """The head of the exported configuration on all non-test images.

    Raises:
        TrainingError: If a loss is not finite.
    """
    return train_finals([(export.params, plan)], inputs, config=export.config)[0]


def adjusted_head(head: HeadWeights, adjustment: tuple[float, Float64] | None) -> HeadWeights:
    """The head with a logit adjustment in its output bias, where nothing has to be added later.

    Args:
        head: As it was trained.
        adjustment: Strength and effective prior, (n_classes,), or None.
    """
    if adjustment is None:
        return head
    tau, prior = adjustment
    bias = head.output_bias - tau * np.log(prior)
    return head._replace(output_bias=bias.astype(np.float32))


def calibrated_head(head: HeadWeights, rule: DecisionRule | None) -> HeadWeights:
    """The head with the scale and shifts of a rule in its output layer."""
    if rule is None:
        return head
    output, bias = rule.scale * head.output, rule.scale * head.output_bias + rule.shift
    return head._replace(output=output.astype(np.float32), output_bias=bias.astype(np.float32))


def adjusted_matrix(
    folds: Outcome,
    labels: Int64,
    adjustment: tuple[float, Float64] | None,
    *,
    rule: DecisionRule | None = None,
) -> Int64:
    """Out-of-fold confusion matrix, int64 (n_classes, n_classes), as the model will decide.

    Args:
        folds: As they were trained, to the end.
        labels: Class of each image, int64 (n_images,).
        adjustment: Strength and effective prior, (n_classes,), or None.
        rule: By which it decides, behind the adjustment; None for the largest.
    """
    log_prob = folds.log_prob
    if log_prob is None:
        raise ValueError("folds that failed have predicted nothing")
    if adjustment is not None:
        tau, prior = adjustment
        log_prob = log_prob - tau * np.log(prior)
    decided = log_prob.argmax(axis=1) if rule is None else rule.decide(log_prob)
    return confusion_matrix(labels, decided, n_classes=log_prob.shape[1])


def head_answers(head: HeadWeights, features: Float32, *, saved: Float64 | None = None) -> Float64:
    """Answers to features, float64 (n_images, n_classes), computed in NumPy.

    Args:
        head: Its weights.
        features: float32 (n_images, n_features).
        saved: What each answer saves, where the model decides by costs: then these are scores,
            else probabilities.
    """
    probabilities = np.exp(head_log_prob(head, features))
    return probabilities if saved is None else scores_of(probabilities, saved)


def check_model(
    model: Any,
    probabilities: Float64,
    images: Sequence[Path],
    *,
    config: StudyConfig,
    rule: PixelRule = EACH_FILE,
) -> float:
    """Hold a model's answers on real files against those of the bank and the head.

    First on pixels that the image reader has resized, then on whole files, which the model must
    resize to the same pixels: nothing but the order of additions may differ.

    Args:
        model: From uint8 pixels of any size to probabilities, or scores.
        probabilities: What head and bank say, float64 (n_images, n_classes).
        images: The files.
        config: The study.
        rule: How its files are read.

    Returns:
        Largest difference of a probability on the whole files.

    Raises:
        ExportError: If the model is not that of the head.
    """
    image_px = config.data.image_px
    small = _differences(
        model, (read_image(path, image_px=image_px, rule=rule) for path in images), probabilities
    )
    whole = _differences(
        model,
        (np.asarray(decode_rgb(read_bytes(p), name=str(p), rule=rule)) for p in images),
        probabilities,
    )
    allowed_here = _TOLERANCE[config.backbone.precision]
    faults = {"on resized pixels": (max(small), allowed_here)}
    if rule.order == "columns":
        faults["on whole files"] = (max(whole), allowed_here)
    else:
        faults["on whole files, on average,"] = (float(np.mean(whole)), _RESIZE_TOLERANCE)
    for where, (found, allowed) in faults.items():
        if not found <= allowed:
            raise ExportError(
                f"the saved model differs from the trained head {where} by {found:.3f} in a "
                f"probability, more than {allowed}",
                do="please report this with the versions that `tuner export` writes",
            )
    return max(whole)


def _differences(model: Any, pictures: Iterable[UInt8], expected: Float64) -> list[float]:
    """Largest difference of a probability, by picture."""
    found: list[float] = []
    for part in _of_one_size(zip(pictures, expected, strict=True)):
        together, wanted = map(np.stack, zip(*part, strict=True))
        answers = np.asarray(ops.convert_to_numpy(model(together, training=False)))
        found += np.abs(answers - wanted).max(axis=1).tolist()
    return found


_Asked = tuple[UInt8, Float64]  # a picture and what is expected of it


def _of_one_size(asked: Iterable[_Asked]) -> Iterator[list[_Asked]]:
    """Small pictures of one size together: a call of the model costs Keras more than they do."""
    part: list[_Asked] = []
    for picture, expected in asked:
        is_full = len(part) == _PART or (len(part) + 1) * picture.size > _PART_BYTES
        if part and (is_full or picture.shape != part[0][0].shape):
            yield part
            part = []
        part.append((picture, expected))
    if part:
        yield part


def test_matrix(answers: Float64, labels: Int64) -> Int64:
    """Confusion matrix of the sealed test, int64 (n_classes, n_classes), from its answers."""
    return confusion_matrix(labels, answers.argmax(axis=1), n_classes=answers.shape[1])
