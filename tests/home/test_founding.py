"""Images on the way into a study: near-duplicate groups are kept and never forgotten."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.small_study import small_config
from tuner.errors import StudyError
from tuner.home import Home
from tuner.home.founding import is_grouped, open_study, read_images, split_images, with_groups

GROUPED = "data.group_by=near_duplicates"


@pytest.fixture
def images(tmp_path):
    """Configuration, images without groups, and a home for studies."""
    config = small_config(GROUPED)
    return config, read_images(config, Home(tmp_path)), Home(tmp_path)


def test_images_that_are_not_in_groups_are_never_split(images):
    """Forgetting to group would leak in silence; it is a mistake of the program."""
    config, index, home = images
    assert not is_grouped(config, index)
    with pytest.raises(ValueError, match="not in groups"):
        split_images(config, index)
    with pytest.raises(ValueError, match="not in groups"):
        open_study(config, index, home)


def test_a_study_goes_on_with_the_groups_that_it_began_with(images):
    """No features are asked for a second time, and the images count as unchanged."""
    config, index, home = images
    groups = np.arange(index.n_images) // 2
    begun = open_study(config, replace(index, groups=groups), home)
    assert begun.is_new
    again = open_study(config, index, home)
    assert not again.is_new
    np.testing.assert_array_equal(again.index.groups, groups)
    assert again.index.fingerprint == begun.index.fingerprint
    fold = again.folder.images.fold
    assert all(len(set(fold[groups == g].tolist())) == 1 for g in range(groups.max() + 1))


def test_groups_of_other_images_are_not_taken(images):
    """When a file has changed, it is said; old groups are not put on new images."""
    config, index, home = images
    begun = open_study(config, replace(index, groups=np.arange(index.n_images)), home)
    changed = replace(index, sha256=("0" * 64, *index.sha256[1:]))
    assert with_groups(config, changed, begun.folder).groups is None
    with pytest.raises(StudyError, match=r"1 changed \("):
        open_study(config, changed, home)


def test_a_study_does_not_change_between_groups_and_none(images):
    """Trials on a random split and on a grouped one cannot be compared."""
    config, index, home = images
    open_study(config, replace(index, groups=np.arange(index.n_images)), home)
    with pytest.raises(StudyError, match=r"data\.group_by"):
        open_study(small_config(), index, home)
