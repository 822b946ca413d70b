"""What a study stands on: a device, weights, images in folds, their features.

Search, confirmation and final training all begin here, and so does every worker of a cluster.
Keras is loaded by `start_device`, which says what is wrong with a backend; not by the import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tuner.arrays import Int64
from tuner.config import BackboneConfig, StudyConfig
from tuner.config.models import AUTO, NEAR_DUPLICATES
from tuner.data.image_table import ImageTable, label_conflicts
from tuner.data.near_duplicates.find import NearDuplicates
from tuner.data.split import small_class_warnings
from tuner.errors import UsageError, WeightsError
from tuner.features.device import Device, find_device
from tuner.features.engines.engine import prepare_engine
from tuner.features.weights.resolve import ResolvedWeights, resolve_weights
from tuner.home import Home
from tuner.home.founding import (
    is_grouped,
    open_study,
    read_images,
    split_images,
    with_found_groups,
    with_groups,
)
from tuner.home.listener import Listener
from tuner.home.near_duplicates import images_across, leak_of, save_leaks
from tuner.home.study_folder import StudyFolder

if TYPE_CHECKING:
    from tuner.features.source import FeatureSource
    from tuner.features.wanted import Wanted
    from tuner.training.inputs import Inputs


_BACKENDS = ("tensorflow", "jax", "jaxlib", "torch", "openvino")
_NOTES_SHOWN = 8  # of a kind; a study of 200 small classes has other news, too
_PROBLEMS_SHOWN = 20


@dataclass(frozen=True)
class Ground:
    """A study whose images are read and divided, with the means to compute their features.

    Attributes:
        config: The resolved study file.
        folder: The study's folder.
        table: Its images, as they are now.
        source: Its feature bank, and what fills it.
    """

    config: StudyConfig
    folder: StudyFolder
    table: ImageTable
    source: FeatureSource

    def files(self, images: Int64) -> Wanted:
        """Images by their number in the table, without views, as what is to be extracted."""
        from tuner.features.near_duplicates import images_themselves

        return images_themselves(self.table, images)

    def extract(self, listener: Listener, *, other_folds: Sequence[Int64] = ()) -> tuple[int, int]:
        """Compute what trials need and the bank lacks.

        Args:
            listener: Told how far it is.
            other_folds: Other divisions of the same places to be trained on.

        Returns:
            How many rows of images and views are needed, and how many were computed now.
        """
        from tuner.training.inputs import rows_to_extract

        wanted = rows_to_extract(
            self.config,
            self.table,
            self.table.root,
            n_classes=self.table.n_classes,
            other_folds=other_folds,
        )
        if self.config.training.mode == "live":
            wanted = wanted.take(wanted.view == 0)
        n_new = self.source.fill(
            wanted,
            on_progress=listener.progress,
            on_wait=lambda: listener.note("another process fills the feature bank; waiting"),
        )
        return len(wanted), n_new

    def fill(self, listener: Listener) -> None:
        """The same for the study's own folds, and say what was done."""
        n_wanted, n_new = self.extract(listener)
        for chunk in self.source.bank.damaged:
            listener.warning(f"{chunk} of the feature bank was damaged; computed again")
        listener.fact("features", f"{n_wanted:,} rows of images and views, {n_new:,} computed now")

    def inputs(self, listener: Listener, *, other_folds: Sequence[Int64] = ()) -> Inputs:
        """What is trained on; the bank must hold it."""
        from tuner.training.inputs import LiveSource, load_inputs

        live = None
        if self.config.training.mode == "live":
            listener.fact("training", "live: on images, with other views each time")
            live = LiveSource(self.table.root, self.source.backbone())
        return load_inputs(
            self.config,
            self.table,
            self.source.bank,
            class_names=tuple(self.table.class_names),
            other_folds=other_folds,
            live=live,
        )


def find_backend(config: StudyConfig | None = None) -> Device:
    """The device of the Keras backend, which is loaded as the study's engine wants it, if any.

    Raises:
        UsageError: If the backend that the user chose cannot be imported, or the study's engine
            is not here.
    """
    prepare_engine(config.backbone if config else BackboneConfig())
    try:
        return find_device()
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] not in _BACKENDS:
            raise UsageError(
                f"a library that Keras needs cannot be imported: {error}",
                where=f"module {error.name}",
                do="install it again, or make a fresh environment: pip install imbalance-tuner",
            ) from error
        raise _no_backend(error) from error
    except ValueError as error:
        raise _no_backend(error) from error


def _no_backend(error: Exception) -> UsageError:
    return UsageError(
        f"the Keras backend cannot be used: {error}",
        where="KERAS_BACKEND, or 'backend' in ~/.keras/keras.json",
        do="set KERAS_BACKEND=tensorflow, or for JAX: pip install 'imbalance-tuner[jax]'",
    )


def start_device(
    config: StudyConfig,
    listener: Listener,
    *,
    find: Callable[[StudyConfig], Device] | None = None,
) -> Device:
    """Load the backend and find the device; say it, and why a card is not used.

    Args:
        config: The study.
        listener: Told what was found.
        find: Asked instead where the work is done elsewhere.
    """
    with listener.status("starting the backend"):
        device = find_backend(config)
        if find is not None:
            device = find(config)
    listener.fact("study", config.name)
    say_device(device, config, listener)
    return device


def say_device(device: Device, config: StudyConfig, listener: Listener) -> None:
    """Say what the heavy work runs on."""
    listener.fact("device", f"{device}, {config.backbone.precision}")
    if device.warning:
        listener.warning(device.warning)


def say_engine(source: FeatureSource, listener: Listener) -> None:
    """Say what turns pixels into features, and what would do so faster."""
    if source.engine_words:
        listener.fact("engine", source.engine_words)


def find_weights(
    config: StudyConfig, listener: Listener, *, or_random: bool = False
) -> tuple[StudyConfig, ResolvedWeights]:
    """Resolve the backbone's weights, or the study's own backbone.

    Args:
        config: The study.
        listener: Told where they come from.
        or_random: Whether to go on without real ones, loudly, as the demo does.

    Returns:
        The study, with `backbone.weights` as they are, and the weights.

    Raises:
        WeightsError: If there are none.
    """
    from tuner.features.own_backbone import resolve_backbone

    try:
        weights = resolve_backbone(
            config.backbone,
            on_progress=lambda sentence: listener.fact("weights", sentence),
        )
    except WeightsError as error:
        if not or_random or config.backbone.model:
            raise
        listener.warning(str(error), about="weights")
        backbone = config.backbone.model_copy(update={"weights": "random"})
        config = config.model_copy(update={"backbone": backbone})
        weights = resolve_weights("random")
    listener.fact("backbone" if weights.kind == "model" else "weights", weights.source)
    return config, weights


def open_ground(
    source: FeatureSource, home: Home, listener: Listener, *, question: str = ""
) -> Ground:
    """Read the images and divide them, or check that nothing has changed since they were.

    Args:
        source: Features of the study.
        home: Where the study lives.
        listener: Told what was found, and of every problem.
        question: What the study is to answer; kept when it begins.

    Raises:
        DataError: If the images or the manifest cannot be used.
        SplitError: If a class is too small for the folds.
        StudyError: If settings or images changed since the study began.
    """
    config = source.config
    say_engine(source, listener)
    with listener.status("reading images"):
        table = read_images(config, home)
    table, found = grouped(source, table, StudyFolder(home.studies / config.name), listener)
    folder = open_study(config, table, home, question=question)
    table = folder.images
    if found is not None:
        save_leaks(folder, found, table)
    folds = f"{config.split.folds} folds, sealed test"
    listener.fact("images", f"{table.n_images:,} in {table.n_classes} classes, {folds}")
    listener.opened(folder, device=str(source.device), question=question)
    say_problems(table, listener)
    small = small_class_warnings(table)
    for note in (*table.notes, *small[:_NOTES_SHOWN]):
        listener.warning(note)
    if len(small) > _NOTES_SHOWN:
        more = len(small) - _NOTES_SHOWN
        listener.warning(f"and {more} more classes of so few images; see: tuner check")
    if conflicts := len(label_conflicts(table)):
        sets = "set of images has" if conflicts == 1 else "sets of images have"
        listener.warning(
            f"{conflicts} {sets} the same bytes and different labels; see: tuner check"
        )
    return Ground(config=config, folder=folder, table=table, source=source)


def reopen_ground(source: FeatureSource, home: Home, listener: Listener) -> Ground:
    """The ground of a study that has begun, once its images are known to be those it began with.

    Raises:
        DataError: If the images or the manifest cannot be used.
        StudyError: If settings or images changed since the study began.
    """
    config = source.config
    with listener.status("reading images"):
        table = read_images(config, home)
        folder = open_study(config, table, home)
    return Ground(config=config, folder=folder, table=folder.images, source=source)


def grouped(
    source: FeatureSource, table: ImageTable, folder: StudyFolder, listener: Listener
) -> tuple[ImageTable, NearDuplicates | None]:
    """The images in the groups that the study asks for.

    Args:
        source: Features of the study.
        table: The images, as they were read.
        folder: Of the study; one that has begun keeps its groups.
        listener: Told what was found.

    Returns:
        The images, and the near-duplicates where they had to be looked for.

    Raises:
        SplitError: If a class is too small for the split, before minutes go into features.
    """
    config = source.config
    table = with_groups(config, table, folder)
    if is_grouped(config, table):
        return table, None
    listed = table.listed_groups
    if config.data.group_by == AUTO and source.weights.kind == "random":
        # Features that know nothing of images find no near-duplicates among them.
        return with_found_groups(config, table, None), None
    alone = np.arange(table.n_images) if listed is None else listed
    split_images(config, replace(table, groups=alone, is_grouped=True))
    extract_images(source, table, listener)
    found = find_near_duplicates(source, table, listener)
    _say_groups(
        found.groups,
        listener,
        is_asked=config.data.group_by == NEAR_DUPLICATES,
        is_whole=table.is_shipped_test is None,
    )
    return with_found_groups(config, table, found.groups), found


def _say_groups(groups: Int64, listener: Listener, *, is_asked: bool, is_whole: bool) -> None:
    sizes = np.bincount(groups)
    n_linked = int((sizes > 1).sum())
    if n_linked or is_asked:
        linked = f"{n_linked:,} groups of near-duplicates, up to {sizes.max():,} images"
        stays = "; none crosses the split" if is_whole else "; the shipped test stays as it is"
        listener.fact("groups", f"{linked}{stays}")


def say_problems(table: ImageTable, listener: Listener, *, limit: int = _PROBLEMS_SHOWN) -> None:
    """Name the files that were left out, and why."""
    for problem in table.problems[:limit]:
        listener.warning(f"left out {problem.path}: {problem.reason}")
    if len(table.problems) > limit:
        listener.warning(f"and {len(table.problems) - limit} more; see: tuner check")


def extract_images(source: FeatureSource, table: ImageTable, listener: Listener) -> None:
    """Put every image itself into the bank: no label is looked at, and no view is made."""
    from tuner.features.near_duplicates import images_themselves

    n_new = source.fill(
        images_themselves(table),
        on_progress=lambda progress: listener.progress(progress._replace(what="images")),
    )
    if n_new:
        listener.fact("features", f"{table.n_images:,} images, {n_new:,} computed now")


def find_near_duplicates(
    source: FeatureSource, table: ImageTable, listener: Listener
) -> NearDuplicates:
    """Find the near-duplicates among all images; their features must be in the bank."""
    from tuner.features.near_duplicates import compare_images

    with listener.status("looking for near-duplicates"):
        return compare_images(source, table)


def say_leaks(ground: Ground, listener: Listener) -> None:
    """Warn of images whose near-duplicates the split parts.

    Looked for once in a study and kept in its folder, so that every later start says the same.
    """
    if ground.source.weights.kind == "random":
        return  # features that know nothing of images find no near-duplicates among them
    if images_across(ground.folder) is None:  # never, or by a version that only counted
        _look_for_leaks(ground, listener)
    if sentence := leak_of(ground.folder):
        listener.warning(sentence, about="leak")


def find_leaking_images(ground: Ground, listener: Listener) -> Int64:
    """Images that have a near-duplicate on another side of the split, ascending.

    What an earlier version has counted, and did not name, is looked for again.
    """
    if ground.source.weights.kind == "random":
        return np.empty(0, dtype=np.int64)
    found = images_across(ground.folder)
    if found is None:
        _look_for_leaks(ground, listener)
        found = images_across(ground.folder)
    return np.empty(0, dtype=np.int64) if found is None else found


def _look_for_leaks(ground: Ground, listener: Listener) -> None:
    source, table = ground.source, ground.table
    extract_images(source, table, listener)
    save_leaks(ground.folder, find_near_duplicates(source, table, listener), table)
