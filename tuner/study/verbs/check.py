"""What the images of a study are, and what stands in its way; nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tuner.config import StudyConfig
from tuner.config.models import NEAR_DUPLICATES
from tuner.data.image_table import ImageTable, exact_duplicates, label_conflicts
from tuner.data.mirrored import mirrored_classes
from tuner.data.near_duplicates.find import NearDuplicates
from tuner.data.near_duplicates.groups import joined_groups
from tuner.data.near_duplicates.leaks import NOT_LOOKED_FOR, leak_facts, pair_facts
from tuner.data.split import small_class_warnings
from tuner.errors import SplitError, UsageError, WeightsError
from tuner.features.device import Device
from tuner.features.engines.engine import hint_of, settled, words_of
from tuner.ground import extract_images, find_backend, find_near_duplicates, find_weights
from tuner.home import Home
from tuner.home.founding import (
    as_begun,
    is_grouped,
    read_images,
    split_images,
    with_found_groups,
    with_groups,
)
from tuner.home.free import FREE_TITLES
from tuner.home.listener import Listener
from tuner.home.near_duplicates import split_by_near_duplicates
from tuner.home.study_folder import StudyFolder
from tuner.notebook import page, sentences, table
from tuner.study.verbs.look_at_views import ViewsLook, look_at_views

if TYPE_CHECKING:
    from tuner.features.source import FeatureSource
    from tuner.training.leak_cost import LeakCost


class UngroupedError(UsageError):
    """Near-duplicates are to be grouped, and nobody has looked for them."""


@dataclass(frozen=True)
class Check:
    """The images of a study, as `Study.check` finds them. Shows itself as a table.

    Attributes:
        config: The study.
        table: Its images, with the folds that a study of them has, as far as near-duplicates
            are known.
        near_duplicates: Copies of one picture; None where nobody has looked for them.
        sheet: Picture of their pairs; None without any.
        leak_costs: What the free baselines reach with near-duplicates parted and together, by
            their title; empty where there are none, and where features say nothing of images.
        views: What views of the images look like; None where features were not asked for.
    """

    config: StudyConfig
    table: ImageTable
    near_duplicates: NearDuplicates | None
    sheet: Path | None
    leak_costs: Mapping[str, LeakCost] = field(default_factory=dict)
    views: ViewsLook | None = None

    @property
    def classes(self) -> pd.DataFrame:
        """Images by class: in all, for the search, sealed for the test."""
        columns = {
            "images": self.table.counts,
            "search": self.table.search_counts,
            "test": self.table.test_counts,
        }
        return pd.DataFrame(columns, index=pd.Index(self.table.class_names, name="class"))

    @property
    def notes(self) -> list[str]:
        """What a reader should know of the images, in sentences."""
        pairs = mirrored_classes(self.table.class_names) if self.config.augmentation.flip else ""
        mirrored = f"mirrored views change the class ({pairs}); set augmentation.flip: false"
        notes = [*self.table.notes, *small_class_warnings(self.table)]
        return [*notes, mirrored] if pairs else notes

    @property
    def rows(self) -> dict[str, int]:
        """Images and views to extract for a search, and how many more `shared` takes."""
        find_backend(self.config)
        from tuner.training.inputs import views_wanted

        labels, fold = self.table.labels[self.table.search], self.table.fold[self.table.search]
        counts = {}
        for policy in ("shared", "minority"):
            augmentation = self.config.augmentation.model_copy(update={"policy": policy})
            config = self.config.model_copy(update={"augmentation": augmentation})
            views = views_wanted(config, labels, fold, n_classes=self.table.n_classes)
            counts[policy] = len(labels) + int(views.sum())
        own = counts[self.config.augmentation.policy]
        return {"rows": own, "by_shared": counts["shared"] - counts["minority"]}

    @property
    def problems(self) -> list[str]:
        """Files that were left out, with the reason."""
        return [f"{problem.path}: {problem.reason}" for problem in self.table.problems]

    @property
    def conflicts(self) -> list[tuple[int, ...]]:
        """Images of the same bytes and different labels, by their number in the table."""
        return label_conflicts(self.table)

    @property
    def duplicates(self) -> list[tuple[int, ...]]:
        """Images of the same bytes, whatever their labels."""
        return exact_duplicates(self.table)

    @property
    def device(self) -> Device:
        """What a study of them would be computed on."""
        return find_backend(self.config)

    @property
    def engine(self) -> str:
        """What would turn pixels into features, and what would do so faster, in words."""
        asked, device = self.config.backbone, self.device
        words = words_of(settled(asked, device), device)
        return "; ".join(filter(None, [words, hint_of(asked, device)]))

    @property
    def backbone(self) -> str:
        """What is known of a backbone of the study's own, in words; empty for ResNet50.

        Raises:
            WeightsError: If its file is no backbone, or takes images of another size.
        """
        if self.config.backbone.model is None:
            return ""
        find_backend(self.config)
        from tuner.features.own_backbone import check_size, resolve_backbone

        found = resolve_backbone(self.config.backbone)
        check_size(found, self.config.data.image_px)
        return f"{found.source}; licence unknown, ask where the file came from"

    @property
    def not_looked_for(self) -> str:
        """What "no near-duplicates" does not say."""
        return NOT_LOOKED_FOR

    def grouped(self) -> ImageTable | SplitError:
        """The split that ``group_by: auto`` would make, or why there is none."""
        if self.near_duplicates is None:
            raise ValueError("nobody has looked for near-duplicates")
        return split_by_near_duplicates(self.config, self.table, self.near_duplicates)

    def facts(self) -> dict[str, Any]:
        """Everything as plain values, as ``tuner check --json`` prints it."""
        table = self.table
        paths = table.paths
        classes = self.classes.reset_index().to_dict("records")
        return {
            "study": self.config.name,
            "root": str(table.root),
            "images": table.n_images,
            "classes": classes,
            "groups": None if table.groups is None else len(np.unique(table.groups)),
            "folds": self.config.split.folds,
            "data_fingerprint": table.fingerprint,
            "left_out": [{"path": p.path, "reason": p.reason} for p in table.problems],
            "notes": self.notes,
            "duplicates": [[paths[i] for i in same] for same in self.duplicates],
            "label_conflicts": [[paths[i] for i in same] for same in self.conflicts],
            "near_duplicates": self.near_duplicate_facts(),
            "views": None if self.views is None else self.views.facts(),
        }

    def near_duplicate_facts(self) -> dict[str, Any] | None:
        """What is known of near-duplicates as plain values; None where nobody has looked."""
        found = self.near_duplicates
        if found is None:
            return None
        grouped = self.grouped()
        problem = str(grouped) if isinstance(grouped, SplitError) else None
        return {
            **leak_facts(found, self.table),
            "grouped_split_is_possible": problem is None,
            "grouped_split_problem": problem,
            "contact_sheet": None if self.sheet is None else str(self.sheet),
            "macro_recall": {title: cost._asdict() for title, cost in self.leak_costs.items()},
            "listed": pair_facts(found, self.table),
        }

    def __repr__(self) -> str:
        """Classes with their counts, then what is to be known."""
        return "\n".join([self._title, self.classes.to_string(), *self._warnings()])

    def _repr_html_(self) -> str:
        classes = self.classes.reset_index()
        shown = table(
            [str(name) for name in classes],
            list(classes.itertuples(index=False, name=None)),
            bars={"images": float(self.table.counts.max())},
        )
        return page(self._title, shown, sentences(self._warnings()))

    @property
    def _title(self) -> str:
        table = self.table
        return f"{self.config.name}: {table.n_images:,} images in {table.n_classes} classes"

    def _warnings(self) -> list[str]:
        found = [f"left out {problem}" for problem in self.problems] + self.notes
        for same in self.conflicts:
            told = ", ".join(self.table.paths[i] for i in same)
            found.append(f"same bytes, different labels: {told}")
        if self.near_duplicates is not None:
            found.append(f"{len(self.near_duplicates.first):,} pairs of near-duplicates")
        found += [cost_sentence(title, cost) for title, cost in self.leak_costs.items()]
        return found + (self.views.warnings if self.views else [])


def check_study(
    config: StudyConfig, home: Home, listener: Listener, *, features: bool = False
) -> Check:
    """Look at the images of a study.

    Args:
        config: The study.
        home: Where it lives, or would.
        listener: Told what goes on.
        features: Whether to extract features and look for near-duplicates; without, they are
            looked for only where the features are there already.

    Raises:
        DataError: If the images or the manifest cannot be used.
        SplitError: If a class is too small for the folds.
        UngroupedError: If near-duplicates are to be grouped and nobody has looked for them.
    """
    folder = StudyFolder(home.studies / config.name)
    config = as_begun(config, folder)
    with listener.status("reading images"):
        table = with_groups(config, read_images(config, home), folder)
    source = _source(config, home, listener, features=features)
    found = _near_duplicates(source, table, listener, features=features)
    if not is_grouped(config, table):
        if found is None and config.data.group_by == NEAR_DUPLICATES:
            raise UngroupedError(
                "near-duplicates cannot be grouped before their features are there",
                where="data.group_by: near_duplicates",
                do="extract them: check(features=True)",
            )
        is_blind = source is None or source.weights.kind == "random"
        groups = None if found is None else found.groups
        if is_blind and config.data.group_by != NEAR_DUPLICATES:
            groups = None
        table = with_found_groups(config, table, groups)
    table = split_images(config, table)
    sheet = None
    if found is not None and len(found.first):
        from tuner.report.figures.contact_sheet import pairs_of, save_pairs

        sheet = folder.path / "near_duplicates.png"
        with listener.status("drawing pairs"):
            save_pairs(pairs_of(found, table), sheet, title="Near-duplicates")
    costs = {}
    if features and source is not None and found is not None and len(found.first):
        with listener.status("what the leak is worth"):
            costs = _leak_costs(config, table, found, source)
    views = None
    if features and source is not None:
        with listener.status("looking at views"):
            views = look_at_views(config, table, source, folder.path / "views.png")
    return Check(
        config=config,
        table=table,
        near_duplicates=found,
        sheet=sheet,
        leak_costs=costs,
        views=views,
    )


def cost_sentence(title: str, cost: LeakCost) -> str:
    """What a leak is worth, in a sentence."""
    return (
        f"macro recall of {title}: {cost.parted:.2f} with near-twins parted, "
        f"{cost.together:.2f} with near-twins together"
    )


def _leak_costs(
    config: StudyConfig, table: ImageTable, found: NearDuplicates, source: FeatureSource
) -> dict[str, LeakCost]:
    """Free baselines on the split that parts near-duplicates and on the one that does not."""
    from tuner.features.near_duplicates import features_of
    from tuner.training.leak_cost import leak_costs, some_groups

    if source.weights.kind == "random" or table.is_shipped_test is not None:
        return {}
    listed = table.listed_groups
    joined = joined_groups(found.groups, listed)
    if joined is None:
        return {}
    chosen = some_groups(table.labels, joined)
    few = replace(
        table,
        paths=table.paths.take(chosen),
        sha256=table.sha256.take(chosen),
        labels=table.labels[chosen],
        is_grouped=True,
    )
    try:
        parted, together = (
            split_images(config, replace(few, groups=None if g is None else g[chosen])).fold
            for g in (listed, joined)
        )
    except SplitError:
        return {}
    costs = leak_costs(
        features_of(source, few),
        few.labels,
        parted=parted,
        together=together,
        n_classes=table.n_classes,
    )
    return {FREE_TITLES[key]: cost for key, cost in costs.items()}


def _source(
    config: StudyConfig, home: Home, listener: Listener, *, features: bool
) -> FeatureSource | None:
    """The features of a study, when they are there or are to be computed."""
    if not features and not home.features.is_dir():
        return None  # no bank: spare the backend
    device = find_backend(config)
    from tuner.features.own_backbone import resolve_backbone
    from tuner.features.source import open_features

    if features:
        config, weights = find_weights(config, listener)
    else:
        try:
            weights = resolve_backbone(config.backbone, is_offline=True)
        except WeightsError:
            return None
    return open_features(config, home, weights=weights, device=device)


def _near_duplicates(
    source: FeatureSource | None, table: ImageTable, listener: Listener, *, features: bool
) -> NearDuplicates | None:
    """Near-duplicates, when the features of all images are there or are to be computed."""
    if source is None:
        return None
    from tuner.features.near_duplicates import has_features

    if features:
        extract_images(source, table, listener)
    return find_near_duplicates(source, table, listener) if has_features(source, table) else None
