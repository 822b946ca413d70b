"""The commented study file that `tuner init` writes."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from tuner.config.study_file import parse_study
from tuner.config.yaml_text import to_yaml
from tuner.setting import HYPERPARAMETERS
from tuner.text import escaped

MAX_CLASSES_SHOWN = 60


def safe_study_name(text: str) -> str:
    """A name that a study may have, close to `text`; a folder's name, for instance."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")[:100] or "study"


def study_template(
    name: str,
    source: str,
    *,
    classes: Mapping[str, int],
    image_px: int = 224,
    group_by: str | None = None,
    root: str | None = None,
    trials: int = 60,
    path: str = "",
    question: str = "Which treatment finds the rare classes, and is it better than none?",
) -> str:
    """Commented study file with every value written out, as `tuner init` writes it.

    Args:
        name: Of the study.
        source: Of the images: folder, manifest or ``digits``.
        classes: Images per class, in class order.
        image_px: Side of the square images, in pixels.
        group_by: Manifest column or ``near_duplicates``.
        root: Folder that a manifest's paths are relative to.
        trials: Finished trials in all.
        path: Where the file will lie; ``studies/<name>.yaml`` unless given.
        question: First line of the file.

    Returns:
        Text that `parse_study` reads.

    Raises:
        StudyFileError: If one of these is not allowed in a study file.
    """
    path = path or os.path.join("studies", f"{name}.yaml")
    defaults = {name: h.default_for(len(classes)) for name, h in HYPERPARAMETERS.items()}
    data = {
        "source": source,
        "root": root,
        "image_px": image_px,
        "group_by": group_by,
        "range": "auto",
    }
    search = {"trials": trials, **defaults}
    config = parse_study(
        to_yaml({"name": name, "data": data, "search": search}), source=escaped(path)
    )
    return "\n".join([*_preamble(path, question, classes), *_commented(config), ""])


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


def _commented(block: BaseModel, indent: str = "") -> Iterator[str]:
    for name, info in type(block).model_fields.items():
        value = getattr(block, name)
        if isinstance(value, BaseModel):
            yield from ("", f"# {info.description}", f"{name}:")
            yield from _commented(value, indent="  ")
        else:
            yield f"{indent}{to_yaml({name: value}).rstrip()}  # {info.description}"
