"""A live search knows which image and view each row is, and needs the bank for images only."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from tests.small_study import SIDE, Small, fill
from tuner.errors import BankError
from tuner.features.bank import FeatureBank
from tuner.features.views import view_key
from tuner.training.inputs import LiveSource, load_inputs, rows_to_extract


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The small study, and where its images lie."""
    place = tmp_path_factory.mktemp("live")
    small = Small(place / "home", place / "data")
    search = small.open()
    return search, small.table(search.config).root


def test_rows_name_their_image_and_view(opened, tmp_path):
    """Every row of `row_of` is that image and view again, in a bank that holds no view."""
    search, root = opened
    config, images, names = search.config, search.folder.images, search.inputs.class_names
    bank = FeatureBank(tmp_path, {"features": "pixels"}, n_features=SIDE * SIDE)
    wanted = rows_to_extract(config, images, root, n_classes=len(names))
    fill(bank, [row for row in wanted if row.view == 0], augmentation=config.augmentation)
    with pytest.raises(BankError):
        load_inputs(config, images, bank, class_names=names)
    inputs = load_inputs(
        config, images, bank, class_names=names, live=LiveSource(root, "a backbone")
    )
    live = inputs.live
    assert (live.backbone, live.is_fresh, live.image_px) == ("a backbone", True, 32)
    np.testing.assert_array_equal(inputs.row_of, search.inputs.row_of)
    rows = np.arange(len(inputs.y))
    np.testing.assert_array_equal(inputs.row_of[live.row_place, live.row_view], rows)
    assert [file.sha256 for file in live.files] == [images.sha256[i] for i in images.search]
    assert all(file.path.is_file() for file in live.files)
    np.testing.assert_array_equal(inputs.y, inputs.labels[live.row_place])
    keys = [view_key(f.sha256, 0, augmentation=config.augmentation) for f in live.files]
    np.testing.assert_array_equal(ops.convert_to_numpy(inputs.X), bank.read(keys))
