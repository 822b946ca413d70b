from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.data.near_duplicates.test_likeness import texture
from tuner.data.near_duplicates.spectra import as_halves, complex_bands, read_spectra, spectrum
from tuner.errors import DataError


def test_every_file_is_read_and_progress_counts_them(tmp_path):
    """Band, power and side of each file, in the order of the files."""
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    texture(0, side=40).resize((80, 60)).save(files[0])
    Image.new("L", (50, 90), 7).save(files[1])
    seen = []
    found = read_spectra(files, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert found.side.tolist() == [60, 50]
    assert found.is_plain.tolist() == [False, True]
    assert found.bands[0].any()
    assert not found.bands[1].any()
    assert found.power.shape[0] == 2


def test_a_file_that_has_gone_is_named(tmp_path):
    """A file that was there when indexed and is not any more is one message with its path."""
    with pytest.raises(DataError) as caught:
        read_spectra([tmp_path / "gone.png"])
    assert "gone.png" in str(caught.value)


@pytest.mark.parametrize("turn", list(Image.Transpose))
def test_power_is_that_of_every_turn_and_mirror_image(turn):
    """By it turned copies are found near their original."""
    picture = texture(3)
    turned = spectrum(picture.transpose(turn)).power
    np.testing.assert_allclose(turned, spectrum(picture).power, atol=0.25)
    assert np.abs(spectrum(texture(4)).power - spectrum(picture).power).mean() > 0.5


def test_halves_keep_three_digits():
    """Half of the memory, and no more is lost than a likeness can show."""
    band = spectrum(texture(0)).band[None]
    np.testing.assert_allclose(complex_bands(as_halves(band)), band, atol=2e-4)
