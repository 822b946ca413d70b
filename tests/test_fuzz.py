"""Whatever a text file of the user's holds, it is used as it says or refused in one message."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.report.made_study import make_study
from tuner.config import dump_study, parse_study
from tuner.data.labels.listing import LabelFile, list_labels
from tuner.errors import DataError, ExportError, StudyFileError, TunerError, UsageError
from tuner.model.export import build_export, choose_record
from tuner.model.export_file import load_export, write_export

STUDIES = sorted((Path(__file__).parents[1] / "studies").glob("*.yaml"))
TEXTS = [path.read_text("utf-8") for path in STUDIES]
TEXTS += [dump_study(parse_study(text, source="x.yaml")) for text in TEXTS]
HOSTILE = [
    "", "null", "[", "]", "{", "}", ": ", "- ", "? ", "|", "'", '"', "&a ", "*a", "<<: *a", "\t",
    "!!python/object/apply:os.system [x]", "!!binary aGk=", "!!set {a}", "%YAML 9.9\n", "---\n",
    "1e999", "-1", ".nan", ".inf", "9" * 5000, "0x" + "f" * 400, '"\\UFFFFFFFF"', "\0", "\x85",
    "\u2028", "\ufeff", "é", "no", "2024-01-01", "[" * 300, "path", "label", ",", ";", "\r", "\\",
    "../", "/etc/passwd", "a" * 5000, "x\0y",
]  # fmt: skip
PLAIN_VALUES = st.sampled_from(
    [None, "x", "", -1, 0, 1, 2, 0.5, 1e400, float("nan"), 10**30, True, [], [1], {}, {"x": 1}]
)
fuzz = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@st.composite
def mutated(draw: st.DrawFn, texts: list[str]) -> str:
    """One of the texts after one to four accidents of an editor, or a malicious hand."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        lines = text.split("\n")
        i = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(["insert", "cut", "drop", "repeat", "value", "letter", "in"]))
        if kind == "insert":
            text = text[:at] + draw(st.sampled_from(HOSTILE)) + text[at:]
            continue
        if kind in ("cut", "letter"):
            text = text[:at] + (draw(st.characters()) + text[at + 1 :]) * (kind == "letter")
            continue
        key = lines[i].partition(":")[0]
        lines[i : i + 1] = {
            "drop": [],
            "repeat": [lines[i]] * 2,
            "value": [f"{key}: {draw(st.sampled_from(HOSTILE))}"],
            "in": [" " * draw(st.integers(0, 5)) + lines[i].lstrip()],
        }[kind]
        text = "\n".join(lines)
    return text


def read_as_a_study(text: str) -> None:
    """A text is a study that survives being written, or one message with exit code 2."""
    try:
        config = parse_study(text, source="x.yaml")
    except StudyFileError as error:
        assert error.exit_code == 2  # noqa: PT017  # it may be raised, and then is this
        assert "x.yaml" in str(error)  # noqa: PT017
        return
    assert parse_study(dump_study(config), source="y.yaml") == config


@settings(fuzz, max_examples=100)
@given(text=mutated(TEXTS))
def test_a_study_file_is_read_or_refused(text):
    """A hundred mutations of the bundled studies never end in a traceback."""
    read_as_a_study(text)


@pytest.mark.slow
@settings(fuzz, max_examples=1000)
@given(text=mutated(TEXTS))
def test_a_study_file_is_read_or_refused_a_thousand_times(text):
    """Nor do a thousand."""
    read_as_a_study(text)


def keys_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Path of every key in nested mappings and lists, of lists the first two items."""
    if isinstance(value, dict):
        items = list(value.items())
    else:
        items = list(enumerate(value[:2])) if isinstance(value, list) else []
    return [found for k, v in items for found in [(*path, k), *keys_of(v, (*path, k))]]


def changed(value: Any, path: tuple[Any, ...], change: Any) -> Any:
    """A copy in which `change` has been applied to the block around the last key, and that key."""
    value = copy.deepcopy(value)
    block = value
    for key in path[:-1]:
        block = block[key]
    change(block, path[-1])
    return value


COMPLETE = yaml.safe_load(TEXTS[-1])
KEYS = [path for path in keys_of(COMPLETE) if isinstance(path[-1], str)]


@settings(fuzz, max_examples=60)
@given(path=st.sampled_from(KEYS), at=st.integers(0, 30), letter=st.sampled_from("aexz_ s"))
def test_a_misspelt_key_is_never_a_default(path, at, letter):
    """One wrong letter in any key of a complete study file is refused, naming that key."""
    key = path[-1]
    wrong = key[: at % (len(key) + 1)] + letter + key[at % (len(key) + 1) :]
    siblings = COMPLETE
    for part in path[:-1]:
        siblings = siblings[part]
    assume(wrong.strip() not in siblings)
    tree = changed(COMPLETE, path, lambda block, k: block.__setitem__(wrong, block.pop(k)))
    with pytest.raises(StudyFileError) as caught:
        parse_study(yaml.safe_dump(tree, sort_keys=False), source="x.yaml")
    assert wrong.strip() in str(caught.value)


MANIFEST = (
    "path,label,group,split\na/1.png,x,g1,train\na/2.png,y,g2,test\n"
    '"a/3,.png",z,g1,val\na\\4.png,x,g 2,train\n'
)


@settings(fuzz, max_examples=150)
@given(
    text=mutated([MANIFEST, MANIFEST.replace(",", ";")]), group_by=st.sampled_from([None, "group"])
)
def test_a_manifest_is_read_or_refused(tmp_path_factory, text, group_by):
    """Mutations of a manifest list files below its folder, or end in one message."""
    folder = tmp_path_factory.getbasetemp() / "manifest"
    (folder / "a").mkdir(parents=True, exist_ok=True)
    (folder / "a" / "1.png").write_bytes(b"")
    (folder / "m.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        file = LabelFile(source=str(folder / "m.csv"), group_by=group_by)
        _, listing = list_labels(file, home=folder)
    except DataError as error:
        assert error.exit_code == 1  # noqa: PT017
        assert str(folder) in str(error)  # noqa: PT017
        return
    for entry in listing.entries:
        assert not entry.path.startswith(("/", "../"))
        assert entry.label
        entry.path.encode()


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[dict[str, Any], str]:
    """A sound export as plain values and as text."""
    home = tmp_path_factory.mktemp("home")
    folder = make_study(home, ["a", "b", "<c>"], trials=3)
    content = build_export(folder, choose_record(folder), tau=1.0)
    write_export(content, home / "best.yaml")
    return content, (home / "best.yaml").read_text("utf-8")


def read_as_an_export(path: Path) -> None:
    """A file is an export whose every part can be used, or one message."""
    try:
        export = load_export(path)
    except (ExportError, UsageError, StudyFileError) as error:
        assert error.exit_code in (1, 2)  # noqa: PT017
        assert str(path) in str(error)  # noqa: PT017
        return
    n = len(export.record["classes"])
    assert export.matrix.shape == (n, n)
    assert len(export.final_learning_rates) == export.final_epochs > 0
    assert 0 <= export.params.gamma <= 5
    assert 0 <= export.params.alpha <= 1
    assert 0 <= export.params.augmentation_multiplier <= 8


@settings(fuzz, max_examples=150)
@given(data=st.data())
def test_an_export_with_a_changed_value_is_read_or_refused(tmp_path_factory, exported, data):
    """Any value of an export replaced or gone: it can be used, or it is refused by name."""
    path = data.draw(st.sampled_from([p for p in keys_of(exported[0]) if len(p) <= 4]))
    new = data.draw(PLAIN_VALUES)
    is_gone = data.draw(st.booleans())

    def change(block: Any, key: Any) -> None:
        if is_gone:
            del block[key]
        else:
            block[key] = new

    file = tmp_path_factory.getbasetemp() / "changed.yaml"
    file.write_text(yaml.safe_dump(changed(exported[0], path, change), sort_keys=False), "utf-8")
    read_as_an_export(file)


@settings(fuzz, max_examples=60)
@given(data=st.data())
def test_an_export_in_any_broken_form_is_refused(tmp_path_factory, exported, data):
    """Mutations of the text of an export never end in a traceback."""
    file = tmp_path_factory.getbasetemp() / "mutated.yaml"
    text = data.draw(mutated([exported[1]]))
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(TunerError):
        load_export(file)
