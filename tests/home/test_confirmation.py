from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape
from pydantic import ValidationError

from tuner.errors import StudyError
from tuner.home.confirmation import Confirmation, load_confirmation
from tuner.home.study_folder import StudyFolder

WRITTEN = Path(__file__).with_name("confirmation.json")  # by `tuner confirm` 0.1.0, fewer models


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """As much of a study of five classes as a confirmation is read with."""
    about = {"class_names": list("abcde"), "data_fingerprint": "", "split_fingerprint": ""}
    (tmp_path / "about.json").write_text(json.dumps(about))
    return StudyFolder(tmp_path)


@pytest.fixture
def changed(folder: StudyFolder) -> Callable[[Callable[[Any], Any]], StudyFolder]:
    """The study with a confirmation that was changed by hand."""

    def change(by: Callable[[Any], Any]) -> StudyFolder:
        values = json.loads(WRITTEN.read_text("utf-8"))
        by(values)
        (folder.path / "confirmation.json").write_text(json.dumps(values), "utf-8")
        return folder

    return change


def test_a_file_is_written_again_byte_for_byte(folder):
    """Keys, their order, indent and every digit are those of the version that wrote it."""
    text = WRITTEN.read_text("utf-8")
    (folder.path / "confirmation.json").write_text(text, "utf-8")
    found = load_confirmation(folder)
    assert found.as_json() == text
    assert found.chosen_model.key == found.chosen


def test_a_notebook_shows_the_verdict_and_both_tables(changed):
    """The verdict stands in bold, every model of retest and test in a row, user's text escaped."""
    found = load_confirmation(changed(lambda values: values["retest"][0].update(title="<b>x")))
    html = found._repr_html_()
    assert f"<b>{escape(found.verdict.sentence)}</b>" in html
    assert html.count("<tr") == 2 + len(found.retest) + len(found.test.models)
    assert html.count('<tr class="strong">') == 2
    assert "&lt;b&gt;x" in html
    assert "<b>x" not in html


def test_printed_it_is_its_verdict(changed):
    """`print` shows the sentence, not the fields of the file."""
    found = load_confirmation(changed(lambda values: None))
    assert str(found.verdict) == found.verdict.sentence
    assert str(found) == f"<Confirmation of {found.chosen_model.title}: {found.verdict.sentence}>"


def test_before_the_first_confirmation_there_is_none(folder):
    """A study without the file has not been confirmed."""
    assert load_confirmation(folder) is None


def test_keys_of_a_later_version_are_let_through(changed):
    """A key that this version does not know is kept, at the end of its block."""

    def add(values: Any) -> None:
        values["power"] = 0.8
        values["test"]["models"][0]["auc"] = 0.9

    text = load_confirmation(changed(add)).as_json()
    assert json.loads(text)["power"] == 0.8
    assert json.loads(text)["test"]["models"][0]["auc"] == 0.9


def test_it_cannot_be_changed(changed):
    """What was found stays what was found."""
    found = load_confirmation(changed(lambda values: None))
    with pytest.raises(ValidationError, match="frozen"):
        found.chosen = "trial-00000"


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        (lambda v: v.pop("test"), "test: Field required"),
        (lambda v: v["retest"][1].pop("mean"), r"retest\.1\.mean: Field required"),
        (lambda v: v.update(chosen="trial-00009"), "no model 'trial-00009' was tested"),
        (lambda v: v["test"].update(support=[1, 2]), "is not of 2 classes"),
        (lambda v: v["test"]["comparisons"][0]["classes"].pop(), "a comparison is not of 5"),
        (
            lambda v: v["optimism"].update(test=float("nan")),
            "optimism.test: Input should be a fin",
        ),
        (lambda v: v.update(schema=2), "it has schema 2, this version reads 1"),
        (lambda v: v.pop("schema"), "it has schema None, this version reads 1"),
    ],
)
def test_what_does_not_fit_is_named(changed, by, reason):
    """A missing, wrong or unfitting part is one message: what, where, and what to do."""
    folder = changed(by)
    with pytest.raises(
        StudyError, match=rf"the confirmation cannot be read: .*{reason}"
    ) as caught:
        load_confirmation(folder)
    assert caught.value.where == str(folder.path / "confirmation.json")
    assert caught.value.do.endswith(f"tuner confirm {folder.name} --again")


def test_it_is_of_the_classes_of_its_study(changed):
    """The confirmation of another study does not pass for this one's."""
    folder = changed(lambda values: None)
    about = json.loads((folder.path / "about.json").read_text()) | {"class_names": ["a", "b"]}
    (folder.path / "about.json").write_text(json.dumps(about))
    with pytest.raises(StudyError, match="it is not of 2 classes"):
        load_confirmation(StudyFolder(folder.path))


def test_the_chosen_setting_was_compared_with_cross_entropy(changed):
    """Without that comparison there is no gain to show."""

    def choose_another(values: Any) -> None:
        values["chosen"] = values["test"]["models"][-1]["key"]
        pairs = values["test"]["comparisons"]
        values["test"]["comparisons"] = [p for p in pairs if not p["against"].endswith("_entropy")]

    with pytest.raises(StudyError, match="was not compared with 'baseline-cross_entropy'"):
        load_confirmation(changed(choose_another))


def test_the_form_has_no_default_for_what_was_found():
    """Filled in are the number of the schema, and the decision where no costs were asked for."""
    required = {name for name, field in Confirmation.model_fields.items() if field.is_required()}
    assert set(Confirmation.model_fields) - required == {"schema_", "decision"}
