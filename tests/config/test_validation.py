"""What is said of a study file that is not accepted."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.config.made import MINIMAL, problem, problems, quick, study
from tuner.config import AugmentationConfig, SearchConfig, StudyConfig, parse_study
from tuner.config.validation import describe_rule, nearest_key
from tuner.errors import StudyFileError
from tuner.evaluation.metrics import METRICS
from tuner.imbalance.weights import CLASS_WEIGHT_MODES


def test_an_empty_block_holds_its_defaults() -> None:
    """A block whose lines are all commented out is a block with no keys."""
    text = MINIMAL + "search:\n  # trials: 5\nobjective:\n"
    assert parse_study(text, source="x.yaml") == study()


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
    modes = ", ".join(map(repr, CLASS_WEIGHT_MODES))
    metrics = ", ".join(map(repr, METRICS))
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
        "x.yaml:9  backbone: must be a block of keys (weights, precision, engine, model), "
        "not [imagenet]",
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
        "--set search.batch=0  search.batch: must be a whole number of at least 1, or null, not 0",
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
        for jargon in ("pydantic", "Input should", "valid dictionary", "https://", "Traceback"):
            assert jargon not in message
        assert "x.yaml" in message


def test_every_rule_can_be_said() -> None:
    """Each field of the study file has a rule in words."""
    for block in StudyConfig.model_fields.values():
        fields = getattr(block.annotation, "model_fields", {"": block})
        for info in fields.values():
            assert describe_rule(info.annotation, info.metadata)
