"""Open a study: images, split and folder, the same on the first start and on every other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tuner.config import StudyConfig, resolve_alpha
from tuner.data.index import ImageIndex, read_index
from tuner.data.split import Split, make_split
from tuner.home import Home
from tuner.home.study_folder import (
    StudyFolder,
    check_unchanged,
    create_study_folder,
    keep_settings,
)
from tuner.versions import git_state, package_versions

NEAR_DUPLICATES = "near_duplicates"  # value of `data.group_by` that is no column


@dataclass(frozen=True)
class Opened:
    """A study whose folder is there.

    Attributes:
        config: The resolved study file.
        folder: Its folder in the home.
        index: The images as they are now.
        is_new: Whether this call created the folder.
    """

    config: StudyConfig
    folder: StudyFolder
    index: ImageIndex
    is_new: bool


def read_images(
    config: StudyConfig, home: Home, *, on_progress: Callable[[int, int], None] | None = None
) -> ImageIndex:
    """Index of the study's images; near-duplicates are not in groups yet (`with_groups`).

    Raises:
        DataError: If the images or the manifest cannot be used.
    """
    return read_index(
        config.data.source,
        home=home.path,
        root=config.data.root,
        group_by=None if config.data.group_by == NEAR_DUPLICATES else config.data.group_by,
        include=config.data.include,
        exclude=config.data.exclude,
        on_progress=on_progress,
    )


def with_groups(config: StudyConfig, index: ImageIndex, folder: StudyFolder) -> ImageIndex:
    """The index with the near-duplicate groups that a study of the same images began with.

    Found anew, on another machine or by a later version, they might differ; what a study goes on
    with must not. The index comes back as it is where there is nothing to take.
    """
    if is_grouped(config, index) or not folder.exists:
        return index
    then = folder.images
    is_same = then.paths == list(index.paths) and then.sha256 == list(index.sha256)
    if folder.config.data.group_by != NEAR_DUPLICATES or not is_same:
        return index
    return replace(index, groups=then.groups)


def is_grouped(config: StudyConfig, index: ImageIndex) -> bool:
    """Whether the index has the groups that the study asks for."""
    return config.data.group_by != NEAR_DUPLICATES or index.groups is not None


def split_images(config: StudyConfig, index: ImageIndex) -> Split:
    """Seal the test and deal the folds, by the study seed alone.

    Raises:
        SplitError: If a class is too small.
        ValueError: If near-duplicates are to be grouped and are not: they would leak.
    """
    if not is_grouped(config, index):
        raise ValueError("near-duplicates are not in groups yet")
    return make_split(
        index.labels,
        class_names=index.class_names,
        n_folds=config.split.folds,
        test_fraction=config.split.test_fraction,
        seed=config.seed,
        groups=index.groups,
        is_shipped_test=index.is_shipped_test,
    )


def open_study(
    config: StudyConfig, index: ImageIndex, home: Home, *, question: str = ""
) -> Opened:
    """Create the study's folder, or check that going on compares like with like.

    Args:
        config: The study file.
        index: The images.
        home: Where studies live.
        question: What the study is to answer; kept when it begins.

    Raises:
        SplitError: If a class is too small for the folds.
        StudyError: If settings or images changed since the study began.
    """
    resolve_alpha(config, index.n_classes)
    folder = StudyFolder(home.studies / config.name)
    index = with_groups(config, index, folder)
    if folder.exists:
        check_unchanged(folder, config, index)
        keep_settings(folder, config)
        return Opened(config, folder, index, is_new=False)
    about = {"versions": package_versions(), "git": git_state(Path.cwd()), "question": question}
    create_study_folder(folder, config, index, split_images(config, index), about=about)
    return Opened(config, folder, index, is_new=True)


def data_root(config: StudyConfig, home: Home) -> Path | None:
    """The folder that the paths of a study's images start from, where it is still there."""
    source = config.data.source
    if source == "digits":
        root = home.path / "datasets" / "digits"
    elif config.data.root is not None:
        root = Path(config.data.root).expanduser()
    else:
        root = Path(source).expanduser()
        root = root.parent if root.suffix.lower() == ".csv" else root
    return root.resolve() if root.is_dir() else None
