"""What a study file accepts, and its defaults."""

from __future__ import annotations

import pytest

from tests.config.made import MINIMAL, problems, study
from tuner.config import SearchConfig, StudyConfig, dump_study, parse_study, resolve_alpha
from tuner.errors import StudyFileError
from tuner.setting import HYPERPARAMETERS


def test_defaults_are_the_contract() -> None:
    """A study with a name and a source holds the fixed recipe of docs/architecture.md."""
    assert parse_study(MINIMAL, source="x.yaml").model_dump() == {
        "name": "steel",
        "seed": 0,
        "data": {
            "source": "data/steel",
            "root": None,
            "images": (),
            "columns": None,
            "class_names": None,
            "image_px": 224,
            "group_by": "auto",
            "range": "full",
            "include": (),
            "exclude": (),
            "follow_links": False,
            "min_images": 1,
            "rest": None,
            "sample": None,
        },
        "split": {"test_fraction": 0.2, "folds": 3},
        "backbone": {
            "weights": "imagenet",
            "precision": "float32",
            "engine": "auto",
            "model": None,
        },
        "search": {
            "trials": 60,
            "sampler": "tpe",
            "pruner": "median",
            "retries": 3,
            "batch": None,
            **{
                n: None if h.default_two_classes else h.default for n, h in HYPERPARAMETERS.items()
            },
        },
        "objective": {"metric": "macro_recall", "recall_floor": None},
        "augmentation": {
            "view_seed": 0,
            "rotation_deg": 20.0,
            "shift": 0.2,
            "zoom": (0.8, 1.2),
            "flip": True,
            "strength": 1.0,
            "fill": "nearest",
            "cap": "largest",
            "policy": "minority",
        },
        "training": {
            "mode": "bank",
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
        "records": {"predictions": "auto", "best": 5},
    }


def test_defaults_obey_their_own_rules() -> None:
    """No default lies outside the bounds of its field."""
    StudyConfig.model_validate(study().model_dump())


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


@pytest.mark.parametrize("written", ["none", "null", "~", '"none"'])
def test_cap_none_may_be_null(written: str) -> None:
    """No cap is `none`; `null` can mean nothing else there."""
    read = parse_study(f"{MINIMAL}augmentation: {{cap: {written}}}\n", source="x.yaml")
    assert read.augmentation.cap == "none"


def test_a_study_is_frozen() -> None:
    """A config cannot be changed after it was read."""
    with pytest.raises(ValueError, match="frozen"):
        study().seed = 1  # type: ignore[misc]


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


@pytest.mark.parametrize("written", ["auto", "full", "[0, 4095]", "[-1024.0, 3071.5]"])
def test_a_range_is_two_words_or_two_rising_numbers(written: str) -> None:
    """What is written comes back from the stored file as it was."""
    text = f"name: x\ndata: {{source: d, range: {written}}}\n"
    study = parse_study(text, source="x.yaml")
    assert parse_study(dump_study(study), source="y.yaml").data.range == study.data.range
    assert StudyConfig.model_validate(study.model_dump(mode="json")) == study
    assert study.data.range in ("auto", "full", (0.0, 4095.0), (-1024.0, 3071.5))


@pytest.mark.parametrize("written", ["[4095, 0]", "[1, 1]", "[0]", "most", "[0, .inf]", "[no, 1]"])
def test_other_ranges_are_refused(written: str) -> None:
    """One message says what may be written."""
    with pytest.raises(StudyFileError, match="must be auto, full, or the values"):
        parse_study(f"name: x\ndata: {{source: d, range: {written}}}\n", source="x.yaml")


COLUMNS = "{path: image_id, label: dx, group: lesion_id, split: null}"


def test_columns_of_a_label_file() -> None:
    """By name, by number, and one a class: all come back as they were written."""
    for text, label in ((COLUMNS, "dx"), ("{path: 1, label: 2}", 2)):
        read = parse_study(MINIMAL, source="x", overrides=[f"data.columns={text}"]).data.columns
        assert read is not None
        assert read.label == label
    one_hot = parse_study(
        MINIMAL, source="x", overrides=["data.columns={path: a, label: [MEL, NV]}"]
    )
    assert one_hot.data.columns is not None
    assert one_hot.data.columns.label == ("MEL", "NV")
    assert parse_study(dump_study(one_hot), source="y") == one_hot


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.columns={path: a}", "data.columns.label: missing; write for example 'label: dx'"),
        ("data.columns={path: a, labl: b}", "did you mean 'data.columns.label'?"),
        ("data.columns={path: 0, label: b}", "data.columns.path: must be the name of a column"),
        ("data.columns={path: a, label: [b]}", "two and more different ones, not [b]"),
        ("data.columns=dx", "data.columns: must be a block of keys (path, label, group, split)"),
        ("data.class_names=[a, 1]", "data.class_names: must be names in the order"),
        ("data.min_images=0", "data.min_images: must be a whole number of at least 1, not 0"),
    ],
)
def test_columns_that_cannot_be_meant(override: str, message: str) -> None:
    """Each mistake in the block is named with its key."""
    _, told = problems(MINIMAL, override)
    assert message in told


@pytest.mark.parametrize("value", ["[sound, cracked]", "{3: sound, 7: cracked}", "names.txt"])
def test_names_of_classes_come_back(value: str) -> None:
    """A list, a block and a file are written as they were read."""
    read = parse_study(MINIMAL, source="x", overrides=[f"data.class_names={value}"])
    assert read.data.class_names is not None
    assert parse_study(dump_study(read), source="y") == read
