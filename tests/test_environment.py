"""What other programs leave in the environment does not change what tuner computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.environment import keras_backend, prepare_environment


@pytest.mark.parametrize(
    ("backend", "left"),
    [
        ("module://not_there.backend_inline", None),
        ("module://", None),
        ("module://matplotlib.backends.backend_agg", "module://matplotlib.backends.backend_agg"),
        ("agg", "agg"),
    ],
)
def test_a_backend_that_is_not_there_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, backend: str, left: str | None
) -> None:
    """Only a module that this environment lacks is dropped; the user's choice is kept."""
    monkeypatch.setenv("MPLBACKEND", backend)

    prepare_environment()

    assert os.environ.get("MPLBACKEND") == left


@pytest.mark.parametrize(
    ("named", "settings", "backend"),
    [
        ("", None, "tensorflow"),
        ("", '{"backend": "jax"}', "jax"),
        ("", "{}", "tensorflow"),
        ("", "[]", "tensorflow"),
        ("", "no JSON", "tensorflow"),
        ("jax", '{"backend": "torch"}', "jax"),
    ],
)
def test_the_backend_is_known_before_keras_is_loaded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
    settings: str | None,
    backend: str,
) -> None:
    """The environment's, or else that of keras.json, or else Keras's own default."""
    monkeypatch.setenv("KERAS_BACKEND", named)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    if settings is not None:
        (tmp_path / "keras.json").write_text(settings)
    assert keras_backend() == backend


def test_the_home_of_keras_is_found_as_keras_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tilde is a home, and who has none has Keras's default."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    monkeypatch.setenv("KERAS_HOME", "~")
    assert keras_backend() == "jax"
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # no entry for this user
    assert keras_backend() == "tensorflow"


@pytest.mark.slow
def test_a_notebook_and_another_projects_keras_change_nothing(tmp_path: Path) -> None:
    """Started below a notebook, with a keras.json of channels first and half precision."""
    settings = {"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1}
    (tmp_path / "keras.json").write_text(json.dumps({**settings, "backend": "tensorflow"}))
    code = """if True:
        from tuner.ground import find_backend
        find_backend()
        import keras
        from tuner.report.figures.confusion import plot_confusion_matrix as _
        print(keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon())
        print(keras.config.dtype_policy().name)
    """
    other = {"KERAS_HOME": str(tmp_path), "MPLBACKEND": "module://not_there"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={key: v for key, v in os.environ.items() if key != "KERAS_BACKEND"} | other,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["channels_last float32 1e-07", "float32"]


@pytest.mark.slow
def test_a_backend_that_is_missing_is_named(tmp_path: Path) -> None:
    """What keras.json asks for and nobody has installed is one message, not a traceback."""
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "openvino"}))
    code = """if True:
        import sys
        sys.modules["openvino"] = None
        from tuner.errors import UsageError
        from tuner.ground import find_backend
        try:
            find_backend()
        except UsageError as error:
            print(error)
    """
    env = {key: v for key, v in os.environ.items() if key != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env | {"KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert "openvino" in done.stdout, done.stderr
    assert "set KERAS_BACKEND=tensorflow" in done.stdout
