"""What is said of the device: the backend's own word, and why a card that is there is not used."""

import os
import sys

import keras
import numpy as np
import pytest

from tuner.features.device import (
    Device,
    empty_rows,
    find_device,
    prepare_environment,
    to_device,
)


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Puts a program called nvidia-smi first on the path; a function of what it runs."""
    if sys.platform == "win32":
        pytest.skip("the stand-in is a shell script")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def make(script):
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


@pytest.fixture
def without_gpu():
    """Skips where the backend does see a card."""
    if find_device().kind == "gpu":
        pytest.skip("this machine has a GPU that works")


def test_device_is_the_backends():
    """Kind, name and backend are those that Keras computes on."""
    device = find_device()
    name = keras.backend.backend()
    assert device.kind in ("cpu", "gpu")
    version = sys.modules[name].__version__
    assert device.backend == f"{name} {version}"
    assert str(device) == f"{device.name} ({name} {version})"
    assert (device.name == "CPU") == (device.kind == "cpu")


@pytest.mark.usefixtures("without_gpu")
def test_card_that_the_backend_cannot_use_is_said(nvidia_smi):
    """A card that the driver lists but the backend lacks is named, with the install command."""
    nvidia_smi('echo "NVIDIA H200"')
    device = find_device()
    assert device.kind == "cpu"
    assert device.warning.startswith(f"NVIDIA H200 is present, but {device.backend} sees no GPU")
    assert "pip install" in device.warning


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(
    "script",
    [
        'echo "NVIDIA-SMI has failed because it could not talk to the driver."; exit 9',
        "exit 0",
        "echo",
    ],
    ids=["driver broken", "no cards", "blank line"],
)
def test_no_card_no_warning(nvidia_smi, script):
    """Without a card that the driver lists there is nothing to say, whatever the tool prints."""
    nvidia_smi(script)
    assert find_device().warning == ""


@pytest.mark.usefixtures("without_gpu")
def test_machine_without_driver_has_no_warning(monkeypatch, tmp_path):
    """Where there is no nvidia-smi at all, nothing is said either."""
    monkeypatch.setenv("PATH", str(tmp_path))
    device = find_device()
    assert device == Device("cpu", "CPU", device.backend)


def test_environment_is_prepared_and_the_users_wins(monkeypatch):
    """GPU memory is taken as needed on both backends, unless the user said otherwise."""
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    prepare_environment()
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"


def test_a_matrix_is_taken_over_as_it_is(without_gpu):
    """On a processor the tensor is the array's own memory: nothing is held twice."""
    matrix = empty_rows((3, 5))
    matrix[...] = np.arange(15).reshape(3, 5)
    tensor = to_device(matrix)
    matrix[1, 2] = -1
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(tensor), matrix)
    assert keras.backend.standardize_dtype(tensor.dtype) == "float32"


@pytest.mark.parametrize("what", ["begins between", "every other", "read only", "empty"])
def test_other_matrices_are_copied_once(what):
    """Whatever lies otherwise in memory becomes a tensor of the same numbers."""
    matrix = np.arange(33, dtype=np.float32)[1:].reshape(8, 4)
    if what == "every other":
        matrix = matrix[::2]
    elif what == "read only":
        matrix = empty_rows((8, 4))
        matrix[...] = 2
        matrix.setflags(write=False)
    elif what == "empty":
        matrix = matrix[:0]
    tensor = to_device(matrix)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(tensor), matrix)
