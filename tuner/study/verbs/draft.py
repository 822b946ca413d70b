"""A commented study file for images that nobody has described yet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.config import StudyConfig, parse_study, safe_study_name, study_template
from tuner.config.models import AUTO, NEAR_DUPLICATES, NONE
from tuner.config.yaml_text import to_yaml
from tuner.data.folder import walk_folder
from tuner.data.image_table import ImageTable
from tuner.data.labels.propose import Proposal, propose_labels
from tuner.data.labels.rows import is_label_source
from tuner.data.layouts import find_masks, nested_classes, refuse_layout
from tuner.data.mirrored import mirrored_classes
from tuner.errors import DataError, UsageError
from tuner.files import write_whole
from tuner.home import Home
from tuner.home.founding import read_images
from tuner.text import command

# What a message calls a key of a study file, where there is only a command line yet.
_OPTIONS = {
    "data.root": "--root",
    "data.images": "--images",
    "data.group_by": "--group-by",
    "data.follow_links: true": "--follow-links",
}


@dataclass(frozen=True)
class Draft:
    """A study file that was written.

    Attributes:
        path: The file.
        table: The images.
        said: What was proposed, and why, in sentences.
    """

    path: Path
    table: ImageTable
    said: tuple[str, ...]


def draft_study(
    data: str,
    *,
    home: Home,
    output: Path | None = None,
    columns: Sequence[str] = (),
    as_is: bool = False,
    **keys: Any,
) -> Draft:
    """Look at the images and write a study file for them.

    Args:
        data: Folder per class, label file or pattern of several, or "digits".
        home: Where bundled and unpacked images are kept.
        output: Where to write; by default ``studies/NAME.yaml``.
        columns: Columns of a label file that the user named, each ``label=NAME``.
        as_is: Whether to take the folders as classes, whatever they look like.
        keys: Keys below `data` that the user gave: root, images, group_by, include, exclude,
            follow_links.

    Raises:
        DataError: If the images cannot be used.
        UsageError: If the folders are no classes, or the file cannot be written.
    """
    name = safe_study_name("digits" if data == "digits" else _stem(data))
    path = output or Path("studies") / f"{name}.yaml"
    _check_target(path)
    given = {key: value for key, value in keys.items() if value}
    try:
        proposal = _propose(data, home=home, columns=_pairs(columns), as_is=as_is, given=given)
        found = {"source": data, "range": "auto", **given, **proposal.keys}
        table = read_images(_config(name, found), home)
    except DataError as error:  # there is no study file yet whose keys could be mended
        where, do = _with_options(error.where), _with_options(error.do)
        raise DataError(error.what, where=where, do=do) from error
    said = list(proposal.said)
    other: dict[str, Any] = {}
    if pairs := mirrored_classes(table.class_names):
        other["augmentation.flip"] = False
        said.append(f"flip     false: mirrored views would change the class ({pairs})")
    text = study_template(
        name,
        data,
        classes={name: int(n) for name, n in zip(table.class_names, table.counts, strict=True)},
        path=str(path),
        keys={**{f"data.{key}": value for key, value in found.items()}, **other},
        remarks={f"data.{key}": text for key, text in proposal.remarks.items()}
        | ({"augmentation.flip": "mirrored views would change the class"} if other else {}),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        what = f"the study file cannot be written: {error.strerror or error}"
        do = "choose another place with -o"
        raise UsageError(what, where=str(path), do=do) from error
    return Draft(path, table, tuple(said))


def _propose(
    data: str, *, home: Home, columns: Mapping[str, str], as_is: bool, given: Mapping[str, Any]
) -> Proposal:
    """What the study file should say of a source beside what the user gave."""
    if is_label_source(data):
        group_by = given.get("group_by")
        group_by = None if group_by in (AUTO, NONE, NEAR_DUPLICATES) else group_by
        return propose_labels(
            data,
            home=home.path,
            root=given.get("root"),
            images=given.get("images", ()),
            columns=columns,
            group_by=group_by,
        )
    root = Path(data).expanduser().resolve()
    if columns:
        raise UsageError("--columns is for label files, but this is none", where=data)
    if data == "digits" or not root.is_dir() or as_is:
        return Proposal()
    include, exclude = given.get("include", ()), list(given.get("exclude", ()))
    files = sorted(walk_folder(root).files)
    masks = find_masks(files) if not include else None
    globs = [glob for glob in masks.globs if glob not in exclude] if masks else []
    exclude += globs
    refuse_layout(root, files, source=data, include=include, exclude=exclude)
    nested = nested_classes(root, files, include=include, exclude=exclude)
    said = [f"nested   {nested}"] if nested else []
    if not globs:
        return Proposal(said=tuple(said))
    said.append(f"masks    {masks}; left out by data.exclude, or taken with --as-is")
    return Proposal({"exclude": exclude}, {"exclude": f"{masks}; [] takes them"}, tuple(said))


def _config(name: str, data: Mapping[str, Any]) -> StudyConfig:
    return parse_study(to_yaml({"name": name, "data": dict(data)}), source="command line")


def _stem(data: str) -> str:
    """What a study of a source is called: the file or folder, without a pattern."""
    plain = [part for part in Path(data).parts if not set("*?[") & set(part)]
    if is_label_source(data) and len(plain) < len(Path(data).parts):
        fixed = Path(*plain[:-1]) if plain[:-1] else Path(plain[-1] if plain else "study")
        return fixed.resolve().stem
    return Path(data).resolve().stem


def _pairs(columns: Sequence[str]) -> dict[str, str]:
    """``label=NAME`` of the command line, by what the column says."""
    found = {}
    for given in columns:
        key, equals, name = given.partition("=")
        if not equals or not name or key not in ("path", "label", "group", "split"):
            raise UsageError(
                f"--columns {given!r} names no column",
                do="write path=NAME, label=NAME, group=NAME or split=NAME",
            )
        found[key] = name
    return found


def _with_options(text: str) -> str:
    for key, option in _OPTIONS.items():  # in the place of a value, "data.root: /a", they stay
        text = re.sub(rf"{re.escape(key)}(?!:)", option, text)
    if 'data.exclude: ["' in text:
        text = text.replace('data.exclude: ["', "--exclude '").replace('"]', "'")
    return text.replace("data.exclude", "--exclude")


def _check_target(path: Path) -> None:
    """Refuse what would overwrite a study file or could not be named to ``tuner run``."""
    if path.is_dir():
        do = f"name a file in it: -o {command(path / 'NAME.yaml')}"
        raise UsageError(f"'{path}' is a folder", do=do)
    if path.exists():
        do = "choose another place with -o, or delete it first"
        raise UsageError(f"'{path}' exists already", do=do)
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(
            f"'{path}' does not end in .yaml", do=f"write -o {command(f'{path}.yaml')}"
        )
