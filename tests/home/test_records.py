from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.errors import StudyError
from tuner.home.records import (
    Record,
    load_log_prob,
    load_record,
    load_records,
    save_record,
    winner,
)
from tuner.setting import Setting

RECORD = Record(
    kind="trial",
    name="trial-00003",
    number=3,
    params=Setting(1.5, 0.25, 4, "sqrt"),
    state="complete",
    reason=None,
    value=0.75,
    matrix=[[9, 1], [2, 2]],
    scores={"macro_recall": 0.7, "min_recall": 0.5},
    curves={"objective": [0.5, 0.75], "val/recall": [[0.9, 0.1], [0.9, 0.5]]},
    best_epochs=[0, 1],
    learning_rates=[[1e-4, 1e-4], [1e-4, 2e-5]],
    rows=[[8, 8], [9, 9]],
    class_weights=[[1.0, 1.0], [1.0, 1.0]],
    constraints={"recall_floor": -0.1},
    seeds={"study_seed": 0, "view_seed": 0},
    environment={"backend": "jax 0.10", "device": "2 × Gerät"},
    started_s=1.25,
    ended_s=2.5,
)
LOG_PROB = np.log(np.array([[0.9, 0.1], [0.25, 0.75]], dtype=np.float32))


def record(name: str, value: float | None, **others: object) -> Record:
    """A record that is like `RECORD` but for a few fields."""
    kind = name.split("-")[0]
    number = int(name.split("-")[1]) if kind == "trial" else None
    return replace(RECORD, kind=kind, name=name, number=number, value=value, **others)


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    value=st.none() | finite,
    curve=st.lists(finite),
    reason=st.none() | st.text(),
    state=st.sampled_from(["complete", "pruned", "failed"]),
)
def test_record_survives_the_disk(
    tmp_path_factory: pytest.TempPathFactory,
    value: float | None,
    curve: list[float],
    reason: str | None,
    state: str,
) -> None:
    """Every float, text and list comes back exactly."""
    folder = tmp_path_factory.mktemp("records")
    written = replace(RECORD, value=value, reason=reason, state=state, curves={"objective": curve})
    save_record(folder, written, log_prob=None)
    assert load_record(folder / "trial-00003.json") == written


def test_probabilities_survive_the_disk(tmp_path: Path) -> None:
    """Log probabilities come back as the same float32 numbers, also minus infinity."""
    table = np.vstack([LOG_PROB, np.array([[-np.inf, 0]], dtype=np.float32)])
    save_record(tmp_path, RECORD, log_prob=table)
    found = load_log_prob(tmp_path, RECORD.name)
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, table)


def test_record_without_probabilities_has_none(tmp_path: Path) -> None:
    """A trial that failed before its first report has no table."""
    save_record(tmp_path, RECORD, log_prob=None)
    assert load_log_prob(tmp_path, RECORD.name) is None


def test_a_table_without_its_record_is_not_taken_for_another_attempts(tmp_path: Path) -> None:
    """What an attempt left that died before its JSON does not show up in a later record."""
    save_record(tmp_path, RECORD, log_prob=LOG_PROB)
    (tmp_path / "trial-00003.json").unlink()
    save_record(tmp_path, replace(RECORD, state="failed"), log_prob=None)
    assert load_log_prob(tmp_path, RECORD.name) is None


def test_files_are_plain_json_and_npz_without_pickle(tmp_path: Path) -> None:
    """Both files can be read by others, and neither can hold code."""
    save_record(tmp_path, RECORD, log_prob=LOG_PROB)
    assert sorted(os.listdir(tmp_path)) == ["trial-00003.json", "trial-00003.npz"]
    text = (tmp_path / "trial-00003.json").read_text("utf-8")
    assert json.loads(text)["params"]["class_weight_mode"] == "sqrt"
    with np.load(tmp_path / "trial-00003.npz", allow_pickle=False) as stored:
        assert stored.files == ["log_prob"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_not_a_number_is_never_written(tmp_path: Path, bad: float) -> None:
    """JSON has no NaN: such a record is a bug, and leaves nothing on disk."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_record(tmp_path, replace(RECORD, value=bad), log_prob=None)
    assert os.listdir(tmp_path) == []


def test_json_appears_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record exists once its JSON does, so its table must be there before."""
    renamed = []
    original = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda path, to: (renamed.append(to.name), original(path, to))[1]
    )
    save_record(tmp_path, RECORD, log_prob=LOG_PROB)
    assert renamed == ["trial-00003.npz", "trial-00003.json"]


def test_half_written_record_is_no_record(tmp_path: Path) -> None:
    """What a killed process left under a temporary name is not read."""
    save_record(tmp_path, RECORD, log_prob=LOG_PROB)
    (tmp_path / ".trial-00004.json.77.tmp").write_text('{"kind": "tri')
    assert [r.name for r in load_records(tmp_path)] == ["trial-00003"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"[1]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"schema": 1}',
        b'{"schema": 1, "params": 3}',
        json.dumps({**asdict(RECORD), "extra": 1}).encode(),
        json.dumps({**asdict(RECORD), "params": {"gamma": 1}}).encode(),
        json.dumps(asdict(RECORD)).encode()[:-20],
    ],
)
def test_damaged_record_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    """Whatever the file holds, the message names it and says what can be done."""
    path = tmp_path / "trial-00003.json"
    path.write_bytes(content)
    with pytest.raises(StudyError) as caught:
        load_records(tmp_path)
    assert str(path) in str(caught.value)
    assert "backup" in str(caught.value) or "schema" in str(caught.value)


def test_record_of_another_version_is_refused(tmp_path: Path) -> None:
    """A newer schema is not guessed at."""
    (tmp_path / "trial-00003.json").write_text(json.dumps({**asdict(RECORD), "schema": 2}))
    with pytest.raises(StudyError, match="schema 2, this version reads 1"):
        load_records(tmp_path)


def test_damaged_table_is_one_clear_error(tmp_path: Path) -> None:
    """Cut anywhere, or with any byte flipped, a table is refused or unharmed, never wrong."""
    save_record(tmp_path, RECORD, log_prob=LOG_PROB)
    path = tmp_path / "trial-00003.npz"
    whole = path.read_bytes()
    damaged = [whole[:n] for n in range(0, len(whole), 7)]
    damaged += [whole[:i] + bytes([whole[i] ^ 0x55]) + whole[i + 1 :] for i in range(len(whole))]
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            np.testing.assert_array_equal(load_log_prob(tmp_path, RECORD.name), LOG_PROB)
        except StudyError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
    assert refused > len(damaged) / 2


def test_records_come_in_the_order_of_training(tmp_path: Path) -> None:
    """Baselines as the design lists them whenever they were trained, trials by number."""
    names = ["trial-00010", "trial-00002", "baseline-published_recipe", "baseline-balanced"]
    for place, name in enumerate([*names, "baseline-cross_entropy"]):
        save_record(tmp_path, record(name, 0.5, started_s=float(place)), log_prob=None)
    assert [r.name for r in load_records(tmp_path)] == [
        "baseline-cross_entropy",
        "baseline-balanced",
        "baseline-published_recipe",
        "trial-00002",
        "trial-00010",
    ]


def test_no_folder_no_records(tmp_path: Path) -> None:
    """A study that has not begun has no records."""
    assert load_records(tmp_path / "absent") == []


def test_recall_is_that_of_the_matrix() -> None:
    """Rows are true classes; a class without images has recall 0."""
    assert RECORD.recall == [0.9, 0.5]
    assert replace(RECORD, matrix=[[0, 0], [1, 3]]).recall == [0.0, 0.75]
    assert replace(RECORD, matrix=[]).recall == []


def test_feasible_means_every_constraint_at_most_zero() -> None:
    """Optuna's rule: 0 is feasible, and only what is above it counts as violation."""
    assert replace(RECORD, constraints={}).is_feasible
    assert replace(RECORD, constraints={"a": 0.0}).is_feasible
    broken = replace(RECORD, constraints={"a": -0.5, "b": 0.25})
    assert not broken.is_feasible
    assert broken.violation == 0.25


class TestWinner:
    """The best feasible complete record of trials and baselines."""

    def test_is_the_best(self) -> None:
        """The largest objective wins, also a baseline's or a negative one's."""
        baseline, trial = record("baseline-balanced", 0.8), record("trial-00000", 0.7)
        assert winner([baseline, trial]) is baseline
        assert winner([trial]) is trial
        negative = [record("trial-00000", -0.5), record("trial-00001", -0.25)]
        assert winner(negative) is negative[1]

    def test_tie_goes_to_the_earlier(self) -> None:
        """A trial that is only as good as a baseline does not beat it, nor a later trial."""
        records = [record(f"trial-{i:05d}", 0.7) for i in range(3)]
        assert winner(records) is records[0]
        baseline = record("baseline-balanced", 0.7)
        assert winner([baseline, *records]) is baseline

    def test_pruned_and_failed_never_win(self) -> None:
        """Training that was cut short has a value, but cannot be exported."""
        good = record("trial-00002", 0.1)
        others = [
            record("trial-00000", 0.9, state="pruned"),
            record("trial-00001", 0.9, state="failed", reason="NaN"),
        ]
        assert winner([*others, good]) is good
        assert winner(others) is None

    def test_confirm_runs_do_not_compete(self) -> None:
        """Runs with other seeds are no candidates."""
        assert winner([record("confirm-0", 0.9)]) is None

    def test_feasible_beats_better(self) -> None:
        """What meets the floor wins over a larger objective that does not."""
        feasible = record("trial-00001", 0.5, constraints={"recall_floor": 0.0})
        better = record("trial-00000", 0.9, constraints={"recall_floor": 0.01})
        assert winner([better, feasible]) is feasible

    def test_least_violating_when_nothing_is_feasible(self) -> None:
        """When nothing meets the floor, the nearest to it is shown, whatever its objective."""
        near = record("trial-00001", 0.5, constraints={"recall_floor": 0.1})
        far = record("trial-00000", 0.9, constraints={"recall_floor": 0.2})
        assert winner([far, near]) is near

    def test_nothing_finished_no_winner(self) -> None:
        """An empty study has no winner."""
        assert winner([]) is None
