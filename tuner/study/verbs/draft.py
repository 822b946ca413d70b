"""A commented study file for images that nobody has described yet."""

from __future__ import annotations

from pathlib import Path

from tuner.config import safe_study_name, study_template
from tuner.data.image_table import ImageTable
from tuner.data.reading import read_image_table
from tuner.errors import DataError, UsageError
from tuner.files import write_whole
from tuner.home import Home
from tuner.home.founding import NEAR_DUPLICATES
from tuner.text import command


def draft_study(
    data: str, *, output: Path | None, root: str | None, group_by: str | None, home: Home
) -> tuple[Path, ImageTable]:
    """Look at the images and write a study file for them.

    Args:
        data: Folder per class, manifest ``.csv``, or "digits".
        output: Where to write; by default ``studies/NAME.yaml``.
        root: Folder that a manifest's paths start from.
        group_by: Column of a manifest, or ``near_duplicates``.
        home: Where bundled images are unpacked.

    Returns:
        The file, and the images.

    Raises:
        DataError: If the images cannot be used.
        UsageError: If the file cannot be written.
    """
    name = safe_study_name("digits" if data == "digits" else Path(data).resolve().stem)
    path = output or Path("studies") / f"{name}.yaml"
    _check_target(path)
    try:
        column = None if group_by == NEAR_DUPLICATES else group_by
        table = read_image_table(
            data, home=home.path, root=root, group_by=column, value_range="auto"
        )
    except DataError as error:  # there is no study file yet whose keys could be mended
        do = error.do.replace("data.root", "--root").replace("data.group_by", "--group-by")
        raise DataError(error.what, where=error.where, do=do) from error
    counts = {name: int(n) for name, n in zip(table.class_names, table.counts, strict=True)}
    text = study_template(name, data, classes=counts, path=str(path), root=root, group_by=group_by)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        what = f"the study file cannot be written: {error.strerror or error}"
        do = "choose another place with -o"
        raise UsageError(what, where=str(path), do=do) from error
    return path, table


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
