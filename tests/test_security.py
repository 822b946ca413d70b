"""What hostile files, pages and addresses cannot make the program do."""

from __future__ import annotations

import ast
import importlib
import io
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import yaml

import tuner
from tests.cli.commands import COMMANDS
from tests.model.made_model import NAMES
from tests.report.made_study import make_study
from tuner.cli.show.run import run_command
from tuner.cli.show.terminal import make_console, say, say_step
from tuner.errors import ExportError, StudyError, TrackingError, TunerError
from tuner.home import Home
from tuner.model.export import build_export, choose_record
from tuner.model.export_file import load_export, write_export
from tuner.model.keras_model import save_model
from tuner.model.predict import load_classifier
from tuner.search.journal import open_storage
from tuner.text import command, without_password
from tuner.tracking.connection import connect

PROGRAM = "import sys; from tuner.cli import main; sys.argv[0] = 'tuner'; main()"
SECRET = "hunter2"
START_S = 180
MODULES = sorted(Path(tuner.__file__).parent.rglob("*.py"))


# --- what the source never does ---------------------------------------------------------------


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """File, dotted name and node of every call in the package."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield path.name, ast.unparse(node.func), node


def word(call: ast.Call, name: str) -> Any:
    """Value of a keyword of a call, None without."""
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), None)


def test_nothing_that_runs_code_of_a_file_is_imported():
    """No module of the package imports pickle or what reads it for others."""
    banned = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    imported = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    assert imported & {"numpy", "yaml", "json"} == {"numpy", "yaml", "json"}
    assert imported & banned == set()


def test_arrays_are_read_and_written_without_pickle():
    """Every `np.load` and `np.save` says so; `read_pickle` and `torch.load` are not there."""
    found = [(name, call) for _, name, call in calls() if name in ("np.load", "np.save")]
    assert len(found) >= 3
    assert all(word(call, "allow_pickle") == "False" for _, call in found)
    last = {name.rsplit(".", 1)[-1] for _, name, _ in calls()}
    assert last & {"eval", "exec", "read_pickle", "to_pickle", "__import__"} == set()
    assert not any(name == "torch.load" for _, name, _ in calls())


def test_yaml_is_read_by_safe_loaders_only():
    """Whatever loader is named, it builds no more kinds of values than PyYAML's safe one."""
    n_read = 0
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func).startswith("yaml.")):
                continue
            name = ast.unparse(node.func).removeprefix("yaml.")
            assert name not in ("full_load", "unsafe_load", "load_all", "full_load_all")
            n_read += name in ("safe_load", "load", "compose")
            if name in ("load", "compose"):
                parts = path.relative_to(Path(tuner.__file__).parent).with_suffix("").parts
                module = importlib.import_module(".".join(("tuner", *parts)))
                loader = getattr(module, ast.unparse(node.args[1]))
                assert issubclass(loader, yaml.SafeLoader)
                assert set(loader.yaml_constructors) <= set(yaml.SafeLoader.yaml_constructors)
    assert n_read >= 5


def test_no_shell_reads_what_a_user_wrote():
    """Programs are started from lists of words, never through a shell."""
    names = [(name, call) for _, name, call in calls() if name.startswith("subprocess.")]
    assert names
    assert all(word(call, "shell") in (None, "False") for _, call in names)
    assert not any(name in ("os.system", "os.popen") for _, name, _ in calls())


def test_models_are_never_loaded_unsafely():
    """Keras's safe mode is its default; nothing switches it off."""
    loads = [call for _, name, call in calls() if name.endswith("load_model")]
    assert loads
    assert all(word(call, "safe_mode") in (None, "True") for call in loads)
    assert not any("enable_unsafe" in name for _, name, _ in calls())


# --- hostile files ----------------------------------------------------------------------------


class Payload:
    """Leaves a file where it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def write_sound(path: Path) -> Path:
    """A small model that loads, with the layers that its reader looks for."""
    inputs = keras.Input((None, None, 3))
    small = keras.layers.Rescaling(1.0, name="preprocess")(inputs)
    pooled = keras.layers.GlobalAveragePooling2D()(small)
    model = keras.Model(inputs, keras.layers.Dense(len(NAMES), activation="softmax")(pooled))
    save_model(model, path, card={"class_names": NAMES})
    return path


def with_member(path: Path, member: str, content: bytes) -> Path:
    """A sound model in whose archive one member is another."""
    sound = io.BytesIO(write_sound(path).read_bytes())
    with zipfile.ZipFile(sound) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name == member else old.read(name))
    return path


def edited_config(path: Path, change: Any) -> Path:
    """A sound model whose configuration has been changed by hand."""
    write_sound(path)
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    change(config)
    return with_member(path, "config.json", json.dumps(config).encode())


def foreign(where: str, name: str, **arguments: Any) -> dict[str, Any]:
    """What a configuration names when it wants an object of any module."""
    return {"module": where, "class_name": name, "config": arguments, "registered_name": None}


def outside_weights(path: Path) -> Path:
    """A model whose weights point to a file elsewhere."""
    secret = path.parent / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.arange(3.0)
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["layers"] = h5py.ExternalLink(str(secret), "/")
    return with_member(path, "model.weights.h5", stream.getvalue())


def bomb(path: Path) -> Path:
    """A model with a member that unpacks to a hundred thousand times its size."""
    write_sound(path)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("filler", "w", force_zip64=True) as member,
    ):
        for _ in range(600):
            member.write(bytes(1 << 20))
    return path


def polyglot(path: Path) -> Path:
    """An HDF5 model with code, as Keras reads it by this name, that is an archive with a card."""
    path = path.with_suffix(".h5")
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tuner.json", json.dumps({"class_names": NAMES}))
    return path


def bytes_at(content: bytes) -> Any:
    """Maker of a file of these bytes."""

    def make(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return make


def card(text: str) -> Any:
    """Maker of an archive with this card and nothing else."""

    def make(path: Path) -> Path:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("tuner.json", text)
        return path

    return make


def replaced_layer(new: dict[str, Any]) -> Any:
    """Maker of a model whose last layer is something else."""

    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][-1] |= new

    return lambda path: edited_config(path, change)


HOSTILE_MODELS = {
    "a pickle by its name": bytes_at(pickle.dumps(Payload())),
    "a pickle for weights": lambda path: with_member(
        path, "model.weights.h5", pickle.dumps(Payload())
    ),
    "a function of os": replaced_layer(foreign("os", "system", command="touch ran")),
    "a builtin": replaced_layer(foreign("builtins", "exec", source="open('ran', 'w')")),
    "a download": replaced_layer(
        foreign("keras.utils", "get_file", fname="ran", origin="file:///etc/hostname")
    ),
    "a wrapper of torch": replaced_layer(
        foreign("keras.layers", "TorchModuleWrapper", module=pickle.dumps(Payload()).hex())
    ),
    "weights in another file": outside_weights,
    "a zip bomb": bomb,
    "an HDF5 model in disguise": polyglot,
    "a card that is a list": card("[1]"),
    "a card without classes": card("{}"),
    "a card nested too deeply": card("[" * 100_000),
    "an empty archive": bytes_at(b"PK\x05\x06" + bytes(18)),
    "nothing": bytes_at(b""),
}


# Said by us before Keras is asked; the others in words of Keras, which may change.
REASONS = {
    "a zip bomb": "it would unpack to 6",
    "an HDF5 model in disguise": "not a .keras model with class names",
    "a card that is a list": "tuner.json in it is no card",
}


@pytest.mark.parametrize("name", HOSTILE_MODELS)
def test_a_hostile_model_is_refused_and_nothing_of_it_runs(tmp_path, monkeypatch, name):
    """One error that names the file; no code has run and no other file was read."""
    monkeypatch.chdir(tmp_path)
    path = HOSTILE_MODELS[name](tmp_path / "hostile.keras")
    began = time.monotonic()
    with pytest.raises(ExportError) as caught:
        load_classifier(path)
    assert caught.value.where == str(path)
    assert REASONS.get(name, "") in caught.value.what
    assert not (tmp_path / "ran").exists()
    assert time.monotonic() - began < 30


def test_a_lambda_is_refused_by_the_command(tmp_path, monkeypatch, capsys):
    """`tuner predict` on a model with code in it: one message, code 1, and nothing has run."""
    from tuner.cli import main

    monkeypatch.chdir(tmp_path)
    inputs = keras.Input((None, None, 3))
    code = keras.layers.Lambda(lambda x: __import__("pathlib").Path("ran").touch() or x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(code(inputs)))
    Path("ran").unlink()
    save_model(model, Path("x.keras"), card={"class_names": NAMES})
    monkeypatch.setattr(sys, "argv", ["tuner", "predict", "x.keras", "."])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "the model cannot be loaded safely" in capsys.readouterr().err
    assert not Path("ran").exists()


def test_a_sound_model_is_loaded(tmp_path):
    """What the tests above change is a model that loads."""
    path = write_sound(tmp_path / "sound.keras")
    assert load_classifier(path).class_names == tuple(NAMES)
    path = edited_config(path, lambda config: None)
    assert load_classifier(path).class_names == tuple(NAMES)


@pytest.fixture(scope="module")
def export_text(tmp_path_factory) -> str:
    """A sound export."""
    home = tmp_path_factory.mktemp("home")
    folder = make_study(home, ["a", "b", "c"], trials=3)
    write_export(build_export(folder, choose_record(folder), tau=None), home / "best.yaml")
    return (home / "best.yaml").read_text("utf-8")


LAUGHS = "bomb: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: LAUGHS + text.replace("confusion_matrix:", "confusion_matrix: *a11\n  x:", 1),
        lambda text: text + "x: !!python/object/apply:pathlib.Path.touch [ran]\n",
        lambda text: text + "x: !!python/object/new:tuner.home.Home [ran]\n",
        lambda text: text + "x: " + "[" * 100_000,
        lambda text: text.replace("study_file:\n  name:", "study_file:\n  name: ../x #", 1),
        lambda text: text.replace("image_px:", "image_px: 999999999 #", 1),
    ],
    ids=["laughs", "code", "object", "depth", "a path for a name", "a size"],
)
def test_train_refuses_a_hostile_export(tmp_path, monkeypatch, capsys, export_text, spoil):
    """`tuner train` ends with one message, code 1 or 2, before anything is read or trained."""
    from tuner.cli import main

    monkeypatch.chdir(tmp_path)
    text = spoil(export_text)
    assert text != export_text
    Path("best.yaml").write_text(text, "utf-8")
    monkeypatch.setattr(sys, "argv", ["tuner", "train", "best.yaml", "--home", "home"])
    began = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        main()
    err = capsys.readouterr().err
    assert ended.value.code in (1, 2)
    assert err.startswith("error: ")
    assert "best.yaml" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.yaml"]
    assert time.monotonic() - began < 30


def test_a_sound_export_is_read(tmp_path, export_text):
    """What the tests above spoil is an export that loads."""
    (tmp_path / "best.yaml").write_text(export_text, "utf-8")
    assert load_export(tmp_path / "best.yaml").record["classes"] == ["a", "b", "c"]


# --- passwords --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@db/x",
        f"postgresql+psycopg2://me:{SECRET}/with/slashes@db:5432/x",
        f"mysql://{SECRET}@db/x",
        f"http://me:{SECRET}@tracking:5000/base",
        f"postgresql://db/x?user=me&password={SECRET}",
        f"postgresql://db/x?sslmode=require&sslpassword={SECRET}&y=1",
        f"mssql://db/x?PWD={SECRET}",
    ],
)
def test_a_password_in_an_address_is_shown_nowhere(url, capsys):
    """Neither as it is, nor in a command to copy, an error, a fact or a reason."""
    assert SECRET not in without_password(f"cannot open '{url}', {url}")
    error = TrackingError(f"{url} is away", where=url, do=f"look at {url}")
    assert SECRET not in f"{error} {error!r} {error.what} {error.where} {error.do}"
    words = ["x.yaml", "--storage", url, "--tracking-uri", url]
    again = run_command(COMMANDS["run"].make_context("run", words).params, trials=3)
    assert SECRET not in again + command("tuner", "confirm", "x", url)
    say(make_console(is_result=True), f"at {url}")
    say_step(make_console(is_result=True), "open", url)
    out = capsys.readouterr().out
    assert SECRET not in out
    assert "***" in out


@pytest.mark.parametrize(
    "url",
    [f"postgresql://me:{SECRET}@127.0.0.1:1/x", f"nonsense://me:{SECRET}@h/x", f"me:{SECRET}@h"],
)
def test_a_store_that_cannot_be_opened_keeps_its_password(tmp_path, url):
    """Whatever the driver says, its error is ours, without the secret."""
    with pytest.raises(StudyError) as caught:
        open_storage(Home(tmp_path), url)
    assert SECRET not in str(caught.value)


def test_a_traceback_on_request_has_no_password(monkeypatch, capsys, tmp_path):
    """`--debug` shows where, not what nobody may see."""
    from tuner.cli import app, main

    def fail(*_: Any, **__: Any) -> None:
        try:
            raise OSError(f"postgresql://me:{SECRET}@h/x refused")
        except OSError as error:
            raise TunerError("no") from error

    monkeypatch.setattr("tuner.cli.show.status.print_status", fail)
    monkeypatch.setattr(sys, "argv", ["tuner", "--debug", "status"])
    with pytest.raises(SystemExit):
        main()
    err = capsys.readouterr().err
    assert app
    assert "Traceback" in err
    assert SECRET not in err


# --- the server of `tuner ui` -----------------------------------------------------------------


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def status(port: int, *, data: bytes | None = None, **headers: str) -> int:
    """HTTP status of a request to MLflow's API with these headers."""
    ask = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1",
        data=data,
        headers=headers | {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(ask, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def listening(port: int) -> set[str]:
    """Addresses at which somebody listens at a port, as the kernel writes them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        row[1].split(":")[0] for row in rows if row[3] == "0A" and row[1].endswith(f"{port:04X}")
    }


@pytest.mark.slow
@pytest.mark.parametrize("host", [None, "0.0.0.0"])
def test_the_ui_answers_this_machine_only_unless_asked(tmp_path, host):
    """Loopback by default; with --host a warning; either way no foreign name, and no telemetry."""
    connect(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}").search_experiments(max_results=1)
    port = free_port()
    words = ["ui", "--port", str(port), "--no-browser", *(["--host", host] if host else [])]
    gone = ("MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_SERVER_ALLOWED_HOSTS")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k not in gone} | {"MLFLOW_WORKERS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        lines = []
        deadline = time.monotonic() + START_S
        for line in process.stdout:
            lines.append(line)
            if line.split()[:1] == ["open"]:
                break
            assert time.monotonic() < deadline
        said = "".join(lines)
        assert listening(port) == {"00000000" if host else "0100007F"}
        assert ("can read and delete all of it, without a password" in said) == bool(host)
        assert ("--allowed-hosts" in said) == bool(host)
        name = socket.gethostname()
        assert status(port) == 200
        assert status(port, Host="localhost:9") == 200
        assert status(port, Host=f"{name}:{port}") == (200 if host else 403)
        for foreign_name in ("evil.example", "10.evil.example", f"localhost.evil.example:{port}"):
            assert status(port, Host=foreign_name) == 403
        ask = {"data": b'{"max_results": 1}', "Host": f"{name if host else 'localhost'}:{port}"}
        own = f"http://{ask['Host']}"
        assert status(port, Origin=own, **ask) == 200
        assert status(port, Origin="http://evil.example", **ask) == 403
        (server,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        environment = Path(f"/proc/{server}/environ").read_text().split("\0")
        assert "MLFLOW_DISABLE_TELEMETRY=true" in environment
        assert "mlflow.db" not in Path(f"/proc/{server}/cmdline").read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        process.stdout.close()


@pytest.mark.slow
def test_a_host_of_another_machine_is_refused(tmp_path, monkeypatch, capsys):
    """An address that is not ours cannot be listened at, and that is not called a taken port."""
    from tuner.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").touch()
    monkeypatch.setattr(sys, "argv", ["tuner", "ui", "--host", "192.0.2.77", "--no-browser"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "nothing can listen at 192.0.2.77:5000" in capsys.readouterr().err


@pytest.mark.slow
def test_nothing_is_told_to_mlflow_unless_the_user_wants_it():
    """Telemetry is off before MLflow is imported; who sets the variable is obeyed."""
    program = (
        "import os\n"
        "from tuner.tracking.connection import connect\n"
        "connect('http://127.0.0.1:9')\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "print(os.environ['MLFLOW_DISABLE_TELEMETRY'], is_telemetry_disabled())"
    )
    clean = {k: v for k, v in os.environ.items() if k not in ("CI", "MLFLOW_DISABLE_TELEMETRY")}
    for given, expected in [({}, "true True"), ({"MLFLOW_DISABLE_TELEMETRY": "false"}, "false")]:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=clean | given,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith(expected)
