"""What ``confirmation.json`` holds, so that no reader meets half of it."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, Field, TypeAdapter, model_validator

from tuner.home.baselines import PLAIN


class _Tried(BaseModel):
    """One setting or free baseline on the fresh splits."""

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


class _Calibration(BaseModel):
    balanced_nll: float
    ece: float
    brier: float


class _Tested(BaseModel):
    """One model on the sealed test."""

    key: str
    title: str
    macro_recall: float
    values: list[float]
    matrix: list[list[int]]
    recall_interval: list[tuple[float, float]]
    calibration: _Calibration


class _Counted(BaseModel):
    gained: int
    lost: int
    p: float
    p_holm: float


class _Compared(BaseModel):
    """The chosen model against another."""

    model: str
    against: str
    gain: float
    low: float
    high: float
    is_clear: bool
    warning: str
    classes: list[_Counted]


class _Test(BaseModel):
    support: list[int]
    has_groups: bool
    models: list[_Tested]
    comparisons: list[_Compared]

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


class _Optimism(BaseModel):
    validation: float
    retest: float
    test: float
    difference: float


class _Verdict(BaseModel):
    sentence: str
    is_better: bool


class _Confirmation(BaseModel):
    schema_: Literal[1] = Field(alias="schema")
    opening: int
    opened_at: str
    opened_by: str
    command: str
    seeds: list[int] = Field(min_length=2)
    n_search_settings: int
    search_winner: str | None
    chosen: str
    best_free: str
    retest: list[_Tried]
    test: _Test
    optimism: _Optimism | None
    verdict: _Verdict
    importances: dict[str, Any] | None

    @model_validator(mode="after")
    def _names_its_models(self) -> Self:
        tested = {model.key for model in self.test.models}
        if missing := {self.chosen, PLAIN} - tested:
            raise ValueError(f"no model {sorted(missing)[0]!r} was tested")
        return self


CONFIRMATION = TypeAdapter(_Confirmation)
