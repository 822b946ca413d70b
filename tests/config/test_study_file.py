"""Study files on disk, and that they round-trip."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.config.made import MINIMAL, ODD, STUDIES, TEXT, quick, study
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
    load_study,
    parse_stored,
    parse_study,
)
from tuner.config.study_file import MAX_BYTES
from tuner.errors import StudyFileError
from tuner.evaluation.metrics import METRICS
from tuner.imbalance.weights import CLASS_WEIGHT_MODES

HEAVY = {"keras", "tensorflow", "jax", "optuna", "mlflow", "pandas", "scipy", "sklearn", "PIL"}


def test_the_design_example_reads() -> None:
    """A study file with every common key is accepted as it stands."""
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


def test_windows_files_read() -> None:
    """A byte order mark and CRLF line ends change nothing."""
    text = MINIMAL.replace("\n", "\r\n")
    assert parse_study(text, source="x.yaml") == study()


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
    [(b"# " + b"x" * MAX_BYTES, "larger than 256 KiB"), (b"\0", "is not allowed in YAML")],
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


PROBABILITY = st.floats(0, 1)


def ranges(low: float, high: float) -> st.SearchStrategy[tuple[float, float]]:
    """Two numbers in order."""
    return st.tuples(st.floats(low, high), st.floats(low, high)).map(
        lambda pair: (min(pair), max(pair))
    )


@st.composite
def studies(draw: st.DrawFn) -> StudyConfig:
    """Studies with every field drawn."""
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
                BackboneConfig,
                weights=text,
                precision=st.sampled_from(["float32", "bfloat16"]),
                engine=st.sampled_from(["auto", "keras", "openvino", None]),
                model=st.none() | text,
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
                class_weight_mode=st.lists(
                    st.sampled_from(CLASS_WEIGHT_MODES), min_size=1, unique=True
                ).map(tuple),
            ),
            "objective": st.builds(
                ObjectiveConfig,
                metric=st.sampled_from(list(METRICS)),
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
    """Blocks come in the order of docs/architecture.md, "The study file", ranges in one line."""
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
        "records",
    ]
    assert "  gamma: [0.0, 5.0]\n" in text
    assert f"  class_weight_mode: [{', '.join(CLASS_WEIGHT_MODES)}]\n" in text


@quick
@given(st.text(max_size=200))
def test_any_text_is_a_study_or_one_error(text: str) -> None:
    """No text makes the reader fail in another way than with its own error."""
    with contextlib.suppress(StudyFileError):
        parse_study(MINIMAL + text, source="x.yaml")


def test_reading_a_study_file_loads_no_heavy_library() -> None:
    """`tuner --help` knows the keys of a study file and answers at once."""
    code = f"import sys, tuner.config; print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        text=True,
        cwd=STUDIES.parent,
    )
    assert done.stdout.strip() == "[]"


def test_a_stored_study_from_before_engines_has_none() -> None:
    """A new study file leaves the engine open; a study that began without keeps to that."""
    text = dump_study(study())
    before = text.replace("  engine: auto\n", "")
    assert before != text
    assert parse_study(before, source="x.yaml").backbone.engine == "auto"
    assert parse_stored(before, source="x.yaml").backbone.engine is None
    assert parse_stored(text, source="x.yaml") == study()
