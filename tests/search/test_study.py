from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from keras import ops

from tests.small_study import Heard, Kept, Small, quick_engine, results_of, trials_of
from tuner.errors import StudyError
from tuner.home.baselines import RECIPE, baselines
from tuner.home.records import Record, load_log_prob, winner
from tuner.search.study import Search, n_finished, run_search
from tuner.setting import Setting
from tuner.training.trial import train_settings

BASELINES = [f"baseline-{name}" for name in baselines(n_classes=5)]
# Trains until patience ends it, each setting at its own epoch.
EARLY = ("training.epochs=14", "training.patience=1", "training.learning_rate=0.05")


def ran(small: Small, *overrides: str, **others: Any) -> Search:
    """The small study, run to its end."""
    search = small.open(*overrides, **others)
    run_search(search)
    return search


def trials_in(search: Search) -> list[Record]:
    """Records of trials alone."""
    return [record for record in search.folder.records() if record.kind == "trial"]


def prune_everything(search: Search) -> None:
    """Have Optuna's own pruner stop every trial at its third epoch."""
    search.study.pruner = optuna.pruners.ThresholdPruner(lower=1.1, n_warmup_steps=2)


class TestWholeStudy:
    """A real study from the first baseline to the last trial."""

    def test_baselines_come_first_and_are_not_counted(self, small: Small) -> None:
        """Three baselines, then as many trials as the file says, all heard, recorded, kept."""
        heard, kept = Heard(), Kept()
        search = ran(small, listener=heard, recorder=kept)
        names = [*BASELINES, *[f"trial-{i:05d}" for i in range(3, 7)]]
        assert heard.started == names
        assert [name for name, _, _ in heard.ended] == names
        assert [n for _, n, _ in heard.ended] == [0, 0, 0, 1, 2, 3, 4]
        assert {n_trials for _, _, n_trials in heard.ended} == {4}
        assert [record.name for record in search.folder.records()] == names
        assert kept.calls == [("open", "small"), *[("record", n) for n in names], ("close", True)]
        assert n_finished(search) == 4
        assert len(heard.epochs) == 7 * 4

    def test_records_and_optuna_agree(self, small: Small) -> None:
        """Number, setting, value, reports and baseline are the same in both."""
        search = ran(small, "augmentation.policy=shared")
        trials = search.study.trials
        by_name = {record.name: record for record in search.folder.records()}
        assert [t.user_attrs.get("baseline") for t in trials] == [*BASELINES, *[None] * 4]
        for trial in trials:
            record = by_name[trial.user_attrs.get("baseline") or f"trial-{trial.number:05d}"]
            params = replace(record.params, augmentation_policy=None)
            assert Setting.from_dict(trial.params) == params
            if record.name == RECIPE:  # of another policy: no sampler is to learn from it
                assert (trial.state.name, trial.value) == ("FAIL", None)
                assert "augmentation.policy: minority" in trial.user_attrs["failed"]
                assert trial not in search.study.best_trials
            else:
                assert trial.value == record.value
            assert list(trial.intermediate_values.values()) == record.curves["objective"]
            assert record.environment == {"backend": "test"}
            assert record.seeds == {"study_seed": 0, "view_seed": 0}
            assert record.ended_s >= record.started_s > 1.7e9

    def test_two_undisturbed_runs_are_the_same(
        self, small: Small, another: Callable[[str], Small]
    ) -> None:
        """Same study, same trials: parameters, curves, matrices and tables to the bit."""
        first, second = ran(small), ran(another("second"))
        assert trials_of(first.study) == trials_of(second.study)
        assert results_of(first.folder) == results_of(second.folder)
        for record in first.folder.records():
            tables = [load_log_prob(s.folder.records_path, record.name) for s in (first, second)]
            np.testing.assert_array_equal(tables[0], tables[1])

    def test_another_seed_is_another_study(
        self, small: Small, another: Callable[[str], Small]
    ) -> None:
        """Split, weights and sampler follow the seed."""
        first, second = (
            ran(small, "search.trials=1"),
            ran(another("b"), "seed=1", "search.trials=1"),
        )
        assert trials_of(first.study) != trials_of(second.study)

    def test_trials_in_a_batch_are_those_trained_alone(
        self, small: Small, another: Callable[[str], Small]
    ) -> None:
        """With a sampler that does not learn, the size of the batch changes no result."""
        one = ran(small, "search.sampler=qmc")
        three = ran(another("three"), "search.sampler=qmc", "search.batch=3")
        assert trials_of(one.study) == trials_of(three.study)
        assert results_of(one.folder) == results_of(three.folder)

    def test_an_rdb_gives_the_same_trials(
        self, small: Small, another: Callable[[str], Small], tmp_path: Path
    ) -> None:
        """SQLite as the store changes no result."""
        elsewhere = another("rdb")
        elsewhere.storage = f"sqlite:///{tmp_path / 'optuna.db'}"
        first, second = ran(small, "search.trials=2"), ran(elsewhere, "search.trials=2")
        assert trials_of(first.study) == trials_of(second.study)
        second.study._storage.remove_session()
        second.study._storage._backend.engine.dispose()


class TestReports:
    """What Optuna is told while and after a trial trains."""

    def test_early_end_is_reported_to_the_last_epoch(self, small: Small) -> None:
        """To Optuna the last value stands for the remaining epochs, in the record it does not."""
        search = ran(small, *EARLY)
        by_name = {record.name: record for record in search.folder.records()}
        lengths = set()
        for trial in search.study.trials:
            record = by_name[trial.user_attrs.get("baseline") or f"trial-{trial.number:05d}"]
            curve = record.curves["objective"]
            lengths.add(len(curve))
            assert list(trial.intermediate_values) == list(range(14))
            told = list(trial.intermediate_values.values())
            assert told == curve + [record.value] * (14 - len(curve))
            assert told[-1] == record.value
            assert trial.value == record.value
        assert min(lengths) < 14

    def test_pruned_trial_keeps_what_it_last_reported(self, small: Small) -> None:
        """PRUNED in Optuna, counted, and its record is that of its last report."""
        search = small.open("search.trials=2", *EARLY)
        prune_everything(search)
        run_search(search)
        for record in trials_in(search):
            trial = search.study.trials[record.number]
            assert (record.state, trial.state.name) == ("pruned", "PRUNED")
            assert list(trial.intermediate_values) == [0, 1, 2]
            assert record.curves["objective"] == list(trial.intermediate_values.values())
            assert record.value == trial.value == record.scores["macro_recall"]
            table = load_log_prob(search.folder.records_path, record.name)
            assert table is not None
            y_pred = table.argmax(axis=1)
            expected = np.zeros((5, 5), dtype=int)
            np.add.at(expected, (search.inputs.labels, y_pred), 1)
            assert record.matrix == expected.tolist()
        assert n_finished(search) == 2

    def test_baselines_are_never_pruned(self, small: Small) -> None:
        """Where the pruner stops every trial the baselines run on, and one of them wins."""
        search = small.open("search.trials=2")
        prune_everything(search)
        run_search(search)
        records = search.folder.records()
        assert [r.state for r in records] == ["complete"] * 3 + ["pruned"] * 2
        assert {len(r.curves["objective"]) for r in records[:3]} == {4}
        best = winner(records)
        assert best is not None
        assert best.value == max(r.value or 0 for r in records[:3])
        assert best.kind == "baseline"

    def test_median_pruner_prunes_with_the_reports_of_baselines(self, small: Small) -> None:
        """In a longer study Optuna's default pruner stops trials that lag behind."""
        search = ran(small, "search.trials=10", "training.epochs=18", "training.patience=18")
        states = [record.state for record in trials_in(search)]
        assert set(states) == {"complete", "pruned"}
        for record in trials_in(search):
            if record.state == "pruned":
                assert 15 < len(record.curves["objective"]) <= 18

    @pytest.mark.parametrize("floor", [0.2, 0.9])
    def test_recall_floor_reaches_optuna(self, small: Small, floor: float) -> None:
        """Every trial and baseline, pruned or complete, has its constraint in Optuna."""
        search = small.open(f"objective.recall_floor={floor}", "search.trials=2")
        run_search(search)
        for record in search.folder.records():
            assert record.constraints == {"recall_floor": floor - record.scores["min_recall"]}
            assert record.scores["min_recall"] == min(record.recall)
        by_name = {record.name: record for record in search.folder.records()}
        assert len(search.study.trials) == 5
        for trial in search.study.trials:
            record = by_name[trial.user_attrs.get("baseline") or f"trial-{trial.number:05d}"]
            assert trial.constraints == record.constraints

    def test_pruned_trial_has_its_constraint(self, small: Small) -> None:
        """Also what was cut short tells the sampler whether it was feasible."""
        search = small.open("objective.recall_floor=0.9", "search.trials=1")
        prune_everything(search)
        run_search(search)
        (record,) = trials_in(search)
        assert record.constraints
        assert search.study.trials[record.number].constraints == record.constraints

    def test_winner_is_feasible_or_nearest(self, small: Small) -> None:
        """Optuna's best feasible trial is the winner; without one the nearest to the floor."""
        search = ran(small, "objective.recall_floor=0.3", "training.epochs=12")
        best = winner(search.folder.records())
        assert best is not None
        assert best.is_feasible
        assert search.study.best_value == best.value
        impossible = ran(
            Small(small.home.path.parent / "impossible", small.data.path),
            "objective.recall_floor=1.0",
        )
        records = impossible.folder.records()
        nearest = winner(records)
        assert nearest is not None
        assert nearest.scores["min_recall"] == max(r.scores["min_recall"] for r in records)


@pytest.mark.usefixtures("quick")
class TestBaselinesAndSampler:
    """Baselines inside the space are given to the sampler once."""

    @pytest.mark.parametrize(
        ("override", "inside"),
        [
            ("search.trials=1", BASELINES),
            ("search.gamma=[0, 1]", BASELINES[:2]),
            ("search.augmentation_multiplier=[1, 8]", BASELINES[2:]),
            ("search.class_weight_mode=[none, sqrt]", BASELINES[:1]),
            ("search.class_weight_mode=[sqrt]", []),
            ("search.alpha=[0.3, 0.9]", []),
        ],
    )
    def test_only_those_inside(self, small: Small, override: str, inside: list[str]) -> None:
        """A baseline outside the space is trained and recorded, but no trial of the study."""
        search = ran(small, override)
        told = [
            t.user_attrs["baseline"] for t in search.study.trials if "baseline" in t.user_attrs
        ]
        assert told == inside
        records = search.folder.records()
        assert [r.name for r in records if r.kind == "baseline"] == BASELINES
        assert n_finished(search) == search.config.search.trials

    def test_once_however_often_the_study_is_started(self, small: Small) -> None:
        """Going on gives no baseline a second time and trains none again."""
        for trials in (1, 2, 2):
            heard = Heard()
            search = ran(small, f"search.trials={trials}", listener=heard)
        told = [
            t.user_attrs["baseline"] for t in search.study.trials if "baseline" in t.user_attrs
        ]
        assert told == BASELINES
        assert heard.started == []

    def test_failed_baseline_is_no_result(self, small: Small) -> None:
        """A baseline that failed half-way has a record with its reason; the sampler has none."""

        def spoilt(trials: Any, *args: Any, **options: Any) -> Any:
            results = quick_engine(trials, *args, **options)
            for folds, result in zip(trials, results, strict=True):
                if folds[0].head.gamma == 2.0:
                    result.state, result.reason = "failed", "training loss is nan at step 9"
            return results

        small.trainer = partial(train_settings, engine=spoilt)
        search = ran(small)
        told = [
            t.user_attrs["baseline"] for t in search.study.trials if "baseline" in t.user_attrs
        ]
        assert told == BASELINES[:2]
        failed = search.folder.records()[2]
        assert (failed.name, failed.state) == (BASELINES[2], "failed")
        assert failed.reason == "training loss is nan at step 9"
        assert [r.state for r in trials_in(search)] == ["complete"] * 4


@pytest.mark.usefixtures("quick")
class TestBudget:
    """`--trials` is a total."""

    @pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
    def test_twice_does_no_work_twice_and_more_goes_on(
        self, small: Small, another: Callable[[str], Small], sampler: str
    ) -> None:
        """Started again nothing is trained; with a larger total it goes on as if never stopped."""
        choice = f"search.sampler={sampler}"
        ran(small, choice, "search.trials=8")
        idle = Heard()
        ran(small, choice, "search.trials=8", listener=idle)
        assert idle.started == []
        more = Heard()
        search = ran(small, choice, "search.trials=12", listener=more)
        assert len(more.started) == 4
        straight = ran(another("straight"), choice, "search.trials=12")
        assert trials_of(search.study) == trials_of(straight.study)

    def test_smaller_total_takes_nothing_away(self, small: Small) -> None:
        """Lowering the total below what is there leaves it as it is."""
        ran(small, "search.trials=4")
        search = ran(small, "search.trials=2")
        assert len(trials_in(search)) == 4

    def test_pruned_trials_count(self, small: Small) -> None:
        """A pruned trial is a finished one."""
        search = small.open()
        prune_everything(search)
        run_search(search)
        assert [r.state for r in trials_in(search)] == ["pruned"] * 4

    def test_last_batch_is_cut_to_the_budget(self, small: Small) -> None:
        """Five trials in batches of three are five."""
        search = ran(small, "search.trials=5", "search.batch=3")
        assert len(trials_in(search)) == 5

    def test_what_mlflow_missed_is_handed_over_at_the_next_start(self, small: Small) -> None:
        """Every record is offered to the recorder again when a study goes on."""
        names = [record.name for record in ran(small).folder.records()]
        kept = Kept()
        ran(small, recorder=kept)
        assert kept.calls == [("open", "small"), *[("record", n) for n in names], ("close", True)]

    def test_sampler_may_change(self, small: Small) -> None:
        """A study goes on with another sampler on the same history."""
        ran(small, "search.sampler=random", "search.trials=3")
        search = ran(small, "search.sampler=qmc", "search.batch=2", "search.trials=6")
        assert len(trials_in(search)) == 6


class TestFailures:
    """A trial that fails is recorded and the study goes on; bugs surface."""

    @pytest.mark.parametrize("size", [1, 2])
    def test_one_class_of_settings_fails(self, small: Small, size: int) -> None:
        """Views with NaN features fail the trials that use them, with the reason, and no other."""
        half = ("search.augmentation_multiplier=[0, 1]", "search.sampler=qmc")
        search = small.open("search.trials=5", f"search.batch={size}", *half)
        X = np.array(ops.convert_to_numpy(search.inputs.X))
        X[len(search.inputs.labels) :] = np.nan  # every view, no image
        search = replace(search, inputs=replace(search.inputs, X=ops.convert_to_tensor(X)))
        run_search(search)
        records = search.folder.records()
        for record in records:
            uses_views = record.params.augmentation_multiplier > 0
            assert (record.state == "failed") == uses_views
            if uses_views:
                assert record.reason is not None
                assert record.reason.startswith("training loss is nan at step")
        failed = [
            t
            for t in search.study.trials
            if t.state.name == "FAIL" and "baseline" not in t.user_attrs
        ]
        assert failed
        assert [t.user_attrs["failed"] for t in failed] == [
            r.reason for r in records if r.kind == "trial" and r.state == "failed"
        ]
        assert n_finished(search) == 5
        best = winner(records)
        assert best is not None
        assert best.params.augmentation_multiplier == 0

    def test_three_in_a_row_stop_the_study(self, small: Small) -> None:
        """An absurd learning rate fails everything: three trials, then one message says why."""
        kept = Kept()
        with pytest.raises(StudyError) as caught:
            ran(small, "training.learning_rate=1e30", "search.trials=9", recorder=kept)
        assert "3 trials in a row failed, the last one because training loss is" in str(
            caught.value
        )
        assert "trial-0000" in caught.value.where
        records = small.open("training.learning_rate=1e30", "search.trials=9").folder.records()
        assert [r.kind for r in records] == ["baseline"] * 3 + ["trial"] * 3
        assert {r.state for r in records} == {"failed"}
        assert len({r.params for r in records}) == 6
        assert kept.calls[-1] == ("close", False)
        assert winner(records) is None

    def test_failures_between_successes_do_not_stop_it(self, small: Small) -> None:
        """Two failures, a success and two failures are not three in a row."""
        calls = []

        def sometimes(*args: Any, **options: Any) -> Any:
            calls.append(1)
            if len(calls) > 3 and len(calls) % 3:
                raise MemoryError
            return quick_engine(*args, **options)

        small.trainer = partial(train_settings, engine=sometimes)
        search = ran(small, "search.trials=2")
        assert [r.state for r in trials_in(search)] == [
            *["failed", "failed", "complete"],
            *["failed", "failed", "complete"],
        ]
        assert len({r.params for r in trials_in(search)}) == 6

    @pytest.mark.parametrize("size", [1, 2])
    def test_out_of_memory_is_a_failed_trial(self, small: Small, size: int) -> None:
        """The reason says what to lower, all of the batch has it, and the study goes on."""
        calls = []

        def hungry(*args: Any, **options: Any) -> Any:
            calls.append(1)
            if len(calls) == 1 + -(-3 // size):  # the first batch after the baselines
                raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")
            return quick_engine(*args, **options)

        small.trainer = partial(train_settings, engine=hungry)
        search = ran(small, f"search.batch={size}", "search.trials=2")
        failed = [r for r in trials_in(search) if r.state == "failed"]
        assert len(failed) == size
        assert {r.reason for r in failed} == {
            "memory ran out; lower search.batch or training.batch_size"
        }
        assert all(r.value is None and r.matrix == [] and r.rows for r in failed)
        assert n_finished(search) == 2

    @pytest.mark.usefixtures("quick")
    def test_bug_surfaces_and_its_trial_is_not_lost(
        self, small: Small, another: Callable[[str], Small]
    ) -> None:
        """A TypeError comes through as it is; mended, the next start trains the same trial."""
        calls, whole = [], small.trainer

        def broken(*args: Any, **options: Any) -> Any:
            calls.append(1)
            if len(calls) == 5:
                raise TypeError("a bug")
            return whole(*args, **options)

        small.trainer = broken
        with pytest.raises(TypeError, match="a bug"):
            ran(small)
        small.trainer = whole
        search = ran(small)
        assert trials_of(search.study) == trials_of(ran(another("straight")).study)
        assert [r.attempt for r in trials_in(search)] == [1, 2, 1, 1]


@pytest.mark.usefixtures("quick")
class TestInterrupt:
    """Ctrl-C fails cleanly what runs, and loses nothing."""

    @pytest.mark.parametrize("size", [1, 3])
    def test_interrupted_trial_is_queued(
        self,
        small: Small,
        another: Callable[[str], Small],
        monkeypatch: pytest.MonkeyPatch,
        size: int,
    ) -> None:
        """Nothing is left running, parameters wait, no attempt is counted, the end is the same."""
        options = (f"search.batch={size}", "search.trials=9", "search.retries=0")
        heard = Heard()
        with monkeypatch.context() as patch:
            patch.setattr(heard, "epoch_ended", _interrupt_after(14 * 2 + 3))
            kept = Kept()
            with pytest.raises(KeyboardInterrupt):
                ran(small, *options, listener=heard, recorder=kept)
        assert kept.calls[-1] == ("close", False)
        search = small.open(*options)
        states = [t.state.name for t in search.study.trials]
        assert "RUNNING" not in states
        assert states.count("WAITING") == states.count("FAIL") == size
        run_search(search)
        assert trials_of(search.study) == trials_of(ran(another("straight"), *options).study)
        assert {r.attempt for r in trials_in(search)} == {1}
        assert {r.state for r in trials_in(search)} == {"complete"}

    def test_interrupted_baseline_is_trained_again(self, small: Small) -> None:
        """A baseline has no trial in Optuna; it is simply missing until it is whole."""
        heard = Heard()
        heard.epoch_ended = _interrupt_after(6)  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            ran(small, listener=heard)
        assert [r.name for r in small.open().folder.records()] == BASELINES[:1]
        assert [r.name for r in ran(small).folder.records()][:3] == BASELINES


@pytest.mark.usefixtures("quick")
class TestLostStore:
    """The records outlive Optuna's store."""

    def test_deleted_journal_is_filled_from_the_records(
        self, small: Small, another: Callable[[str], Small]
    ) -> None:
        """No record is trained again or written over, it is said, and the study goes on."""
        before = ran(small, "search.trials=8", "objective.recall_floor=0.9")
        content = {p.name: p.read_bytes() for p in before.folder.records_path.iterdir()}
        small.home.journal.unlink()
        heard = Heard()
        after = ran(small, "search.trials=12", "objective.recall_floor=0.9", listener=heard)
        assert len(heard.started) == 4
        assert heard.messages == ["Optuna's store lacked 8 recorded trials; it has them again"]
        for name, stored in content.items():
            assert (after.folder.records_path / name).read_bytes() == stored
        straight = ran(another("b"), "search.trials=12", "objective.recall_floor=0.9")
        assert trials_of(after.study) == trials_of(straight.study)

    def test_gaps_and_failures_come_back_as_they_were(
        self, small: Small, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Numbers of records stay theirs: gaps are filled, failed trials stay failed."""
        heard = Heard()
        with monkeypatch.context() as patch:
            patch.setattr(heard, "epoch_ended", _interrupt_after(4 * 4 + 2))
            with pytest.raises(KeyboardInterrupt):
                ran(small, listener=heard)  # a gap: the retry has another number
        search = small.open()
        prune_everything(search)
        run_search(search)
        numbers = [r.number for r in trials_in(search)]
        assert numbers != list(range(3, 7))
        small.home.journal.unlink()
        again = ran(small)
        assert trials_of(again.study) == trials_of(search.study)
        assert [r.number for r in trials_in(again)] == numbers


def _interrupt_after(n: int) -> Callable[..., None]:
    """A listener's method that is interrupted at its n-th call."""
    left = [n]

    def heard(*_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    return heard


@pytest.mark.slow
def test_memory_stays_flat(tmp_path: Path, data_home: Path) -> None:
    """Memory after 15 trials is at most a tenth above memory after 3."""
    script = Path(__file__).with_name("memory.py")
    done = subprocess.run(
        [sys.executable, "-m", "tests.search.memory", str(tmp_path), str(data_home)],
        capture_output=True,
        text=True,
        cwd=script.parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    after_3, after_15 = map(int, done.stdout.split())
    assert after_15 <= 1.1 * after_3
