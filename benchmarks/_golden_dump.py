"""What one build has left in a working directory, as plain text that two builds can be held to.

Read with the clients of others (MLflow, Optuna, NumPy, h5py) and never with the program's own
code, so that it works whatever that code looks like. Replaced is only what differs between two
runs of one build: times, paths, random names, and hashes of files that tell the time.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sqlite3
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from _golden_page import words_of

_TIMES = "started_s|ended_s|seconds|createdAt|updatedAt|datetime_start|datetime_complete"
_TAGS = r"tuner\.record_sha|tuner\.files_sha|tuner\.study_id"  # hashes of what tells the time
_MODEL = "utc_time_created|model_uuid|model_size_bytes|date_saved"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_VARYING = [
    (rf'(\\*"(?:{_TIMES})\\*": ?)[^,}}\]\n]+', r"\1<time>"),
    (rf'("(?:{_TAGS})": )"[^"]*"', r"\1<hash>"),
    (rf"^(\s*\"?(?:{_MODEL})\"?: ?)[^\s,}}]+( [0-9:.]+)?", r"\1<varies>"),
    (r'("date_saved": ?)"[^"]*"', r"\1<time>"),
    (r'("worker_id": ?"|^  worker )[^"\n]*', r"\1<worker>"),
    (
        r"\d{4}-\d\d-\d\d[T ](?:at )?\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?[+-]\d\d:?\d\d|Z)?",
        "<time>",
    ),
    (rf"timestamp\+\d+\+{_UUID}", "timestamp+<image>"),
    (r"\bm-[0-9a-f]{32}\b", "<model>"),  # MLflow's logged models
    (r" +[\d,]+ rows/s +\d+ s left", " <speed>"),
    (r"[\d,.]+ images/s", "<speed>"),
    (r" +\d+\.\d s(?= |<|$)", " <seconds>"),  # of a trial, beside its setting
    (r"\bindex/[0-9a-f]{16}\b", "index/<source>"),  # named after a path
    (r"\| \d+\.\d s(?= |$)", "| <seconds>"),  # the same in the report
    (r"(report\S*\.html), \d\.\d MB", r"\1, <size>"),  # its words are held to, not its size
    (r"\bbegun \d{4}-\d\d-\d\d", "begun <date>"),
    (r" at 0x[0-9a-f]+", " at <address>"),  # of functions, in TensorFlow's warnings
    (r'("shared_object_id": )\d+', r"\1<address>"),  # Keras's, of a Python object
    (r'("index": \d+, "pillow": "[\d.]+", "sha256": )"\w+"', r"\1<hash>"),  # of times of files
    (r'("id": )"[0-9a-f]{32}"', r"\1<random>"),  # of a study, against a twin in another home
]
_COMPILED = [(re.compile(pattern, re.MULTILINE), into) for pattern, into in _VARYING]
_TEXTS = {".json", ".yaml", ".csv", ".md", ".html", ".txt", ".jsonl", ".journal", ""}
_VERSION = ("name", "version", "description", "source", "tags", "run_id")
_STATED = re.compile(r'"(mtime_ns|mtime|ctime_ns|inode)": ?\d+|\b1[6-9]\d{17}\b')


class Plain:
    """Text of one working directory without what differs between two runs of one build.

    Args:
        place: The working directory.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.ids: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """The text with names in the place of what varies."""
        text = text.replace(str(self.place), "<place>")
        for run_id, name in self.ids.items():
            text = text.replace(run_id, f"<run {name}>")
        for pattern, into in _COMPILED:
            text = pattern.sub(into, text)
        return text


def dump(place: Path, out: Path, plain: Plain) -> None:
    """Write everything that lies in a working directory as a tree of texts.

    Args:
        place: The working directory.
        out: Folder to write to.
        plain: Made for `place`; learns the names of MLflow's runs.
    """
    mirrors = {str(p.relative_to(place)): Mirror(p) for p in sorted(place.rglob("*.db"))}
    for mirror in mirrors.values():
        plain.ids |= mirror.names
    for name, mirror in mirrors.items():
        write(out / "mlflow" / f"{name}.json", plain(mirror.text()))
    for journal in sorted(place.rglob("*.journal")):
        write(out / "optuna" / f"{journal.relative_to(place)}.json", plain(optuna_text(journal)))
    listed = []
    texts: dict[str, list[str]] = {}
    for path in files(place):
        name = plain(str(path.relative_to(place)))
        text = content(path)
        if text is None:
            listed.append(name)
        elif "\n" in text:
            texts.setdefault(name, []).append(plain(text))
            listed.append(name)
        else:
            listed.append(f"{name}  {plain(text)}")
    for name, found in texts.items():  # several where a random part of the name was replaced
        write(out / "files" / f"{name}.txt", "".join(sorted(found)))
    write(out / "names.txt", "\n".join(sorted(listed)))


def files(place: Path) -> list[Path]:
    """Every file below a folder, but not those of git."""
    return sorted(p for p in place.rglob("*") if ".git" not in p.parts and p.is_file())


def content(path: Path) -> str | None:
    """A file as text; one line for a picture or an array, None where only the name counts."""
    if path.suffix == ".db" or path.suffix == ".lock" or path.name == ".lock":
        return None
    data = path.read_bytes()
    if path.suffix in (".png", ".webp", ".jpg"):
        return picture(data)
    if path.suffix in (".npy", ".npz"):
        return arrays(data)
    if path.suffix == ".keras":
        return archive(data)
    if path.suffix == ".jsonl":  # results of a scan in the order of threads, with times of files
        return "\n".join(sorted(_STATED.sub("<stat>", data.decode()).splitlines())) + "\n"
    if path.suffix == ".html":
        return words_of(data.decode()) + "\n"
    if path.suffix in _TEXTS:
        try:  # an end of line that is missing is a difference, too
            return data.decode().replace("\r", "<CR>") + "<END>\n"
        except UnicodeDecodeError:
            pass
    # TensorFlow's own files, in an order that varies; the `.keras` beside them holds the numbers.
    return None if path.suffix == ".pb" or "variables" in path.name else sha(data)


def picture(data: bytes) -> str:
    """Size and pixels; a picture's other bytes hold the versions of what drew it."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image)
    except OSError:
        return f"damaged {sha(data)}"
    return f"{image.mode} {pixels.shape} {sha(pixels.tobytes())}"


def arrays(data: bytes) -> str:
    """Names, types, shapes and all values, of one array or of an archive of them."""
    found = np.load(io.BytesIO(data), allow_pickle=False)
    named = {"": found} if isinstance(found, np.ndarray) else {k: found[k] for k in found.files}
    return "; ".join(f"{name} {array(values)}" for name, values in named.items())


def array(values: np.ndarray) -> str:
    """Type, shape, every bit, and the mean for people."""
    mean = f"{values.mean(dtype=np.float64):.9g}" if values.dtype.kind in "fiu" else "none"
    return f"{values.dtype.str} {values.shape} mean {mean} {sha(np.ascontiguousarray(values))}"


def archive(data: bytes) -> str:
    """Members of a ``.keras`` file: texts as they are, weights value by value."""
    lines = []
    with zipfile.ZipFile(io.BytesIO(data)) as stored:
        for name in stored.namelist():
            member = stored.read(name)
            if name.endswith(".h5"):
                with h5py.File(io.BytesIO(member)) as weights:
                    lines += [f"{name} {line}" for line in sorted(tables(weights))]
            else:
                text = re.sub(r'("date_saved": ?)"[^"]*"', r"\1<time>", member.decode())
                lines.append(f"{name} {text}")
    return "\n".join(lines) + "\n"


def tables(group: Any) -> Iterator[str]:
    """Every array of an HDF5 file."""
    for item in group.values():
        if isinstance(item, h5py.Dataset):
            yield f"{item.name} {array(np.asarray(item[()]))}"
        else:
            yield from tables(item)
    yield from (f"{group.name} @{k} {v}" for k, v in group.attrs.items())


def optuna_text(journal: Path) -> str:
    """The studies of a journal by Optuna's own client."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    studies = [
        {
            "study": study.study_name,
            "direction": study.direction.name,
            "user_attrs": study.user_attrs,
            "system_attrs": storage.get_study_system_attrs(study._study_id),
            "trials": [
                {
                    "number": trial.number,
                    "state": trial.state.name,
                    "params": trial.params,
                    "distributions": {k: str(v) for k, v in trial.distributions.items()},
                    "values": trial.values,
                    "intermediate": trial.intermediate_values,
                    "user_attrs": trial.user_attrs,
                    "system_attrs": trial.system_attrs,
                }
                for trial in study.trials
            ],
        }
        for name in optuna.get_all_study_names(storage)
        for study in [optuna.load_study(study_name=name, storage=storage)]
    ]
    return json.dumps(studies, indent=1, default=str)


class Mirror:
    """What an MLflow database holds, read by MLflow's own client.

    Args:
        path: The SQLite file.

    Attributes:
        names: Of every run by its id: the experiment's and the record's.
    """

    def __init__(self, path: Path) -> None:
        from mlflow import MlflowClient

        self.path = path
        self.client = MlflowClient(f"sqlite:///{path}")
        self.experiments = self.client.search_experiments(view_type=3, order_by=["name ASC"])
        self.runs: list[tuple[str, Any]] = []
        self.names: dict[str, str] = {}
        seen: Counter[str] = Counter()
        for experiment in self.experiments:
            order = ["attributes.start_time ASC"]
            for run in self.client.search_runs([experiment.experiment_id], "", 3, 5000, order):
                record = run.data.tags.get("tuner.record") or run.data.tags.get("tuner.kind", "?")
                name = "" if path.name == "mlflow.db" else f"{path.name} "
                name += f"{experiment.name}/{record}"
                seen[name] += 1
                name += f" {seen[name]}" if seen[name] > 1 else ""
                self.names[run.info.run_id] = name
                self.runs.append((name, run))
        self.runs.sort(key=lambda item: item[0])

    def all_keys(self) -> list[str]:
        """Every param, metric, tag and artifact path, each with the kind of run that has it."""
        found = set()
        for _, run in self.runs:
            kind = run.data.tags.get("tuner.kind")
            found |= {f"{kind} param {key}" for key in run.data.params}
            found |= {f"{kind} metric {key}" for key in run.data.metrics}
            found |= {f"{kind} tag {key}" for key in run.data.tags}
            found |= {f"{kind} artifact {path}" for path in self.artifacts(run.info.run_id)}
        for experiment in self.experiments:
            found |= {f"experiment tag {key}" for key in experiment.tags}
        return sorted(found)

    def text(self) -> str:
        """Experiments with all runs, and the registry."""
        history = self.histories()
        told = {
            "experiments": [
                {
                    "name": experiment.name,
                    "stage": experiment.lifecycle_stage,
                    "artifacts": experiment.artifact_location,
                    "tags": dict(sorted(experiment.tags.items())),
                }
                for experiment in self.experiments
            ],
            "runs": {name: self.run(run, history) for name, run in self.runs},
            "registry": [
                {k: str(getattr(version, k)) for k in _VERSION} | {"aliases": dict(model.aliases)}
                for model in self.client.search_registered_models()
                for version in self.client.search_model_versions(f"name='{model.name}'")
            ],
        }
        return json.dumps(told, indent=1, ensure_ascii=False)

    def run(self, run: Any, history: dict[str, dict[str, list[Any]]]) -> dict[str, Any]:
        """One run without its times."""
        return {
            "run_name": run.info.run_name,
            "status": run.info.status,
            "stage": run.info.lifecycle_stage,
            "user": run.info.user_id,
            "artifact_uri": run.info.artifact_uri,
            "params": dict(sorted(run.data.params.items())),
            "metrics": dict(sorted(run.data.metrics.items())),
            "history": {
                key: " ".join(f"{step}:{value!r}" for step, value in points)
                for key, points in sorted(history.get(run.info.run_id, {}).items())
            },
            "tags": dict(sorted(run.data.tags.items())),
            "artifacts": self.artifacts(run.info.run_id),
            "inputs": [
                {"dataset": d.dataset.to_dictionary(), "tags": {t.key: t.value for t in d.tags}}
                for d in run.inputs.dataset_inputs
            ],
        }

    def histories(self) -> dict[str, dict[str, list[Any]]]:
        """All points of all metrics by run; a call of the client each would take a minute."""
        found: dict[str, dict[str, list[Any]]] = {}
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as database:
            query = "select run_uuid, key, step, value from metrics order by 1, 2, 3, timestamp"
            for run_id, key, step, value in database.execute(query):
                found.setdefault(run_id, {}).setdefault(key, []).append((step, value))
        return found

    def artifacts(self, run_id: str, folder: str | None = None) -> list[str]:
        """Paths of all files of a run."""
        paths = []
        for file in self.client.list_artifacts(run_id, folder):
            paths += self.artifacts(run_id, file.path) if file.is_dir else [file.path]
        return sorted(paths)


def names(place: Path, plain: Plain) -> list[str]:
    """Only what things are called: files, and the keys of every MLflow database."""
    mirrors = [Mirror(path) for path in sorted(place.rglob("*.db"))]
    for mirror in mirrors:
        plain.ids |= mirror.names
    # Banks and their chunks are called after hashes, of the versions of packages as well.
    hashes = re.compile(r"(?<=features/)[0-9a-f]{16}|(?<=chunk-)[0-9a-f]{24}")
    found = {hashes.sub("<hash>", f"file {path.relative_to(place)}") for path in files(place)}
    return sorted(
        set(map(plain, found | {f"mlflow {key}" for m in mirrors for key in m.all_keys()}))
    )


def sha(data: Any) -> str:
    """A short hash."""
    return hashlib.sha256(data).hexdigest()[:16]


def write(path: Path, text: str) -> None:
    """Write a text in a folder that need not be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
