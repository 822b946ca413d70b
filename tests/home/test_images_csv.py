"""images.csv: whatever a file is called, and whichever fold it is in, comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.home.made import created, table_of
from tuner.home.images_csv import read_images, write_images


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    paths=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
        min_size=3,
        max_size=9,
        unique=True,
    ),
    grouped=st.booleans(),
)
def test_images_with_any_path(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str], *, grouped: bool
) -> None:
    """Commas, quotes, line ends, spaces, NA and any script survive in images.csv."""
    table = table_of(paths, class_names=("NA", 'q"u,o\nte', "null"), grouped=grouped)
    images = created(tmp_path_factory.mktemp("home") / "s", table).images
    assert list(images.paths) == paths
    assert images.sha256 == table.sha256
    np.testing.assert_array_equal(images.labels, table.labels)
    if grouped:
        np.testing.assert_array_equal(images.groups, table.groups)
    else:
        assert images.groups is None


@pytest.mark.parametrize(
    "path", ["NA", "nan", "007", "1e5", " lead", "trail ", 'a"b', "a,b", "ü/日本.png", "a\rb"]
)
def test_paths_that_look_like_something_else(tmp_path: Path, path: str) -> None:
    """A path is text, whatever number or missing value it looks like."""
    images = created(tmp_path / "s", table_of([path, "b.png", "c.png"])).images
    assert images.paths[0] == path


def test_folds_come_back_as_they_were_sealed(tmp_path: Path) -> None:
    """The sealed test and every fold are those that were written; any other split is refused."""
    fold = np.array([0, -1, 1, -1, 0, 1])
    table = replace(table_of([f"{i}.png" for i in range(6)]), fold=fold)
    path = tmp_path / "images.csv"
    write_images(path, table)
    known = {"class_names": table.class_names, "split_fingerprint": table.split_fingerprint}

    images = read_images(path, **known)

    assert images.search.tolist() == [0, 2, 4, 5]
    np.testing.assert_array_equal(images.fold, fold)
    write_images(path, replace(table, fold=fold[::-1]))
    with pytest.raises(ValueError, match="images or folds are not those"):
        read_images(path, **known)
