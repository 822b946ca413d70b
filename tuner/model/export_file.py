"""An exported file: written whole and read back, and read as strictly as a study file is."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tuner.config import parse_stored
from tuner.config.yaml_text import to_yaml
from tuner.config.yaml_tree import NOT_YAML
from tuner.errors import ExportError, UsageError
from tuner.files import replacing
from tuner.model.export import SCHEMA, Export
from tuner.setting import Setting
from tuner.text import escaped

_MAX_BYTES = 16 << 20  # of two hundred classes about 1 MiB


def write_export(content: dict[str, Any], path: Path) -> None:
    """Write an export whole or not at all, and read it back before success is reported.

    A file that is there is replaced when it is an export, and left alone when it is not.

    Raises:
        ExportError: If it cannot be written or does not read back the same.
    """
    if path.exists() and not (path.is_file() and _is_export(path)):
        kind = "a folder" if path.is_dir() else "a file that tuner did not export"
        raise ExportError(
            f"there is already {kind}; it was left as it is",
            where=str(path),
            do="choose another place with -o",
        )
    header = (
        f"# Best configuration of study {content['study']['name']!r}"
        f" ({content['study']['record']}).\n"
        f"# Train it again:  tuner train {escaped(shlex.quote(str(path)))}\n"
    )
    text = header + yaml.dump(
        content, Dumper=_FlowLists, sort_keys=False, allow_unicode=True, width=99
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
            if yaml.safe_load(temporary.read_text(encoding="utf-8")) != content:
                what = "the export does not read back as it was written"
                raise ExportError(what, where=str(path), do="please report this")
    except OSError as error:
        raise ExportError(
            f"the export cannot be written: {error.strerror or error}",
            where=str(path),
            do="choose another place with -o",
        ) from error


def load_export(path: Path) -> Export:
    """Read an exported file.

    Raises:
        UsageError: If there is no such file, or it is a study file.
        ExportError: If it is no export, is damaged or from another version.
        StudyFileError: If the study in it was edited and is wrong.
    """
    content = _read_yaml(path)
    if not isinstance(content, dict) or "schema" not in content:
        is_study = isinstance(content, dict) and "data" in content and "name" in content
        kind = "a study file, not an exported configuration" if is_study else "no export of tuner"
        name = path.stem if is_study else "STUDY"
        do = f"write one with: tuner export {name} -o best.yaml"
        raise ExportError(f"this is {kind}", where=str(path), do=do)
    if content["schema"] != SCHEMA:
        what = f"the export has schema {content['schema']!r}, this version reads {SCHEMA}"
        do = "write it anew with: tuner export STUDY, or use the version that wrote it"
        raise ExportError(what, where=str(path), do=do)
    try:
        # A hand may have changed the study in it: read as strictly as a study file is.
        text = to_yaml(content["study_file"])
        config = parse_stored(text, source=f"{path} (study_file)")
        export = Export(config, Setting.from_dict(content["hyperparameters"]), content)
        _check_parts(export)
    except KeyError as error:
        raise _damaged(path, f"{error} is missing") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _damaged(path, str(error)) from error
    return export


class _PlainLoader(yaml.SafeLoader):
    """Without repetitions: an export holds none, and ten lines of them expand to any size."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse ``*name``; else as SafeLoader."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="'*' repeats a value", problem_mark=mark)
        return super().compose_node(parent, index)


def _read_yaml(path: Path) -> Any:
    shown = escaped(str(path))
    try:
        return yaml.load(_read_text(path), _PlainLoader)
    except FileNotFoundError as error:
        do = "write it with: tuner export STUDY"
        raise UsageError(f"exported file '{shown}' does not exist", do=do) from error
    except IsADirectoryError as error:
        do = "name the file that `tuner export` wrote"
        raise UsageError(f"'{shown}' is a folder, not an exported file", do=do) from error
    except OSError as error:
        raise ExportError(f"cannot be read: {error.strerror or error}", where=shown) from error
    except NOT_YAML as error:
        reason = getattr(error, "problem", None) or "not a text in UTF-8"
        mark = getattr(error, "problem_mark", None)
        where = f"{shown}:{mark.line + 1}" if mark else shown
        do = "write it anew with: tuner export STUDY"
        raise ExportError(f"cannot be read as YAML: {reason}", where=where, do=do) from error


def _read_text(path: Path) -> str:
    """Text of a file of bounded size: a device would never end."""
    with path.open("rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        what = f"larger than {_MAX_BYTES >> 20} MiB, which no export is"
        raise ExportError(what, where=escaped(str(path)), do="is it the right file?")
    return content.decode("utf-8")


def _damaged(path: Path, reason: str) -> ExportError:
    return ExportError(
        f"part of the configuration is missing or damaged: {reason}",
        where=str(path),
        do="write it anew with: tuner export STUDY",
    )


def _check_parts(export: Export) -> None:
    """Raise KeyError, TypeError or ValueError where `tuner train` would stumble later."""
    record, n_classes = export.record, len(export.record["classes"])
    if export.matrix.shape != (n_classes, n_classes) or (export.matrix.sum(axis=1) < 1).any():
        raise ValueError(f"objective.confusion_matrix is not that of {n_classes} classes")
    rates = export.final_learning_rates
    if not rates or len(rates) != export.final_epochs or min(rates) <= 0:
        raise ValueError("training_used.final_learning_rates is not one positive rate an epoch")
    if adjustment := export.adjustment:
        tau, prior = adjustment
        if len(prior) != n_classes or not np.isfinite(tau) or not (prior > 0).all():
            raise ValueError(f"adjustment is not a tau and {n_classes} shares above 0")
    if export.rule:
        _ = [record["decision"][key] for key in ("costs", "recall_floors", "before", "after")]
    _ = record["data"]["fingerprint"], record["data"]["split_fingerprint"]
    for linked in record["data"].get("groups", []):
        if len(linked) < 2 or not all(isinstance(image, int) and image >= 0 for image in linked):
            raise ValueError(f"data.groups: {linked} are not two images or more")


def _is_export(path: Path) -> bool:
    """Whether a file is an export, of whatever version, or empty; no folder is one."""
    try:
        text = _read_text(path)
        content = yaml.safe_load(text)
    except (OSError, ExportError, *NOT_YAML):
        return False
    return not text.strip() or (isinstance(content, dict) and "schema" in content)


class _FlowLists(yaml.SafeDumper):
    """Block mappings, but lists of numbers on one line."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
        items = list(sequence)
        is_flat = all(isinstance(item, (int, float, str)) or item is None for item in items)
        return super().represent_sequence(tag, items, flow_style=is_flat)

    def ignore_aliases(self, data: Any) -> bool:
        return True
