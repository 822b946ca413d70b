"""The study file: what it accepts, what it says when it does not, and that it round-trips."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner import config as module
from tuner.config import (
    AugmentationConfig,
    BackboneConfig,
    DataConfig,
    ObjectiveConfig,
    SearchConfig,
    SplitConfig,
    StudyConfig,
    TrainingConfig,
    dump_study,
    incomparable_changes,
    load_study,
    parse_study,
    resolve_alpha,
    safe_study_name,
    study_template,
)
from tuner.errors import StudyFileError
from tuner.study_file import describe_rule, nearest_key

# No deadline and no health check of speed: both would measure the machine, not the code.
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
STUDIES = Path(__file__).parents[1] / "studies"
MINIMAL = "name: steel\ndata:\n  source: data/steel\n"


def study(**blocks: Any) -> StudyConfig:
    """The minimal study with some blocks of its own."""
    return StudyConfig(name="steel", data=DataConfig(source="data/steel"), **blocks)


def problems(text: str, *overrides: str) -> list[str]:
    """Lines of the error that `text` gives, without their indentation."""
    with pytest.raises(StudyFileError) as caught:
        parse_study(text, source="x.yaml", overrides=overrides)
    return [line.strip() for line in str(caught.value).splitlines()]


def problem(block: str, *overrides: str) -> str:
    """The one problem of the minimal study with `block` below it."""
    header, *rest = problems(MINIMAL + block, *overrides)
    assert header.startswith("1 problem in ")
    assert len(rest) == 1
    return rest[0]


# --- what is accepted


def test_defaults_are_the_contract() -> None:
    """A study with a name and a source holds the values of DESIGN sections 4, 5 and 11."""
    assert parse_study(MINIMAL, source="x.yaml").model_dump() == {
        "name": "steel",
        "seed": 0,
        "data": {
            "source": "data/steel",
            "root": None,
            "image_px": 224,
            "group_by": None,
            "include": (),
            "exclude": (),
        },
        "split": {"test_fraction": 0.2, "folds": 3},
        "backbone": {"weights": "imagenet", "precision": "float32"},
        "search": {
            "trials": 60,
            "sampler": "tpe",
            "pruner": "median",
            "retries": 3,
            "batch": 1,
            "gamma": (0.0, 5.0),
            "alpha": None,
            "augmentation_multiplier": (0, 8),
            "class_weight_mode": ("none", "sqrt", "balanced", "effective_number"),
        },
        "objective": {"metric": "macro_recall", "recall_floor": None},
        "augmentation": {
            "view_seed": 0,
            "rotation_deg": 20.0,
            "shift": 0.2,
            "zoom": (0.8, 1.2),
            "flip": True,
            "cap": "largest",
        },
        "training": {
            "hidden_units": 512,
            "dropout": 0.3,
            "learning_rate": 1e-4,
            "batch_size": 32,
            "epochs": 50,
            "patience": 5,
            "lr_factor": 0.2,
            "lr_patience": 3,
            "min_learning_rate": 1e-6,
            "effective_number_beta": 0.999,
        },
    }


def test_defaults_obey_their_own_rules() -> None:
    """No default lies outside the bounds of its field."""
    StudyConfig.model_validate(study().model_dump())


def test_the_design_example_reads() -> None:
    """The study file of DESIGN section 11 is accepted as it stands."""
    text = """
name: steel
seed: 0
data:
  source: data/steel            # folder per class
  image_px: 128
  group_by: null                # manifest column | near_duplicates
split: {test_fraction: 0.2, folds: 3}
backbone: {weights: imagenet, precision: float32}
search:
  trials: 60
  sampler: tpe
  pruner: median
  gamma: [0.0, 5.0]
  alpha: [0.05, 1.0]
  augmentation_multiplier: [0, 8]
  class_weight_mode: [none, sqrt, balanced, effective_number]
objective: {metric: macro_recall, recall_floor: null}
augmentation: {view_seed: 0}
"""
    read = parse_study(text, source="x.yaml")
    assert read.search.alpha == (0.05, 1.0)
    assert read.search.class_weight_mode[0] == "none"


@pytest.mark.parametrize("name", ["digits", "steel", "blood"])
def test_bundled_studies_are_documents(name: str) -> None:
    """Each bundled study reads, has 15 trials, and opens with a question and its command."""
    path = STUDIES / f"{name}.yaml"
    read = load_study(path)
    first, *_ = text = path.read_text(encoding="utf-8").splitlines()
    assert (read.name, read.search.trials) == (name, 15)
    assert first.startswith("# ")
    assert first.endswith("?")
    assert any(f"tuner run studies/{name}.yaml" in line for line in text)


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


def test_ints_are_floats_where_floats_belong() -> None:
    """`gamma: [0, 5]` gives floats, so that the config is one type whatever was written."""
    gamma = parse_study(MINIMAL + "search: {gamma: [0, 5]}\n", source="x.yaml").search.gamma
    assert gamma == (0.0, 5.0)
    assert all(type(limit) is float for limit in gamma)


def test_a_fixed_value_is_a_range_of_one() -> None:
    """Equal limits are allowed; so are the outermost ones."""
    text = MINIMAL + "search: {gamma: [2, 2], alpha: [0, 1], augmentation_multiplier: [8, 8]}\n"
    search = parse_study(text, source="x.yaml").search
    assert (search.gamma, search.alpha) == ((2.0, 2.0), (0.0, 1.0))
    assert search.augmentation_multiplier == (8, 8)


def test_an_empty_block_holds_its_defaults() -> None:
    """A block whose lines are all commented out is a block with no keys."""
    text = MINIMAL + "search:\n  # trials: 5\nobjective:\n"
    assert parse_study(text, source="x.yaml") == study()


@pytest.mark.parametrize("written", ["none", "null", "~", '"none"'])
def test_cap_none_may_be_null(written: str) -> None:
    """No cap is `none`; `null` can mean nothing else there."""
    read = parse_study(f"{MINIMAL}augmentation: {{cap: {written}}}\n", source="x.yaml")
    assert read.augmentation.cap == "none"


def test_windows_files_read() -> None:
    """A byte order mark and CRLF line ends change nothing."""
    text = MINIMAL.replace("\n", "\r\n")
    assert parse_study(text, source="x.yaml") == study()


def test_aliases_are_values() -> None:
    """An alias stands for the value of its anchor."""
    text = MINIMAL + "search: {gamma: &both [1, 1], alpha: *both}\n"
    search = parse_study(text, source="x.yaml").search
    assert search.gamma == search.alpha == (1.0, 1.0)


def test_a_study_is_frozen() -> None:
    """A config cannot be changed after it was read."""
    with pytest.raises(ValueError, match="frozen"):
        study().seed = 1  # type: ignore[misc]


# --- what is said


def test_every_problem_is_reported_at_once() -> None:
    """All problems come in one error, in the order of lines, overrides last, in plain words."""
    text = """\
# question
name: my study
sed: 1
data:
  sorce: data/steel
  image_px: 16
  image_px: 20
split: {test_fraction: 0.7, folds: 3.0}
backbone: [imagenet]
gamma: [0, 5]
search:
  gama: [1, 2]
  trials: 0
  sampler: tpee
  gamma: 2
  alpha: [1, 0.5]
  augmentation_multiplier: [0, 9]
  class_weight_mode:
    - null
    - balnced
    - no
    - sqrt
objective: {metric: recall, recall_floor: "0.5"}
augmentation:
  flip: no
  rotation_deg: !!python/object:os.system x
training:
  lr: 1e-4
  dropout: .nan
  epochs: true
"""
    modes = "'none', 'sqrt', 'balanced', 'effective_number'"
    metrics = "'macro_recall', 'macro_f1', 'g_mean', 'mcc', 'accuracy'"
    found = problems(
        text, "search.batch=0", "trials", "serach.x=3", "search={trails: 3}", "folds=[1"
    )
    assert found == [
        "30 problems in x.yaml and --set",
        "x.yaml:2  name: must be 1 to 100 letters, digits, '.', '_' or '-', the first not '.', "
        "not 'my study'",
        "x.yaml:3  sed: unknown key; did you mean 'seed'?",
        "x.yaml:5  data.sorce: unknown key; did you mean 'data.source'?",
        "x.yaml:6  data.image_px: must be a whole number from 32 to 1024, not 16",
        "x.yaml:7  data.image_px: written twice (first in line 6); keep one",
        "x.yaml:8  split.test_fraction: must be a number above 0 and at most 0.5, not 0.7",
        "x.yaml:8  split.folds: must be a whole number from 2 to 20, not 3.0; write 3",
        "x.yaml:9  backbone: must be a block of keys (weights, precision), not [imagenet]",
        "x.yaml:10  gamma: unknown key; did you mean 'search.gamma'?",
        "x.yaml:12  search.gama: unknown key; did you mean 'search.gamma'?",
        "x.yaml:13  search.trials: must be a whole number of at least 1, not 0",
        "x.yaml:14  search.sampler: must be one of 'tpe', 'random', 'qmc', 'gp', not 'tpee'; "
        "did you mean 'tpe'?",
        "x.yaml:15  search.gamma: must be [low, high], each a number from 0 to 5, not 2; "
        "write [2, 2] for a fixed value",
        "x.yaml:16  search.alpha: [1.0, 0.5] runs downwards; write [0.5, 1.0]",
        "x.yaml:17  search.augmentation_multiplier: must be [low, high], each a whole number "
        "from 0 to 8, not [0, 9]",
        f"x.yaml:19  search.class_weight_mode[0]: must be one of {modes}, not null; write none",
        f"x.yaml:20  search.class_weight_mode[1]: must be one of {modes}, not 'balnced'; "
        "did you mean 'balanced'?",
        f"x.yaml:21  search.class_weight_mode[2]: must be one of {modes}, not 'no'; write none",
        f"x.yaml:23  objective.metric: must be one of {metrics}, not 'recall'; "
        "did you mean 'macro_recall'?",
        "x.yaml:23  objective.recall_floor: must be a number from 0 to 1, or null, not '0.5'; "
        "write 0.5 without quotes",
        "x.yaml:25  augmentation.flip: must be true or false, not 'no'; write false",
        "x.yaml:26  augmentation.rotation_deg: the YAML tag !!python/object:os.system is not "
        "allowed",
        "x.yaml:28  training.lr: unknown key; did you mean 'training.learning_rate'?",
        "x.yaml:29  training.dropout: must be a number of at least 0 and below 1, not .nan",
        "x.yaml:30  training.epochs: must be a whole number of at least 1, not true",
        "--set search.batch=0  search.batch: must be a whole number of at least 1, not 0",
        "--set trials  not an override; write it as key=value, for example --set search.trials=20",
        "--set serach.x=3  serach: unknown key; did you mean 'search'?",
        "--set search={trails: 3}  search.trails: unknown key; did you mean 'search.trials'?",
        "--set folds=[1  folds: cannot be read as YAML: expected ',' or ']', but got "
        "'<stream end>': '[1'",
    ]


def test_a_missing_source_says_what_to_write() -> None:
    """Required keys that are missing are named with an example."""
    assert problems("seed: 1\n") == [
        "2 problems in x.yaml",
        "x.yaml  name: missing; write for example 'name: steel'",
        "x.yaml  data.source: missing; write for example 'source: data/steel'",
    ]
    assert problems("name: steel\n\ndata: {image_px: 64}\n")[1:] == [
        "x.yaml:3  data.source: missing; write for example 'source: data/steel'"
    ]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("seed: -1", "seed: must be a whole number of at least 0 and below 2147483648, not -1"),
        ("seed: 2147483648", "below 2147483648, not 2147483648"),
        ("seed: 1.5", "not 1.5"),
        ("seed: '1'", "not '1'; write 1 without quotes"),
        ("seed:", "below 2147483648, not empty"),
        ("split: {folds: 1}", "split.folds: must be a whole number from 2 to 20, not 1"),
        ("split: {folds: 21}", "not 21"),
        ("split: {test_fraction: 0}", "split.test_fraction: must be a number above 0 and at"),
        ("split: {test_fraction: 1e400}", "at most 0.5, not 1e400"),
        ("split: 3", "split: must be a block of keys (test_fraction, folds), not 3"),
        ("search: {trials: 1e2}", "must be a whole number of at least 1, not 1e2; write 100"),
        ("search: {trials: yes}", "not 'yes'"),
        ("search: {gamma: [0]}", "each a number from 0 to 5, not [0]"),
        ("search: {gamma: [0, 1, 2]}", "each a number from 0 to 5, not [0, 1, 2]"),
        ("search: {gamma: [true, 1]}", "each a number from 0 to 5, not [true, 1]"),
        ("search: {gamma: [0, .inf]}", "each a number from 0 to 5, not [0, .inf]"),
        ("search: {gamma: {low: 0, high: 5}}", "from 0 to 5, not a block of keys"),
        ("search: {gamma: null}", "each a number from 0 to 5, not null"),
        ("search: {alpha: 0.5}", "or null, not 0.5; write [0.5, 0.5] for a fixed value"),
        ("search: {augmentation_multiplier: [0.0, 8]}", "each a whole number from 0 to 8, not"),
        ("search: {pruner: null}", "must be one of 'median', 'none', not null; write none"),
        ("search: {pruner: false}", "not false; write none"),
        ("search: {sampler: TPE}", "not 'TPE'; did you mean 'tpe'?"),
        ("search: {class_weight_mode: []}", "the list is empty; name at least one"),
        ("search: {class_weight_mode: sqrt}", "not 'sqrt'; write [sqrt]"),
        ("search: {class_weight_mode: [sqrt, sqrt]}", "sqrt is listed more than once in [sqrt"),
        ("augmentation: {zoom: [0, 1]}", "each a number above 0, not [0, 1]"),
        ("augmentation: {cap: largst}", "not 'largst'; did you mean 'largest'?"),
        ("augmentation: {flip: 1}", "must be true or false, not 1"),
        ("training: {lr_factor: 1}", "training.lr_factor: must be a number above 0 and below 1"),
        ("training: {dropout: 1}", "must be a number of at least 0 and below 1, not 1"),
        ("training: {hidden_units: !!int many}", "'many' is not a number that can be read"),
        ("backbone: {weights: ''}", "backbone.weights: must be text that is not empty, not ''"),
        ("backbone: {precision: float16}", "not 'float16'; did you mean 'bfloat16'?"),
        ("search.trials: 3", "a key with dots; write 'trials:' inside the block 'search:'"),
        ("zebra: 1", "unknown key; known here: name, seed, data, split, backbone, search"),
        ("? [a]\n: 1", "a key must be plain text, not a list or a block"),
    ],
)
def test_messages_give_rule_and_value(block: str, expected: str) -> None:
    """Each wrong value is one problem in line 4, with its rule, itself, and a way out."""
    message = problem(block + "\n")
    assert message.startswith("x.yaml:4  ")
    assert expected in message


def test_an_item_is_placed_on_its_own_line() -> None:
    """In a list over several lines the line is that of the item."""
    message = problem("search:\n  class_weight_mode:\n    - none\n    - squrt\n")
    assert message.startswith("x.yaml:7  search.class_weight_mode[1]: ")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2024", "not 2024; put it in quotes: '2024'"),
        ("1e3", "not 1e3; put it in quotes: '1e3'"),
        ("true", "not true; put it in quotes: 'true'"),
        ("null", "not null"),
        (".hidden", "not '.hidden'"),
        ("a/b", "not 'a/b'"),
        ("''", "not ''"),
        ('"steel\\n"', "not 'steel\\n'"),
        ("x" * 101, "x…'"),
        ("[a]", "not [a]"),
    ],
)
def test_names_are_safe_folder_names(name: str, expected: str) -> None:
    """A name that no folder should have is refused, and a number is told to become text."""
    _, message = problems(f"name: {name}\ndata: {{source: a}}\n")
    assert message.startswith("x.yaml:1  name: must be 1 to 100 letters")
    assert message.endswith(expected)


@pytest.mark.parametrize(
    ("unknown", "near"),
    [
        ("gamma", "search.gamma"),
        ("folds", "split.folds"),
        ("n_trials", "search.trials"),
        ("search.epochs", "training.epochs"),
        ("training.patient", "training.patience"),
        ("data.image-px", "data.image_px"),
        ("data.Image_Size", "data.image_px"),
        ("lr", "training.learning_rate"),
        ("beta", "training.effective_number_beta"),
        ("augmentaton", "augmentation"),
        ("data.seed", "seed"),
        ("qqqq", None),
    ],
)
def test_the_nearest_key_is_sought_in_the_whole_tree(unknown: str, near: str | None) -> None:
    """A key in the wrong block, misspelt or abbreviated leads to the one that was meant."""
    _, message = problems(MINIMAL, f"{unknown}=1")
    assert (f"did you mean '{near}'?" if near else "known here:") in message


def test_ties_go_to_the_same_block() -> None:
    """Among equally near keys the one beside the unknown key is suggested."""
    known = [("a", "seed"), ("b", "seed")]
    assert nearest_key(("b", "sed"), known) == ("b", "seed")


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


# --- overrides


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


# --- files


def test_a_file_is_read_with_its_path_in_messages(tmp_path: Path) -> None:
    """Problems are placed at ``path:line``, as editors open it."""
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode() + b"seed: x\n")
    with pytest.raises(StudyFileError) as caught:
        load_study(path)
    assert f"{path}:4  seed: " in str(caught.value)
    assert caught.value.exit_code == 2
    assert load_study(path, overrides=["seed=3"]).seed == 3


def test_a_missing_file_suggests_its_neighbours(tmp_path: Path) -> None:
    """A misspelt file name leads to a near one in the same folder, else to `tuner init`."""
    (tmp_path / "steel.yaml").write_text(MINIMAL, encoding="utf-8")
    for name in ("steal.yaml", "steel", "steel.yml"):
        with pytest.raises(StudyFileError, match="does not exist") as caught:
            load_study(tmp_path / name)
        assert caught.value.do == f"did you mean '{tmp_path / 'steel.yaml'}'?"
    with pytest.raises(StudyFileError) as caught:
        load_study(tmp_path / "quite_another.yaml")
    assert "tuner init DATA -o" in caught.value.do
    with pytest.raises(StudyFileError) as caught:
        load_study(tmp_path / "nowhere" / "steel.yaml")
    assert f"there is no folder '{tmp_path / 'nowhere'}' either" in caught.value.do


def test_a_folder_is_not_a_study(tmp_path: Path) -> None:
    """A folder names the study files in it."""
    (tmp_path / "steel.yaml").write_text(MINIMAL, encoding="utf-8")
    with pytest.raises(StudyFileError, match="is a folder, not a study file") as caught:
        load_study(tmp_path)
    assert caught.value.do == f"name one of: {tmp_path / 'steel.yaml'}"


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    """A file that is not UTF-8 gives the byte, its line and the way out."""
    path = tmp_path / "x.yaml"
    path.write_bytes("name: x\n# Größe\n".encode("latin-1"))
    with pytest.raises(StudyFileError, match="is not UTF-8: byte 0xf6") as caught:
        load_study(path)
    assert caught.value.where == f"{path}:2"
    assert caught.value.do == "save it as UTF-8"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"# " + b"x" * module.MAX_BYTES, "larger than 256 KiB"), (b"\0", "is not allowed in YAML")],
)
def test_files_that_are_no_text_are_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    """A file of the wrong kind, say an image, is refused without reading all of it."""
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(StudyFileError, match=expected):
        load_study(path)


def test_unreadable_paths_are_one_message(tmp_path: Path) -> None:
    """What the system cannot open is an error of ours."""
    for path in (tmp_path / ("x" * 300), Path("a\0b")):
        with pytest.raises(StudyFileError, match=r"cannot be read: "):
            load_study(path)


# --- round trip

TEXT = st.text(min_size=1, max_size=30).filter(lambda text: "\0" not in text)
ODD = st.sampled_from(["no", "null", "~", "1e3", "0x1", "a: b", "# c", "<<", "- ", "\n\n x ", "é"])
PROBABILITY = st.floats(0, 1)


def ranges(low: float, high: float) -> st.SearchStrategy[tuple[float, float]]:
    """Two numbers in order."""
    return st.tuples(st.floats(low, high), st.floats(low, high)).map(
        lambda pair: (min(pair), max(pair))
    )


@st.composite
def studies(draw: st.DrawFn) -> StudyConfig:
    """Studies with every field drawn."""
    modes = ["none", "sqrt", "balanced", "effective_number"]
    counts, text = st.integers(1, 10**6), TEXT | ODD
    many = st.lists(text, max_size=4, unique=True).map(tuple)
    multiplier = st.tuples(st.integers(0, 8), st.integers(0, 8)).map(
        lambda pair: tuple(sorted(pair))
    )
    blocks = st.fixed_dictionaries(
        {
            "name": st.from_regex(r"\A[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\Z") | st.just("1e3"),
            "seed": st.integers(0, 2**31 - 1),
            "data": st.builds(
                DataConfig,
                source=text,
                root=st.none() | text,
                image_px=st.integers(32, 1024),
                group_by=st.none() | text,
                include=many,
                exclude=many,
            ),
            "split": st.builds(
                SplitConfig,
                test_fraction=st.floats(0, 0.5, exclude_min=True),
                folds=st.integers(2, 20),
            ),
            "backbone": st.builds(
                BackboneConfig, weights=text, precision=st.sampled_from(["float32", "bfloat16"])
            ),
            "search": st.builds(
                SearchConfig,
                trials=counts,
                sampler=st.sampled_from(["tpe", "random", "qmc", "gp"]),
                pruner=st.sampled_from(["median", "none"]),
                retries=st.integers(0, 9),
                batch=counts,
                gamma=ranges(0, 5),
                alpha=st.none() | ranges(0, 1),
                augmentation_multiplier=multiplier,
                class_weight_mode=st.lists(st.sampled_from(modes), min_size=1, unique=True).map(
                    tuple
                ),
            ),
            "objective": st.builds(
                ObjectiveConfig,
                metric=st.sampled_from(["macro_recall", "macro_f1", "g_mean", "mcc", "accuracy"]),
                recall_floor=st.none() | PROBABILITY,
            ),
            "augmentation": st.builds(
                AugmentationConfig,
                view_seed=st.integers(0, 2**31 - 1),
                rotation_deg=st.floats(0, 180),
                shift=PROBABILITY,
                zoom=ranges(1e-6, 100),
                flip=st.booleans(),
                cap=st.sampled_from(["largest", "none"]),
            ),
            "training": st.builds(
                TrainingConfig,
                hidden_units=counts,
                learning_rate=st.floats(1e-300, 1e300),
                dropout=st.floats(0, 1, exclude_max=True),
                min_learning_rate=st.floats(0, 1),
            ),
        }
    )
    return StudyConfig(**draw(blocks))


@quick
@given(studies())
def test_config_to_text_to_config_is_the_identity(config: StudyConfig) -> None:
    """Whatever a study holds, its text reads back as the same study."""
    assert parse_study(dump_study(config), source="dump") == config


@quick
@given(studies())
def test_the_dump_means_the_same_to_other_readers(config: StudyConfig) -> None:
    """PyYAML, which reads YAML 1.1, gives the same values as our reader of 1.2."""
    read = yaml.safe_load(dump_study(config))
    read["augmentation"]["cap"] = str(read["augmentation"]["cap"])
    assert StudyConfig.model_validate(read) == config


def test_the_dump_is_in_the_order_of_the_design() -> None:
    """Blocks come in the order of DESIGN section 11, ranges in one line."""
    text = dump_study(study())
    assert list(yaml.safe_load(text)) == [
        "name",
        "seed",
        "data",
        "split",
        "backbone",
        "search",
        "objective",
        "augmentation",
        "training",
    ]
    assert "  gamma: [0.0, 5.0]\n" in text
    assert "  class_weight_mode: [none, sqrt, balanced, effective_number]\n" in text


@quick
@given(st.text(max_size=200))
def test_any_text_is_a_study_or_one_error(text: str) -> None:
    """No text makes the reader fail in another way than with its own error."""
    with contextlib.suppress(StudyFileError):
        parse_study(MINIMAL + text, source="x.yaml")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@quick
@given(
    st.dictionaries(
        st.sampled_from(sorted(StudyConfig.model_fields)) | st.text(max_size=8),
        JUNK
        | st.dictionaries(
            st.sampled_from([*SearchConfig.model_fields, *AugmentationConfig.model_fields]), JUNK
        ),
    )
)
def test_any_tree_is_refused_in_plain_words(values: dict[str, Any]) -> None:
    """Values of any shape at any key give our words, never those of the libraries beneath."""
    try:
        parse_study(yaml.safe_dump(values), source="x.yaml")
    except StudyFileError as error:
        message = str(error)
        for jargon in ("pydantic", "Input should", "valid dictionary", "http", "Traceback"):
            assert jargon not in message
        assert "x.yaml" in message


# --- what the rest of the package asks


def test_alpha_depends_on_the_number_of_classes() -> None:
    """Unset limits end at cross-entropy for many classes and spare both ends for two."""
    assert resolve_alpha(study(), 3) == (0.05, 1.0)
    assert resolve_alpha(study(), 2) == (0.05, 0.95)
    chosen = study(search=SearchConfig(alpha=(0.0, 1.0)))
    assert resolve_alpha(chosen, 3) == (0.0, 1.0)
    assert resolve_alpha(study(search=SearchConfig(alpha=(0.01, 0.99))), 2) == (0.01, 0.99)
    with pytest.raises(ValueError, match="n_classes must be at least 2, not 1"):
        resolve_alpha(study(), 1)


@pytest.mark.parametrize("limits", [(0.0, 0.5), (0.5, 1.0), (1.0, 1.0)])
def test_two_classes_refuse_an_alpha_that_drops_one(limits: tuple[float, float]) -> None:
    """With two classes an alpha of 0 or 1 leaves one of them out of the loss."""
    with pytest.raises(StudyFileError) as caught:
        resolve_alpha(study(search=SearchConfig(alpha=limits)), 2)
    assert str(caught.value).startswith(f"search.alpha: {list(limits)} must lie above 0 and below")
    assert caught.value.do == "write 'alpha: [0.05, 0.95]' or leave it out"


def test_changes_that_mix_trials_are_named() -> None:
    """Every key but those of budget, sampling and place of the data must stay as it was."""
    new = parse_study(
        MINIMAL,
        source="x.yaml",
        overrides=[
            "search={trials: 9, retries: 0, sampler: gp, pruner: none, batch: 4}",
            "data={source: elsewhere, root: there}",
        ],
    )
    assert incomparable_changes(study(), new) == []
    changed = parse_study(
        MINIMAL,
        source="x.yaml",
        overrides=[
            "seed=1",
            "search.gamma=[0, 3]",
            "data.group_by=smear",
            "augmentation.flip=false",
        ],
    )
    assert incomparable_changes(study(), changed) == [
        "seed: 0 -> 1",
        "data.group_by: null -> smear",
        "search.gamma: [0.0, 5.0] -> [0.0, 3.0]",
        "augmentation.flip: true -> false",
    ]


def test_the_template_reads_back_with_every_value() -> None:
    """What `tuner init` writes is a whole study file: question, command, classes, values."""
    text = study_template(
        "steel",
        "data/steel.csv",
        classes={"scratch": 30, "dent": 4, "none": 500},
        image_px=128,
        group_by="plate",
        root="data/steel",
        trials=40,
        question="Which treatment finds the dents?",
    )
    read = parse_study(text, source="x.yaml")
    expected = StudyConfig(
        name="steel",
        data=DataConfig(
            source="data/steel.csv", root="data/steel", image_px=128, group_by="plate"
        ),
        search=SearchConfig(trials=40, alpha=(0.05, 1.0)),
    )
    assert read == expected
    lines = text.splitlines()
    assert lines[0] == "# Which treatment finds the dents?"
    assert any(line.startswith("# Run:    tuner run studies/steel.yaml") for line in lines)
    assert "# 534 images in 3 classes:" in lines
    assert "#   dent          4" in lines
    assert '  include: []  # only files like these, for example "*.jpg"; empty: all' in lines
    values = yaml.safe_load(text)
    assert {key: list(block) for key, block in values.items() if isinstance(block, dict)} == {
        key: list(block) for key, block in expected.model_dump().items() if isinstance(block, dict)
    }


def test_every_value_of_the_template_is_explained() -> None:
    """No key of the study file lacks its comment."""
    lines = study_template("a", "b", classes={}).splitlines()
    keys = [line for line in lines if ":" in line and not line.startswith("#")]
    blocks = {f"{name}:" for name in StudyConfig.model_fields}
    assert [line for line in keys if line not in blocks and "  # " not in line] == []
    assert max(map(len, lines)) <= 99


@quick
@given(TEXT | ODD, TEXT | ODD, st.dictionaries(st.text(max_size=12), st.integers(0, 99)), TEXT)
def test_the_template_is_safe_for_any_text(
    source: str, group: str, classes: dict[str, int], question: str
) -> None:
    """Quotes, line breaks and signs of YAML in names stay in their values and comments."""
    text = study_template(
        "steel", source, classes=classes, group_by=group, path=question, question=question
    )
    read = parse_study(text, source="x.yaml")
    assert (read.data.source, read.data.group_by) == (source, group)
    assert read.search.alpha == resolve_alpha(study(), 2 if len(classes) == 2 else 3)


def test_a_template_with_many_classes_stays_a_page() -> None:
    """Classes beyond a page are counted, not listed."""
    text = study_template("a", "b", classes={f"class {i}": i for i in range(200)})
    assert "#   … and 140 more\n" in text
    assert "# 19900 images in 200 classes:" in text


def test_a_template_refuses_what_a_study_refuses() -> None:
    """A name that no study may have is refused before a file is written."""
    with pytest.raises(StudyFileError, match="name: must be 1 to 100 letters"):
        study_template("a b", "data", classes={})


@quick
@given(st.text())
def test_any_folder_name_becomes_a_study_name(text: str) -> None:
    """The name proposed for a folder is always one that a study may have."""
    name = safe_study_name(text)
    assert parse_study(f'name: "{name}"\ndata: {{source: a}}\n', source="x").name == name


@pytest.mark.parametrize(
    ("text", "name"),
    [("steel", "steel"), ("My Data!", "My_Data"), ("..x", "x"), ("鋼", "study"), ("", "study")],
)
def test_proposed_names_are_close(text: str, name: str) -> None:
    """A name keeps what it can of the folder's."""
    assert safe_study_name(text) == name


def test_every_rule_can_be_said() -> None:
    """Each field of the study file has a rule in words."""
    for block in StudyConfig.model_fields.values():
        fields = getattr(block.annotation, "model_fields", {"": block})
        for info in fields.values():
            assert describe_rule(info.annotation, info.metadata)


@pytest.mark.slow
def test_the_import_is_quick() -> None:
    """Reading study files costs `tuner --help` next to nothing beside pydantic and PyYAML."""
    code = (
        "import time, pydantic, yaml, pydantic.fields\n"
        "class Warm(pydantic.BaseModel):\n    x: int = 0\n"
        "start = time.perf_counter()\nimport tuner.config\n"
        "print(time.perf_counter() - start)"
    )
    taken = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True,
                             text=True, cwd=STUDIES.parent).stdout)
        for _ in range(3)
    )  # fmt: skip
    assert taken < 0.15
