"""The commented study file that `tuner init` writes."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.config.made import ODD, TEXT, quick, study
from tuner.config import (
    DataConfig,
    SearchConfig,
    StudyConfig,
    parse_study,
    resolve_alpha,
    safe_study_name,
    study_template,
)
from tuner.errors import StudyFileError


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
            source="data/steel.csv",
            root="data/steel",
            image_px=128,
            group_by="plate",
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


def test_what_was_proposed_is_commented() -> None:
    """Keys that init found stand with the reason; a long one above its key."""
    columns = {"path": "image_id", "label": ["MEL", "NV"], "group": None, "split": None}
    text = study_template(
        "a",
        "b.csv",
        classes={"MEL": 3, "NV": 9},
        keys={"data.columns": columns, "data.images": ["x", "y"], "augmentation.flip": False},
        remarks={"data.columns.label": "2 classes", "data.columns.group": "seen " * 30},
    )
    read = parse_study(text, source="x.yaml")
    assert read.data.columns is not None
    assert read.data.columns.label == ("MEL", "NV")
    assert (read.data.images, read.augmentation.flip) == (("x", "y"), False)
    lines = text.splitlines()
    assert "    label: [MEL, NV]  # 2 classes" in lines
    assert lines[lines.index("    group: null") - 1].startswith("    # seen seen")
    assert max(map(len, lines)) <= 99
