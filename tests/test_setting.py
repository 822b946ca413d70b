"""The table of hyperparameters is the only one, and a setting holds what it was given."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.settings import a_setting
from tuner.evaluation.metrics import METRICS
from tuner.imbalance.weights import CLASS_WEIGHT_MODES
from tuner.setting import HYPERPARAMETERS, Setting, in_words

PACKAGE = Path(__file__).parents[1] / "tuner"
PLAIN = {
    "gamma": 1.0,
    "alpha": 0.5,
    "augmentation_multiplier": 3,
    "class_weight_mode": "sqrt",
}


def literals(tree: ast.AST) -> Iterator[tuple[int, list[str]]]:
    """Line and texts of every written-out collection, `Literal` and dictionary."""
    for node in ast.walk(tree):
        items: list[Any] = []
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            items = node.elts
        elif isinstance(node, ast.Dict):
            items = node.keys
        yield (
            getattr(node, "lineno", 0),
            [i.value for i in items if isinstance(i, ast.Constant) and isinstance(i.value, str)],
        )


@pytest.mark.parametrize(
    ("names", "home"),
    [
        (HYPERPARAMETERS, "setting.py"),
        (CLASS_WEIGHT_MODES, "imbalance/weights.py"),
        (METRICS, "evaluation/metrics.py"),
    ],
    ids=["hyperparameters", "modes", "metrics"],
)
def test_no_second_list_of_the_names(names, home):
    """Outside its own module no code lists two hyperparameters, class-weight modes or metrics."""
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != PACKAGE / home
        for line, texts in literals(ast.parse(path.read_text("utf-8")))
        if len(set(texts) & set(names)) > 1
    ]
    assert found == []


def test_bounds_and_defaults_are_the_contract():
    """What a study may search, and searches unless told, is what the README says."""
    modes = ("none", "sqrt", "balanced", "effective_number")
    assert CLASS_WEIGHT_MODES[: len(modes)] == modes
    assert {name: (h.bounds, h.default) for name, h in HYPERPARAMETERS.items()} == {
        "gamma": ((0, 5), (0.0, 5.0)),
        "alpha": ((0, 1), (0.05, 1.0)),
        "augmentation_multiplier": ((0, 8), (0, 8)),
        "class_weight_mode": ((0, len(CLASS_WEIGHT_MODES) - 1), CLASS_WEIGHT_MODES),
    }


def test_a_setting_has_the_fields_of_the_table():
    """A hyperparameter of the table has a field, in the same order; last what none searches."""
    assert [field.name for field in fields(Setting)] == [*HYPERPARAMETERS, "augmentation_policy"]
    assert {name: h.name for name, h in HYPERPARAMETERS.items()} == {n: n for n in HYPERPARAMETERS}


@given(setting=a_setting())
def test_a_setting_and_its_plain_values_are_inverse(setting):
    """`from_dict` undoes `as_dict` to the last digit, types kept, and ignores other keys."""
    read = Setting.from_dict({**setting.as_dict(), "seed": 3})
    assert read == setting
    assert [*map(type, read.as_dict().values())] == [*map(type, setting.as_dict().values())]


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_a_missing_hyperparameter_is_a_key_error(name):
    """All but one are not a setting."""
    with pytest.raises(KeyError, match=name):
        Setting.from_dict({key: value for key, value in PLAIN.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gamma", 9, "gamma 9.0 is not in 0 to 5"),
        ("gamma", -0.5, "gamma -0.5 is not in 0 to 5"),
        ("gamma", float("nan"), "gamma nan is not in 0 to 5"),
        ("gamma", 10**400, "gamma inf is not in 0 to 5"),
        ("alpha", 1.5, "alpha 1.5 is not in 0 to 1"),
        (
            "augmentation_multiplier",
            2.5,
            "augmentation_multiplier 2.5 is not a whole number from 0 to 8",
        ),
        (
            "augmentation_multiplier",
            9,
            "augmentation_multiplier 9 is not a whole number from 0 to 8",
        ),
        (
            "augmentation_multiplier",
            float("inf"),
            "augmentation_multiplier inf is not a whole number from 0 to 8",
        ),
        ("class_weight_mode", "heavy", "class_weight_mode 'heavy' is unknown"),
        ("class_weight_mode", None, "class_weight_mode 'None' is unknown"),
        ("augmentation_policy", "all", "augmentation_policy 'all' is unknown"),
    ],
)
def test_values_that_no_study_searches_are_refused(name, value, message):
    """What a damaged or edited file may hold is named with its bounds, as a ValueError."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole text is compared
        Setting.from_dict({**PLAIN, name: value})
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["gamma", "augmentation_multiplier"])
def test_what_is_no_number_is_a_type_error(name):
    """A list is no number."""
    with pytest.raises(TypeError):
        Setting.from_dict({**PLAIN, name: [1]})


@given(value=st.floats(allow_nan=False) | st.integers())
def test_no_value_is_rounded(value):
    """A number is kept as it is or refused."""
    for name in ("gamma", "augmentation_multiplier"):
        try:
            kept = Setting.from_dict({**PLAIN, name: value}).as_dict()[name]
        except ValueError:
            continue
        assert kept == value


@pytest.mark.parametrize("h", HYPERPARAMETERS.values(), ids=list(HYPERPARAMETERS))
def test_defaults_lie_within_their_bounds(h):
    """Both ends of a default, or each of its choices, are values of a setting."""
    for value in (*h.default, *(h.default_two_classes or ())):
        assert h.checked(value) == value


def test_two_classes_have_a_default_of_their_own():
    """With two classes alpha spares 1, which would leave one of them out of the loss."""
    alpha, gamma = HYPERPARAMETERS["alpha"], HYPERPARAMETERS["gamma"]
    assert (alpha.default_for(3), alpha.default_for(2)) == ((0.05, 1.0), (0.05, 0.95))
    assert gamma.default_for(2) == gamma.default_for(3) == (0.0, 5.0)


def test_a_setting_reads_as_one_short_line():
    """The short form of tables shows a value of each."""
    assert str(Setting(1.8, 0.4, 3, "balanced")) == "γ1.80 α0.40 ×3 balanced"


def test_counts_are_spelt_while_they_are_small():
    """Texts say four; beyond ten they have digits."""
    assert [in_words(n) for n in (0, 4, 5, 10, 11)] == ["no", "four", "five", "ten", "11"]
