"""`Study`: the one door to images, search, verdict and model.

The command line, notebooks, scripts, benchmarks and the workers of a cluster are its clients. It
composes what the rooms below it do and knows no console: who wants to see what happens listens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tuner.config import StudyConfig, load_study, parse_study, safe_study_name
from tuner.config.models import AUTO
from tuner.config.yaml_text import to_yaml
from tuner.decision.demands import Costs, Floors
from tuner.errors import StudyError
from tuner.home.confirmation import Confirmation, load_confirmation
from tuner.home.free import FreeBaseline, load_free
from tuner.home.listener import Listener
from tuner.home.near_duplicates import leak_of
from tuner.home.records import best_baseline, winner
from tuner.home.study_folder import StudyFolder, find_study
from tuner.study.places import (
    Auto,
    changed,
    find_home,
    is_file,
    leading_question,
    listener_of,
)
from tuner.study.trial import Trial, frame_of, predictions_of, trials_of

if TYPE_CHECKING:
    import optuna

    from tuner.search.importance import Importances
    from tuner.study.export import Export
    from tuner.study.verbs.check import Check
    from tuner.study.where import Where


class Study:
    """A search for the treatment of class imbalance that helps the rare classes.

    Args:
        study: A study file, the name of a study in the home, or a configuration.
        home: Folder of all studies; by default ``$TUNER_HOME``, else ``mlruns/``.
        overrides: Keys of the study file to set, each as ``"a.b=value"``.
        listener: Told what happens; "auto" draws a bar in a notebook and prints lines elsewhere,
            None is silent.
        tracking_uri: MLflow's server; by default ``$MLFLOW_TRACKING_URI``, else the home's own
            database.
        storage: URL of an Optuna database that workers share; by default the home's journal.

    Raises:
        StudyFileError: If the file is missing or wrong.
        StudyError: If the home holds no study of that name.

    Example:
        >>> study = Study("studies/digits.yaml", listener=None)
        >>> study.name
        'digits'
    """

    def __init__(
        self,
        study: str | Path | StudyConfig,
        *,
        home: str | Path | None = None,
        overrides: Sequence[str] = (),
        listener: Listener | Auto | None = "auto",
        tracking_uri: str | None = None,
        storage: str | None = None,
    ) -> None:
        self.home = find_home(home)
        self.question = ""
        if isinstance(study, StudyConfig):
            self.config = changed(study, overrides, source=f"study '{study.name}'")
        elif is_file(str(study), self.home):
            self.config = load_study(Path(study), overrides=overrides)
            self.question = leading_question(Path(study))
        else:
            stored = find_study(self.home, str(study)).config
            self.config = changed(stored, overrides, source=f"study '{study}'")
        self.listener = listener_of(listener)
        self.tracking_uri, self.storage = tracking_uri, storage

    @classmethod
    def of_folder(
        cls,
        data: str | Path,
        *,
        name: str | None = None,
        image_px: int = 224,
        group_by: str | None = AUTO,
        overrides: Sequence[str] = (),
        **places: Any,
    ) -> Study:
        """A study of an image folder, or a label file, without a study file.

        Args:
            data: Folder per class, label file with `path` and `label`, or "digits".
            name: Of the study; the folder's by default.
            image_px: Side of the square images, in pixels.
            group_by: "auto" keeps near-duplicates together; "none"; or a label file's column.
            overrides: Other keys of a study file, each as ``"a.b=value"``.
            places: `home`, `listener`, `tracking_uri` and `storage`, as for a study.
        """
        source = {"source": str(data), "image_px": image_px, "group_by": group_by, "range": "auto"}
        stem = name or safe_study_name(Path(data).resolve().stem)
        text = to_yaml({"name": stem, "data": source})
        return cls(parse_study(text, source=str(data), overrides=overrides), **places)

    @classmethod
    def of_table(
        cls,
        frame: pd.DataFrame,
        *,
        name: str,
        columns: Mapping[str, str] | None = None,
        images: str | Path = ".",
        image_px: int = 224,
        overrides: Sequence[str] = (),
        **places: Any,
    ) -> Study:
        """A study of the images that a table names, one a row; the home keeps what it uses.

        Args:
            frame: One row an image.
            name: Of the study.
            columns: Which is path, label and, if there, group and split; by default so called.
            images: Folder that paths start from, or that absolute ones lie in.
            image_px: Side of the square images, in pixels.
            overrides: Other keys of a study file, each as ``"a.b=value"``.
            places: `home`, `listener`, `tracking_uri` and `storage`, as for a study.

        Raises:
            DataError: If the frame lacks a column, or a path or label is empty.
        """
        from tuner.study.table import keep_table

        data = keep_table(frame, columns, home=find_home(places.get("home")), name=name)
        data |= {"root": str(Path(images).expanduser().resolve()), "image_px": image_px}
        text = to_yaml({"name": name, "data": data})
        return cls(parse_study(text, source=f"table of {name}", overrides=overrides), **places)

    @classmethod
    def load(cls, name: str, **places: Any) -> Study:
        """A study that has begun, by its name; `places` as for a study.

        Raises:
            StudyError: If the home holds no such study.
        """
        config = find_study(find_home(places.get("home")), name).config
        return cls(config, **places)

    @property
    def name(self) -> str:
        """Of its folder and of its MLflow experiment."""
        return self.config.name

    @property
    def folder(self) -> StudyFolder:
        """What lies on disk.

        Raises:
            StudyError: If the study has not begun.
        """
        return find_study(self.home, self.name)

    @property
    def mlflow_uri(self) -> str:
        """Where its runs are: a server, or the home's own database."""
        return self.home.resolve_tracking_uri(self.tracking_uri)

    @property
    def has_begun(self) -> bool:
        """Whether there is anything on disk."""
        return StudyFolder(self.home.studies / self.name).exists

    def check(self, *, features: bool = False) -> Check:
        """Classes, counts, problems, duplicates; trains nothing.

        Args:
            features: Whether to extract features and look for near-duplicates.
        """
        from tuner.study.verbs.check import check_study

        return check_study(self.config, self.home, self.listener, features=features)

    def run(
        self, trials: int | None = None, *, where: Where | None = None, or_random: bool = False
    ) -> None:
        """Start the study or go on with it, up to its number of trials.

        An interrupt loses nothing that has finished; the next call goes on.

        Args:
            trials: Finished trials in all, over every start; by default ``search.trials``.
            where: Who computes; None for this process.
            or_random: Whether to go on with random weights where no real ones are found; the
                numbers then say nothing about the images.

        Raises:
            TunerError: With what is wrong, where, and what to do.
        """
        from tuner.study.verbs.run import run_study

        if trials is not None:
            self.config = changed(
                self.config, [f"search.trials={trials}"], source=f"study '{self.name}'"
            )
        run_study(
            self.config,
            self.home,
            self.listener,
            tracking_uri=self.tracking_uri,
            storage_url=self.storage,
            where=where,
            question=self.question,
            or_random=or_random,
        )

    @property
    def trials(self) -> list[Trial]:
        """Trials by number, finished or failed."""
        return [trial for trial in trials_of(self.folder) if trial.record.kind == "trial"]

    @property
    def baselines(self) -> list[Trial]:
        """What every study trains first: cross-entropy, balanced weights, published recipe."""
        return [trial for trial in trials_of(self.folder) if trial.record.kind == "baseline"]

    @property
    def free_baselines(self) -> list[FreeBaseline]:
        """What costs no search: logit adjustment, logistic regression, class means."""
        return load_free(self.folder.path)

    def trials_dataframe(self) -> pd.DataFrame:
        """One row a setting, baselines first; `docs/python.md` names the columns."""
        return frame_of(trials_of(self.folder))

    @property
    def best_trial(self) -> Trial:
        """The best feasible setting, else the least violating; StudyError before any is done."""
        best = winner(self.folder.records())
        if best is None:
            what = f"study '{self.name}' has no complete trial yet"
            raise StudyError(what, where=str(self.folder.path), do="go on with: run()")
        return Trial(best, tuple(self.folder.class_names))

    @property
    def best_baseline(self) -> Trial | None:
        """What there is without a search."""
        best = best_baseline(self.folder.records())
        return None if best is None else Trial(best, tuple(self.folder.class_names))

    @property
    def best_params(self) -> dict[str, Any]:
        """The hyperparameters of the best trial, by name."""
        return self.best_trial.params

    @property
    def best_value(self) -> float:
        """The objective of the best trial, on the validation folds: too good by the choice."""
        return float(self.best_trial.value or 0.0)

    def predictions(self, trial: Trial | None = None) -> pd.DataFrame:
        """Out-of-fold probabilities of each image outside the test, of the best trial or another.

        Columns: ``path``, ``class``, ``predicted``, ``fold`` and ``probability/<class>``.
        """
        return predictions_of(self.folder, trial or self.best_trial)

    def confirm(
        self,
        *,
        seeds: int = 5,
        top: int = 5,
        again: bool = False,
        cost: Costs | None = None,
        recall_floor: Floors | None = None,
        command: str = "Study.confirm()",
    ) -> Confirmation:
        """Train the best again on fresh seeds and splits, then open the sealed test once.

        What was confirmed is given back where nothing has changed since.

        Args:
            seeds: Fresh seeds and splits, 5 or more for a verdict.
            top: Trials to train again.
            again: Whether a test that was opened before may be opened again.
            cost: As for `export`: the chosen setting is tested with that decision rule, too.
            recall_floor: As for `export`.
            command: What the user wrote, for the seal.

        Raises:
            StudyError: If there is nothing to confirm, or the test has been opened before.
        """
        from tuner.study.verbs.confirm import confirm_study

        return confirm_study(
            self,
            seeds=seeds,
            top=top,
            again=again,
            cost=cost,
            recall_floor=recall_floor,
            command=command,
        )

    @property
    def confirmation(self) -> Confirmation | None:
        """What the last `confirm` has found."""
        return load_confirmation(self.folder)

    def report(self, path: str | Path = "report.html") -> Path:
        """Write one self-contained page about the study, and keep it in MLflow."""
        from tuner.study.verbs.report import write_report

        write_report(self.folder, Path(path), self.home, self.tracking_uri, self.listener)
        return Path(path)

    def export(
        self,
        path: str | Path = "best.yaml",
        *,
        trial: int | None = None,
        tau: str | float | None = None,
        cost: Costs | None = None,
        recall_floor: Floors | None = None,
    ) -> Export:
        """Write the confirmed configuration, or the best so far, complete enough to train again.

        Args:
            path: Where to write.
            trial: Another trial than the chosen one, by its number.
            tau: Logit adjustment that the model is to hold: a strength, or "tuned".
            cost: What each confusion costs: a CSV file or a frame, true classes in rows.
            recall_floor: Least recall by class, ``{"crack": 0.95}``.

        Raises:
            StudyError: If there is no such complete record, or none meets the recall floor.
            ExportError: If something else lies at `path`, or no decision meets the floors.
        """
        from tuner.study.verbs.export import export_study

        rule: dict[str, Any] = {"tau": tau, "cost": cost, "recall_floor": recall_floor}
        return export_study(self, Path(path), trial=trial, **rule)

    @property
    def leak(self) -> str:
        """What the split does to near-duplicates, in a sentence; empty where it parts none."""
        return leak_of(self.folder) if self.has_begun else ""

    def sync(self) -> int:
        """Write every record that MLflow lacks; returns how many."""
        from tuner.tracking.mirror import make_mirror
        from tuner.tracking.mlflow_recorder import sync_study

        mirror = make_mirror(self.home, self.mlflow_uri, on_trouble=self.listener.warning)
        return sync_study(self.folder, mirror)

    def status(self) -> dict[str, Any]:
        """How far it is, as plain values: state, trials, the best so far."""
        from tuner.study.verbs.status import status_of

        return status_of(self.folder)

    def importances(self) -> Importances | None:
        """Which hyperparameters mattered; None with too few trials to say."""
        from tuner.search.importance import importances

        return importances(self.folder.records(), self.config)

    @property
    def optuna_study(self) -> optuna.Study:
        """The study in Optuna's store, to look at: `optuna.visualization` works on it.

        Raises:
            StudyError: If the store has no such study.
        """
        from tuner.search.journal import open_storage
        from tuner.search.study import load_optuna_study

        return load_optuna_study(open_storage(self.home, self.storage), self.name)

    def __repr__(self) -> str:
        """Name, and how far it is."""
        from tuner.study.shown import in_a_line

        return in_a_line(self)

    def _repr_html_(self) -> str:
        from tuner.study.shown import as_page

        return as_page(self)
