"""YAML and overrides into plain values, and where each was written."""

from __future__ import annotations

import pytest

from tests.config.made import MINIMAL, problem, problems
from tuner.config import ObjectiveConfig, parse_study


@pytest.mark.parametrize("written", ["1e-4", "1E-4", "0.0001", ".0001", "1.0e-4", "+1e-04"])
def test_numbers_are_those_of_yaml_1_2(written: str) -> None:
    """`1e-4`, text to PyYAML, is the number that its writer meant."""
    read = parse_study(f"{MINIMAL}training: {{learning_rate: {written}}}\n", source="x.yaml")
    assert read.training.learning_rate == 1e-4


@pytest.mark.parametrize("name", ["no", "on", "2024-01-01", "1_000", "1:30"])
def test_text_stays_text(name: str) -> None:
    """What YAML 1.1 takes for a bool, a date or a sexagesimal number is text here."""
    read = parse_study(f"name: x\ndata: {{source: {name}}}\n", source="x.yaml")
    assert read.data.source == name


def test_aliases_are_values() -> None:
    """An alias stands for the value of its anchor."""
    text = MINIMAL + "search: {gamma: &both [1, 1], alpha: *both}\n"
    search = parse_study(text, source="x.yaml").search
    assert search.gamma == search.alpha == (1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a: b\n", "x.yaml:1:8  a key is not expected here; mend the indentation"),
        ("name: a\n  seed: 1\n", "x.yaml:2:7  a key is not expected here"),
        (
            "name: [1\nseed: 2\n",
            "x.yaml:2:5  while parsing a flow sequence from line 1, expected ',' or ']', "
            "but got ':': 'seed: 2'",
        ),
        ("data:\n\tsource: a\n", "x.yaml:2:1  a tab cannot indent; write spaces: 'source: a'"),
        ("name: *x\n", "x.yaml:1:7  found undefined alias 'x': 'name: *x'"),
        ("name: 'x\n", "found unexpected end of stream"),
        ("name: a\n---\nname: b\n", "x.yaml:2:1  expected a single document"),
        ("name: a\nseed: \x07\n", "x.yaml:2:7  '\\x07' is not allowed in YAML"),
        ("[" * 2000, "nested too deeply for a study file"),
        ('name: "\\U00110000"\n', "x.yaml  a number or an escape in it is beyond"),
        ('name: "\\UFFFFFFFF"\n', "an escape in it is beyond all bounds"),
    ],
)
def test_yaml_errors_have_line_column_and_text(text: str, expected: str) -> None:
    """What is not YAML is shown where it stands, with the offending text."""
    header, message = problems(text)
    assert header == "x.yaml cannot be read as YAML"
    assert message.startswith(expected) or expected in message


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null # nothing\n", "\n\n"])
def test_an_empty_file_says_how_to_write_one(text: str) -> None:
    """A file without keys is empty, and `tuner init` fills it."""
    header, *rest = problems(text)
    if text.startswith("null"):
        assert header == "x.yaml holds plain text, but a study file holds 'key: value' lines"
    else:
        assert header.startswith("x.yaml is empty; ")
    assert rest[-1] == "write one with: tuner init DATA -o x.yaml"


def test_a_list_is_not_a_study() -> None:
    """A top level without keys is refused by its kind."""
    assert problems("# c\n- a\n")[:2] == [
        "x.yaml holds a list, but a study file holds 'key: value' lines",
        "x.yaml:2",
    ]


def test_alias_bombs_are_bounded() -> None:
    """Aliases that expand without end stop at a number of values."""
    levels = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
    assert "expands to more than 10000 values" in problems("a0: &a0 [x]\n" + levels)[0]
    assert "or 20 levels" in problems("a: &a [*a]\n")[0]


def test_numbers_too_long_to_read_are_refused() -> None:
    """A number of thousands of digits is a problem of its line, not of Python."""
    assert problem(f"seed: {'9' * 5000}\n").startswith("x.yaml:4  seed: '999")
    assert problem("training: {dropout: 1" + "0" * 400 + "}\n").endswith("0…")


def test_invisible_characters_are_shown_escaped() -> None:
    """A key with a line break stays in one line of the message."""
    assert problem('"a\\nzz": 1\n').startswith("x.yaml:4  a\\nzz: unknown key")


def test_overrides_win_over_the_file() -> None:
    """Values of `--set` replace those of the file, the last one for a key first of all."""
    read = parse_study(
        MINIMAL + "search: {trials: nonsense, gamma: [1, 2]}\n",
        source="x.yaml",
        overrides=[
            "search.trials=3",
            "search.trials=7",
            "search.gamma=[0, 1e0]",
            "training.learning_rate=1e-3",
            "data.group_by=null",
            "search.class_weight_mode=[none]",
            "objective={metric: mcc}",
            "objective={recall_floor: 0.5}",
            "data.source=runs/a=b",
        ],
    )
    assert read.search.trials == 7
    assert read.search.gamma == (0.0, 1.0)
    assert read.training.learning_rate == 1e-3
    assert read.search.class_weight_mode == ("none",)
    assert read.objective == ObjectiveConfig(metric="mcc", recall_floor=0.5)
    assert read.data.source == "runs/a=b"


def test_a_block_override_adds_to_the_block() -> None:
    """Setting a block keeps the keys it does not name."""
    read = parse_study(
        MINIMAL + "search: {trials: 5}\n", source="x.yaml", overrides=["search={batch: 2}"]
    )
    assert (read.search.trials, read.search.batch) == (5, 2)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("search.trials=0", "search.trials: must be a whole number of at least 1, not 0"),
        ("search.gamma=2", "not 2; write [2, 2] for a fixed value"),
        ("search.gama=2", "search.gama: unknown key; did you mean 'search.gamma'?"),
        ("search.gamma.low=1", "each a number from 0 to 5, not a block of keys"),
        ("name.first=1", "name.first: 'name' holds a value, not keys"),
        ("data=null", "data.source: missing; write for example 'source: data/steel'"),
        ("search.trials=", "search.trials: must be a whole number of at least 1, not empty"),
        ("search.class_weight_mode=[sqrt, x]", "search.class_weight_mode[1]: must be one of"),
        ("search={class_weight_mode: [x]}", "search.class_weight_mode[0]: must be one of"),
        ("data.source=2024", "not 2024; put it in quotes: '2024'"),
        ("=3", "not an override; write it as key=value"),
        ("search..trials=3", "not an override; write it as key=value"),
        ("search.trials", "not an override; write it as key=value"),
        ("search.trials=[", "search.trials: cannot be read as YAML: "),
        ("a\nb=1", "unknown key"),
    ],
)
def test_override_problems_name_the_override(override: str, expected: str) -> None:
    """A problem of `--set` is placed at its text, since it has no line."""
    text = MINIMAL + "search: {class_weight_mode: [none, sqrt]}\n"
    header, message = problems(text, override)
    assert header == "1 problem in --set"
    assert message.startswith(f"--set {override}  ".replace("\n", "\\n"))
    assert expected in message
