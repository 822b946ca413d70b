"""What `tuner confirm` has found, as a file beside the study.

``STUDY/confirmation.json`` holds the numbers, ``STUDY/test_predictions.npz`` the predictions
that they are made from, ``STUDY/seal.json`` who opened the test and when.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuner.arrays import Int64
from tuner.errors import StudyError
from tuner.files import write_whole
from tuner.home.baselines import PLAIN
from tuner.home.free import rule_key
from tuner.home.stored import UNREADABLE, parse_form, reason_of
from tuner.home.study_folder import StudyFolder
from tuner.notebook import page, paragraph, table
from tuner.text import minus

_FILE = "confirmation.json"
_PREDICTIONS = "test_predictions.npz"
_SCHEMA = 1


class _Part(BaseModel):
    # The order of fields is that of the file. Keys that a later version adds are kept.
    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class Tried(_Part):
    """One setting or free baseline on the fresh splits.

    Attributes:
        key: Name of its record, or key of a free baseline.
        title: How people call it.
        setting: Its hyperparameters in words, or None.
        kind: "baseline", "trial", "free", or "adjusted" for a setting's own logit adjustment.
        validation: Macro recall in the search, or None.
        values: Macro recall of each fresh seed.
        mean: Of `values`.
        behind: Mean of the best minus this mean.
        behind_standard_error: Of that difference, paired over images and seeds.
        is_within: Whether it is behind by at most one standard error.
    """

    key: str
    title: str
    setting: str | None
    kind: str
    validation: float | None
    values: list[float]
    mean: float
    behind: float
    behind_standard_error: float
    is_within: bool


class Calibrated(_Part):
    """How far a model's probabilities can be believed; smaller is better."""

    balanced_nll: float
    ece: float
    brier: float


class Tested(_Part):
    """One model on the sealed test.

    Attributes:
        key: As that of `Tried`.
        title: How people call it.
        macro_recall: Mean over seeds.
        values: Macro recall of each seed, the study's own first.
        matrix: Confusion matrix of the model of the study seed, rows true.
        recall_interval: Wilson interval of each class's recall, of the same model.
        calibration: Of the same model.
    """

    key: str
    title: str
    macro_recall: float
    values: list[float]
    matrix: list[list[int]]
    recall_interval: list[tuple[float, float]]
    calibration: Calibrated


class ClassGain(_Part):
    """Test images of a class that one model finds and the other does not.

    Attributes:
        gained: Found by the chosen model only.
        lost: Found by the other only.
        p: Of an exact McNemar test.
        p_holm: The same, corrected over the classes.
    """

    gained: int
    lost: int
    p: float
    p_holm: float


class Compared(_Part):
    """The chosen model against another on the sealed test.

    Attributes:
        model: Key of the chosen one.
        against: Key of the other.
        gain: Difference in macro recall.
        low: Lower limit of its 95 % interval.
        high: Upper limit.
        is_clear: Whether the interval leaves out 0.
        warning: Why the interval may be too narrow, or an empty text.
        classes: In class order, by the models of the study seed.
    """

    model: str
    against: str
    gain: float
    low: float
    high: float
    is_clear: bool
    warning: str
    classes: list[ClassGain]


class WithoutTwins(_Part):
    """The sealed test without the images that have a near-duplicate among those trained on.

    Attributes:
        n_left_out: Test images with such a near-duplicate.
        support: Images of each class that are left.
        n_classes: Classes with an image left; recalls are means over these.
        macro_recall: Of the chosen model, mean over seeds.
        gain: Its gain over plain cross-entropy; None where that was chosen.
        low: Lower limit of its 95 % interval.
        high: Upper limit.
    """

    n_left_out: int
    support: list[int]
    n_classes: int
    macro_recall: float | None
    gain: float | None
    low: float | None
    high: float | None


class SealedTest(_Part):
    """The sealed test.

    Attributes:
        support: Images of each class.
        has_groups: Whether images come in groups.
        models: All that were tested.
        comparisons: The chosen model against each other one.
        without_twins: What is left of it where the split parts near-duplicates, else None.
    """

    support: list[int]
    has_groups: bool
    models: list[Tested]
    comparisons: list[Compared]
    without_twins: WithoutTwins | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n = len(self.support)
        for model in self.models:
            is_square = len(model.matrix) == n and all(len(row) == n for row in model.matrix)
            if not is_square or len(model.recall_interval) != n:
                raise ValueError(f"model {model.key!r} is not of {n} classes")
        if any(len(pair.classes) != n for pair in self.comparisons):
            raise ValueError(f"a comparison is not of {n} classes")
        return self

    def model(self, key: str) -> Tested | None:
        """The model of that key, where it was tested."""
        return next((model for model in self.models if model.key == key), None)

    def gain_over(self, key: str) -> Compared | None:
        """The chosen model against the one of that key, where both differ."""
        return next((pair for pair in self.comparisons if pair.against == key), None)


class Optimism(_Part):
    """Macro recall of the search's winner: what the search said, and what was left of it.

    Attributes:
        validation: In the search.
        retest: On fresh splits, mean over seeds.
        test: On the sealed test, mean over seeds.
        difference: `validation` minus `test`.
    """

    validation: float
    retest: float
    test: float
    difference: float


class Verdict(_Part):
    """What to believe.

    Attributes:
        sentence: In words, with the numbers.
        is_better: Whether the gains over plain cross-entropy and over the best free baseline
            are both clearly above 0.
    """

    sentence: str
    is_better: bool

    def __str__(self) -> str:
        """The sentence."""
        return self.sentence


class Confirmation(_Part):
    """Everything that a confirmation has found.

    Attributes:
        schema_: Of the file.
        opening: Which opening of the sealed test it was, from 1.
        opened_at: When.
        opened_by: Who.
        command: With what command.
        seeds: The study's own, then the fresh ones.
        n_search_settings: Trials and baselines that the search had tried.
        search_winner: Name of the search's winner, or None.
        chosen: Name of the setting that the retest chose.
        best_free: Key of the free baseline that did best on the retest.
        taus: Strength of each logit adjustment, by key.
        retest: Every setting and free baseline on the fresh splits, the best mean first.
        test: The sealed test.
        optimism: None where the search's winner was not tested.
        importances: What the trials said of their hyperparameters, or None.
        verdict: What to believe.
        decision: What a decision rule for the chosen setting came to on the test, or None; see
            `tuner.confirm.decided`.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    opening: int
    opened_at: str
    opened_by: str
    command: str
    seeds: list[int] = Field(min_length=2)
    n_search_settings: int
    search_winner: str | None
    chosen: str
    best_free: str
    taus: dict[str, float]
    retest: list[Tried]
    test: SealedTest
    optimism: Optimism | None
    importances: dict[str, Any] | None
    verdict: Verdict
    decision: dict[str, Any] | None = None

    @property
    def rule_key(self) -> str | None:
        """Key of the model that is the chosen setting with its decision rule."""
        return rule_key(self.decision["of"]) if self.decision else None

    @model_validator(mode="after")
    def _names_its_models(self) -> Self:
        for key in (self.chosen, PLAIN):
            if self.test.model(key) is None:
                raise ValueError(f"no model {key!r} was tested")
        if self.chosen != PLAIN and self.test.gain_over(PLAIN) is None:
            raise ValueError(f"{self.chosen!r} was not compared with {PLAIN!r}")
        return self

    @property
    def chosen_model(self) -> Tested:
        """The chosen setting on the sealed test."""
        return next(model for model in self.test.models if model.key == self.chosen)

    @property
    def plain_model(self) -> Tested:
        """Plain cross-entropy on the sealed test."""
        return next(model for model in self.test.models if model.key == PLAIN)

    def __repr__(self) -> str:
        """What was chosen, and the verdict."""
        return f"<Confirmation of {self.chosen_model.title}: {self.verdict}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return page(
            "Confirmed on fresh splits and the sealed test",
            paragraph(self.verdict.sentence, is_strong=True),
            paragraph(f"Fresh splits, mean macro recall of {len(self.seeds) - 1} seeds"),
            self._retest_table(),
            paragraph(
                f"Sealed test of {sum(self.test.support):,} images, "
                f"mean macro recall of {len(self.seeds)} trainings"
            ),
            self._test_table(),
        )

    def _retest_table(self) -> Markup:
        rows = [
            (
                tried.title,
                tried.setting or "",
                tried.validation,
                tried.mean,
                _behind(tried),
            )
            for tried in self.retest
        ]
        chosen = [i for i, tried in enumerate(self.retest) if tried.key == self.chosen]
        header = ("model", "setting", "in the search", "fresh splits", "behind the best setting")
        return table(header, rows, bars={"fresh splits": 1.0}, strong=chosen)

    def _test_table(self) -> Markup:
        models = sorted(self.test.models, key=lambda model: -model.macro_recall)
        rows = []
        for model in models:
            pair = self.test.gain_over(model.key)
            gain = pair and f"{pair.gain:+.3f} ({pair.low:+.3f} to {pair.high:+.3f})"
            rows.append((model.title, model.macro_recall, minus(gain or "")))
        chosen = [i for i, model in enumerate(models) if model.key == self.chosen]
        header = ("model", "sealed test", "gain of the chosen over it, 95 % interval")
        return table(header, rows, bars={"sealed test": 1.0}, strong=chosen)

    def as_json(self) -> str:
        """The text of ``confirmation.json``."""
        values = self.model_dump(by_alias=True)
        if self.test.without_twins is None:  # as it was before there was anything to say
            del values["test"]["without_twins"]
        if self.decision is None:
            del values["decision"]
        return json.dumps(values, indent=1, allow_nan=False)


def _behind(tried: Tried) -> str:
    if not tried.behind:
        return ""
    return minus(f"{tried.behind:.3f} ± {tried.behind_standard_error:.3f}")


def save_confirmation(
    folder: StudyFolder,
    found: Confirmation,
    *,
    rows: Int64,
    labels: Int64,
    log_prob: Mapping[str, NDArray[np.floating]],
) -> None:
    """Write the predictions and then the numbers.

    Args:
        folder: The study.
        found: The numbers.
        rows: Places of the test images in the study's ``images.csv``, int64 (n_test,).
        labels: Their classes, int64 (n_test,).
        log_prob: By model, log probabilities (n_seeds, n_test, n_classes).
    """
    stream = io.BytesIO()
    tables: dict[str, Any] = {key: table.astype(np.float32) for key, table in log_prob.items()}
    np.savez_compressed(stream, rows=rows, labels=labels, **tables)
    write_whole(folder.path / _PREDICTIONS, stream.getvalue())
    write_whole(folder.path / _FILE, found.as_json())


def load_confirmation(folder: StudyFolder) -> Confirmation | None:
    """What the last `tuner confirm` has found, or None before the first.

    Raises:
        StudyError: If the file is damaged, from a newer version or of other classes.
    """
    path = folder.path / _FILE
    if not path.exists():
        return None
    try:
        found = parse_form(path, Confirmation, schema=_SCHEMA)
        if len(found.test.support) != len(folder.class_names):
            raise ValueError(f"it is not of {len(folder.class_names)} classes")
    except UNREADABLE as error:
        raise StudyError(
            f"the confirmation cannot be read: {reason_of(error)}",
            where=str(path),
            do=f"restore it, or make it anew with: tuner confirm {folder.name} --again",
        ) from error
    return found
