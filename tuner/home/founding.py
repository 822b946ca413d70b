"""Open a study: images, split and folder, the same on the first start and on every other."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuner.arrays import Int64
from tuner.config import (
    ColumnsConfig,
    DataConfig,
    StudyConfig,
    dump_study,
    incomparable_changes,
    resolve_alpha,
)
from tuner.config.models import AUTO, NEAR_DUPLICATES, NONE, GroupPattern
from tuner.data.decoding.resize import DECODE, OLD_DECODE
from tuner.data.image_table import ImageTable
from tuner.data.labels.listing import LabelFile
from tuner.data.labels.rows import is_label_source
from tuner.data.near_duplicates.groups import divided_by_side, groups_of_paths, joined_groups
from tuner.data.reading import read_image_table, source_root
from tuner.data.split import make_split
from tuner.errors import DataError, StudyError
from tuner.files import write_whole
from tuner.home import Home
from tuner.home.images_csv import write_images
from tuner.home.records import LARGE
from tuner.home.seal import write_seal
from tuner.home.study_folder import StudyFolder, check_whole
from tuner.versions import git_state, package_versions


def read_images(
    config: StudyConfig, home: Home, *, on_progress: Callable[[int, int], None] | None = None
) -> ImageTable:
    """The study's images as they are now, not split.

    Near-duplicates are not in groups yet (see `with_groups`); with ``group_by: auto`` neither are
    the groups that the source lists.

    Raises:
        DataError: If the images or the manifest cannot be used.
    """
    table = read_image_table(
        config.data.source,
        home=home.path,
        root=config.data.root,
        images=config.data.images,
        columns=_columns(config.data),
        class_names=config.data.class_names,
        group_by=_group_column(config.data),
        include=config.data.include,
        exclude=config.data.exclude,
        value_range=config.data.range,
        follow_links=config.data.follow_links,
        min_images=config.data.min_images,
        rest=config.data.rest,
        per_class=config.data.sample.per_class if config.data.sample else None,
        on_progress=on_progress,
    )
    folder = StudyFolder(home.studies / config.name)
    if folder.exists:
        table = replace(table, rule=replace(table.rule, order=folder.rule.order))
    group_by = config.data.group_by
    if isinstance(group_by, GroupPattern):
        table = replace(table, groups=groups_of_paths(table.paths, group_by.pattern))
    listed = table.groups
    if group_by == AUTO:
        return replace(table, groups=None, listed_groups=listed)
    return replace(table, listed_groups=listed, is_grouped=group_by != NEAR_DUPLICATES)


def _group_column(data: DataConfig) -> str | None:
    """What the reader of label files is told of groups."""
    if isinstance(data.group_by, GroupPattern) or data.group_by in (NEAR_DUPLICATES, NONE):
        return None
    if data.group_by == AUTO and not is_label_source(data.source):
        return None
    return data.group_by


def _columns(data: DataConfig) -> ColumnsConfig | None:
    """The columns of the label file, without that of groups where others take its place."""
    is_other = isinstance(data.group_by, GroupPattern) or data.group_by in (NEAR_DUPLICATES, NONE)
    if data.columns is None or not is_other:
        return data.columns
    return data.columns.model_copy(update={"group": None})


def as_begun(config: StudyConfig, folder: StudyFolder) -> StudyConfig:
    """The study with what its file leaves open as it was settled when the study began.

    That is the engine, who is shown as views and, by ``auto`` or null, the groups: earlier
    versions wrote null where nobody had asked for any. A study that began so goes on so; a new one
    keeps near-duplicates together.
    """
    then = folder.config if folder.exists else None
    data, backbone = config.data, config.backbone
    if data.group_by in (None, AUTO):
        is_old = then is not None and then.data.group_by is None
        data = data.model_copy(update={"group_by": None if is_old else AUTO})
    if backbone.engine == "auto" and then is not None:
        backbone = backbone.model_copy(update={"engine": then.backbone.engine})
    augmentation = config.augmentation
    if then is not None and "policy" not in augmentation.model_fields_set:
        augmentation = augmentation.model_copy(update={"policy": then.augmentation.policy})
    blocks = {"data": data, "backbone": backbone, "augmentation": augmentation}
    return config.model_copy(update=blocks)


def with_groups(config: StudyConfig, table: ImageTable, folder: StudyFolder) -> ImageTable:
    """The table with the near-duplicate groups that a study of the same images began with.

    Found anew, on another machine or by a later version, they might differ; what a study goes on
    with must not. The table comes back as it is where there is nothing to take.
    """
    if is_grouped(config, table) or not folder.exists:
        return table
    then = folder.images
    is_same = then.paths == table.paths and then.sha256 == table.sha256
    if not asks_for_near_duplicates(folder.config) or not is_same:
        return table
    return replace(table, groups=then.groups, is_grouped=True)


def asks_for_near_duplicates(config: StudyConfig) -> bool:
    """Whether images that show the same are to be kept together."""
    return config.data.group_by in (AUTO, NEAR_DUPLICATES)


def with_found_groups(config: StudyConfig, table: ImageTable, found: Int64 | None) -> ImageTable:
    """The table in the groups that the study asks for.

    Args:
        config: The study, which asks for near-duplicates.
        table: Its images, as they were read.
        found: Groups of near-duplicates, int64 (n_images,); None where nobody has looked.
    """
    alone = config.data.group_by == NEAR_DUPLICATES and found is not None
    groups = found if alone else joined_groups(found, table.listed_groups)
    return replace(table, groups=groups, is_grouped=True)


def is_grouped(config: StudyConfig, table: ImageTable) -> bool:
    """Whether the table has the groups that the study asks for."""
    return table.is_grouped or not asks_for_near_duplicates(config)


def split_images(config: StudyConfig, table: ImageTable) -> ImageTable:
    """Seal the test and deal the folds, by the study seed alone.

    Raises:
        SplitError: If a class is too small.
        ValueError: If near-duplicates are to be grouped and are not: they would leak.
    """
    if not is_grouped(config, table):
        raise ValueError("near-duplicates are not in groups yet")
    groups = table.groups
    if config.data.group_by == AUTO:  # what a shipped test parts is said, not refused
        groups = divided_by_side(groups, table.is_shipped_test)
    fold = make_split(
        table.labels,
        class_names=table.class_names,
        n_folds=config.split.folds,
        test_fraction=config.split.test_fraction,
        seed=config.seed,
        groups=groups,
        is_shipped_test=table.is_shipped_test,
    )
    return replace(table, fold=fold)


def open_study(
    config: StudyConfig, table: ImageTable, home: Home, *, question: str = ""
) -> StudyFolder:
    """Create the study's folder, or check that going on compares like with like.

    Args:
        config: The study file.
        table: The images as they are now; they need not be split.
        home: Where studies live.
        question: What the study is to answer; kept when it begins.

    Returns:
        The folder. Its images have the folds that the study began with, and their root.

    Raises:
        SplitError: If a class is too small for the folds.
        StudyError: If settings or images changed since the study began.
    """
    resolve_alpha(config, table.n_classes)
    folder = StudyFolder(home.studies / config.name)
    table = with_groups(config, table, folder)
    if folder.exists:
        check_unchanged(folder, config, table)
        keep_settings(folder, config)
    else:
        about = {
            "versions": package_versions(),
            "git": git_state(Path.cwd()),
            "question": question,
        }
        create_study_folder(folder, config, split_images(config, table), about=about)
    show_images(folder, table)
    return folder


def show_images(folder: StudyFolder, table: ImageTable) -> None:
    """Tell the folder where its images lie and what was noticed of them, which it does not keep.

    Args:
        folder: A study of these images.
        table: The images as they were found.
    """
    folder.images = replace(table, fold=folder.images.fold)


def create_study_folder(
    folder: StudyFolder, config: StudyConfig, table: ImageTable, *, about: dict[str, Any]
) -> None:
    """Write a new study's folder; it exists once `about.json` is there.

    Args:
        folder: Where.
        config: The study file.
        table: The images, split.
        about: What else to say of the study.

    Raises:
        StudyError: If results lie there that have lost it: a new study would mix with them, and
            its seal would forget who opened the test.
    """
    check_whole(folder)
    folder.records_path.mkdir(parents=True, exist_ok=True)
    write_images(folder.path / "images.csv", table)
    write_whole(folder.path / "study.yaml", dump_study(config))
    write_seal(folder.path / "seal.json")
    facts = {
        "class_names": list(table.class_names),
        "data_fingerprint": table.fingerprint,
        "split_fingerprint": table.split_fingerprint,
        "problems": [[p.path, p.reason] for p in table.problems],
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "decode": DECODE,
        "range": table.rule.range,
        "id": secrets.token_hex(16),  # tells two homes apart that began the same study at once
        **about,
    }
    if config.records.predictions == "auto" and table.n_images * table.n_classes > LARGE:
        facts["predictions"] = "best"  # earlier studies keep all, and say nothing of it
    if table.drawn:
        facts["drawn"] = dict(table.drawn)
    write_whole(folder.path / "about.json", json.dumps(facts, indent=1))


def check_unchanged(folder: StudyFolder, config: StudyConfig, table: ImageTable) -> None:
    """Refuse to go on when that would mix trials that cannot be compared.

    Raises:
        StudyError: If a setting or an image that matters has changed; names which.
    """
    _check_decode(folder, table)
    changes = incomparable_changes(folder.config, config)
    if folder.rule != table.rule:
        changes.append(f"data.range: {folder.rule.words} -> {table.rule.words}")
    if changes:
        raise StudyError(
            f"study '{folder.name}' was begun with other settings: " + "; ".join(changes),
            where=str(folder.path / "study.yaml"),
            do="change them back, or give the study another name",
        )
    if folder.about["data_fingerprint"] == table.fingerprint:
        return
    then = dict(zip(folder.images.paths, folder.images.sha256, strict=True))
    now = dict(zip(table.paths, table.sha256, strict=True))
    differences = {
        "added": sorted(now.keys() - then.keys()),
        "removed": sorted(then.keys() - now.keys()),
        "changed": sorted(p for p in then.keys() & now.keys() if then[p] != now[p]),
    }
    said = [
        f"{len(paths)} {what} ({paths[0]}{', …' if len(paths) > 1 else ''})"
        for what, paths in differences.items()
        if paths
    ]
    raise StudyError(
        f"the images of study '{folder.name}' are not those it began with: "
        + (", ".join(said) or "labels or groups differ"),
        where=str(table.root),
        do="restore them, or give the study another name to start anew on what is there",
    )


def _check_decode(folder: StudyFolder, table: ImageTable) -> None:
    """Refuse to go on with a study of tuner 1 whose images it read wrongly: none would compare."""
    if folder.decode != OLD_DECODE or not table.mended:
        return
    first, n_images = table.mended[0], len(table.mended)
    found = "1 image" if n_images == 1 else f"{n_images:,} images"
    raise StudyError(
        f"study '{folder.name}' began when tuner read {found} wrongly, for example {first.path} "
        f"({first.reason}); new trials could not be compared with its own",
        where=str(folder.path),
        do="what it has found can still be shown and exported; to search on, give the study "
        "another name and begin anew",
    )


def keep_settings(folder: StudyFolder, config: StudyConfig) -> None:
    """Store settings that may change between starts, such as the number of trials."""
    if folder.config != config:
        write_whole(folder.path / "study.yaml", dump_study(config))
        folder.config = config


def data_root(config: StudyConfig, home: Home) -> Path | None:
    """The folder that the paths of a study's images start from, where it is still there."""
    data = config.data
    labels = LabelFile(source=data.source, root=data.root, images=data.images)
    try:
        root = source_root(labels, home=home.path)
    except DataError:
        return None
    return root.resolve() if root.is_dir() else None
