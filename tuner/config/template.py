"""The commented study file that `tuner init` writes."""

from __future__ import annotations

import os
import re
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from tuner.config.models import AUTO
from tuner.config.study_file import parse_study
from tuner.config.yaml_text import to_flow, to_yaml
from tuner.setting import HYPERPARAMETERS
from tuner.text import escaped

MAX_CLASSES_SHOWN = 60
_WIDTH = 96


def safe_study_name(text: str) -> str:
    """A name that a study may have, close to `text`; a folder's name, for instance."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")[:100] or "study"


def study_template(
    name: str,
    source: str,
    *,
    classes: Mapping[str, int],
    image_px: int = 224,
    group_by: str | None = AUTO,
    root: str | None = None,
    trials: int = 60,
    path: str = "",
    keys: Mapping[str, Any] | None = None,
    remarks: Mapping[str, str] | None = None,
    question: str = "Which treatment finds the rare classes, and is it better than none?",
) -> str:
    """Commented study file with every value written out, as `tuner init` writes it.

    Args:
        name: Of the study.
        source: Of the images: folder, manifest or ``digits``.
        classes: Images per class, in class order.
        image_px: Side of the square images, in pixels.
        group_by: Column of a label file, ``auto``, ``near_duplicates`` or ``none``.
        root: Folder that a manifest's paths are relative to.
        trials: Finished trials in all.
        path: Where the file will lie; ``studies/<name>.yaml`` unless given.
        keys: Other keys of a study file, as ``{"data.exclude": ["*_mask.png"]}``.
        remarks: Comments in place of those of a key, by its dotted name; more than a line of
            them stand above it.
        question: First line of the file.

    Returns:
        Text that `parse_study` reads.

    Raises:
        StudyFileError: If one of these is not allowed in a study file.
    """
    path = path or os.path.join("studies", f"{name}.yaml")
    defaults = {name: h.default_for(len(classes)) for name, h in HYPERPARAMETERS.items()}
    data = {"source": source, "root": root, "image_px": image_px, "group_by": group_by}
    tree: dict[str, Any] = {"name": name, "data": data, "search": {"trials": trials, **defaults}}
    for key, value in (keys or {}).items():
        block, _, leaf = key.rpartition(".")
        tree.setdefault(block, {})[leaf] = value
    config = parse_study(to_yaml(tree), source=escaped(path))
    lines = _commented(config, remarks=remarks or {})
    return "\n".join([*_preamble(path, question, classes), *lines, ""])


def _preamble(path: str, question: str, classes: Mapping[str, int]) -> Iterator[str]:
    command = escaped(shlex.quote(path))
    yield f"# {escaped(question)}"
    yield "#"
    yield f"# Run:    tuner run {command}    (the same command goes on after a stop)"
    yield f"# Look:   tuner check {command}"
    yield f"# Judge:  tuner confirm {command}    (opens the sealed test, once)"
    yield "#"
    yield f"# Scientific: {', '.join(HYPERPARAMETERS)}."
    yield "# Nuisance: none. Fixed: all the rest. Once trials are there, only trials, retries,"
    yield "# sampler, pruner, batch and the place of the data may change."
    yield "#"
    yield f"# {sum(classes.values())} images in {len(classes)} classes:"
    width = max((len(escaped(label)) for label in classes), default=0)
    for label, count in list(classes.items())[:MAX_CLASSES_SHOWN]:
        yield f"#   {escaped(label):<{width}}  {count:>6}"
    if len(classes) > MAX_CLASSES_SHOWN:
        yield f"#   … and {len(classes) - MAX_CLASSES_SHOWN} more"


def _commented(
    block: BaseModel, *, remarks: Mapping[str, str], prefix: str = "", indent: str = ""
) -> Iterator[str]:
    for name, info in type(block).model_fields.items():
        key, value = prefix + name, getattr(block, name)
        remark = escaped(remarks.get(key, str(info.description)))
        if isinstance(value, BaseModel):
            yield from ([] if indent else [""])
            yield from textwrap.wrap(
                remark, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
            )
            yield f"{indent}{name}:"
            yield from _commented(value, remarks=remarks, prefix=f"{key}.", indent=indent + "  ")
            continue
        line = f"{indent}{name}: {to_flow(value)}"
        if key in remarks and len(line) + len(remark) > _WIDTH:
            yield from textwrap.wrap(
                remark, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
            )
            yield line
        else:
            yield f"{line}  # {remark}"
