"""Studies that tuner 1 began go on with the pictures that they began with."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.small_study import small_config
from tuner.data.decoding.resize import DECODE, OLD_DECODE
from tuner.data.decoding.rule import PixelRule
from tuner.data.sources import Problem
from tuner.errors import StudyError
from tuner.home import Home
from tuner.home.founding import open_study, read_images
from tuner.home.study_folder import StudyFolder


@pytest.fixture
def begun(tmp_path):
    """A study of this version, its configuration and its home."""
    config, home = small_config(), Home(tmp_path)
    return open_study(config, read_images(config, home), home), config, home


def made_older(folder, *, pillow):
    """The same as tuner 1 would have left it under some Pillow."""
    path = folder.path / "about.json"
    about = json.loads(path.read_text())
    del about["decode"], about["range"]
    about["versions"]["pillow"] = pillow
    path.write_text(json.dumps(about))
    return StudyFolder(folder.path)


def test_a_study_knows_what_its_features_were_made_from(begun, tmp_path):
    """One to come will be of this version's pictures, one of tuner 1 goes on with its own."""
    folder, _, _ = begun
    assert StudyFolder(tmp_path / "to come").decode == folder.decode == DECODE
    assert made_older(folder, pillow="12.3.0").decode == OLD_DECODE


@pytest.mark.parametrize(
    ("pillow", "order"), [("11.0.0", "columns"), ("12.3.0", "columns"), ("13.0.0", "pillow 13")]
)
def test_an_older_study_goes_on_in_the_order_of_its_pillow(begun, pillow, order):
    """Whatever Pillow there is now, new rows are resized as those that are there."""
    folder, config, home = begun
    made_older(folder, pillow=pillow)
    table = read_images(config, home)
    assert table.rule == PixelRule(order=order)
    assert open_study(config, table, home).images.rule == PixelRule(order=order)


def test_an_older_study_of_misread_images_is_told_to_begin_anew(begun):
    """One message names an image and what was wrong; a study of this version goes on."""
    folder, config, home = begun
    table = read_images(config, home)
    table = replace(table, mended=(Problem(table.paths[0], "white is zero"),))
    open_study(config, table, home)
    made_older(folder, pillow="12.3.0")
    with pytest.raises(StudyError, match=r"read 1 image wrongly.*white is zero") as error:
        open_study(config, table, home)
    assert "begin anew" in error.value.do


def test_the_range_that_a_study_began_with_is_kept(tmp_path):
    """It is stored when the study begins; images that would be read otherwise are refused."""
    config, home = small_config(), Home(tmp_path)
    table = read_images(config, home)
    begun = replace(table, rule=PixelRule((0.0, 4095.0)))
    open_study(config, begun, home)
    assert open_study(config, begun, home).rule == PixelRule((0.0, 4095.0))
    with pytest.raises(StudyError, match=r"data.range: \[0, 4095\] -> full"):
        open_study(config, table, home)
