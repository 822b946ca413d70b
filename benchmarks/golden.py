"""Hold a build to another one: names on disk, MLflow's keys, numbers, texts and exit codes.

    git worktree add ../reference TAG && python benchmarks/golden.py --reference ../reference

Runs the same commands with both checkouts, each in an empty home of its own and in processes of
their own, turns everything that they print and leave behind into plain texts without what varies
from run to run (`_golden_dump.py`), and prints a diff; exit code 1 unless there is none. Nothing
of the program is imported here: a build may look as it likes.
"""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from _golden_dump import Plain, dump, names, write
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
WEIGHTS = "made.weights.h5"
PATIENCE_S = 400  # for one command
say = partial(print, file=sys.stderr, flush=True)  # progress
LINES_SHOWN, WIDTH_SHOWN = 30, 240  # of the diff of one file

DIGITS = """\
# Which treatment finds the rare digits?
name: digits
data: {source: digits, image_px: 32, exclude: ["digit_[0-5]/*"]}
split: {folds: 2}
backbone: {weights: random}
search: {trials: 4}
training: {epochs: 20, patience: 15, hidden_units: 32, learning_rate: 0.001}
"""
PAIRS = """\
name: NAME
data: {DATA, image_px: 32}
split: {folds: 2, test_fraction: 0.25}
backbone: {weights: made.weights.h5}
search: {trials: 1, augmentation_multiplier: [1, 1]}
training: {epochs: 3, hidden_units: 8, learning_rate: 0.003}
"""
FILES = {
    "digits.yaml": DIGITS,
    "cells.yaml": PAIRS.replace("NAME", "cells").replace(
        "DATA", "source: data/pairs.csv, root: data/pairs, group_by: group"
    ),
    "twins.yaml": PAIRS.replace("NAME", "twins")
    .replace("DATA", "source: data/pairs, group_by: near_duplicates")
    .replace("epochs: 3", "epochs: 1"),
    "bad.yaml": "name: bad\nseed: -1\ndata: {source: x, imag_px: 7}\nsearch: {gamma: [3, 1]}\n",
    "broken.yaml": "name: [bad\n",
    "broken.csv": "path,label\nfine/a00.png\n",
    "no_export.yaml": "a: 1\n",
}
ALL = "--all "  # before commands that are left out otherwise: they take a minute more
COMMANDS = (
    "", "--help", "--version",
    "init --help", "check --help", "run --help", "status --help", "ui --help", "confirm --help",
    "report --help", "export --help", "train --help", "predict --help", "sync --help",
    "nothing", "run", "status --nothing",
    # Before there is anything
    "status", "status --json", "status nosuch", "init digits", "init digits",
    "init data/pairs -o studies/pairs.yaml --home 'other home'",
    "init data/pairs.csv --root data/pairs --group-by group -o studies/cells.yaml",
    "init data/pairs --group-by near_duplicates -o studies/twins.yaml",
    "init data/nowhere", "init data/pairs -o studies/pairs.txt", "init data/pairs -o studies",
    "init data/pairs.csv --root data/pairs --group-by patient -o studies/x.yaml",
    "init broken.csv -o studies/x.yaml",
    "check cells.yaml --json --home 'other home'", "check cells.yaml --home 'other home'",
    "check twins.yaml --home 'other home'",
    "check digits.yaml --set data.image_px=64 --set split.folds=3",
    # Two classes, groups and damaged files
    "run cells.yaml --home 'other home'",
    "check twins.yaml --features --home 'other home'",
    "check twins.yaml --features --json --home 'other home'",
    ALL + "run twins.yaml --live --home 'other home'",
    "run twins.yaml --home 'other home'",
    "status --home 'other home'",
    "export cells --home 'other home' -o cells_best.yaml",
    # The digits, from the start to a model
    "run digits.yaml", "run digits.yaml", "run digits.yaml --trials 12 --json",
    "status", "status digits", "status digits --json",
    "export digits -o before.yaml", "report digits -o before.html",
    "confirm digits --seeds 2 --top 1", "confirm digits --seeds 2 --top 1",
    "confirm digits --seeds 2 --top 1 --json --again",
    "status digits", "report digits", "export digits",
    "export digits --tau tuned -o tau.yaml", "export digits --trial 4 -o four.yaml",
    "train best.yaml --open-test --register champions",
    "train tau.yaml -o tau.keras",
    ALL + "train tau.yaml -o saved.keras --format saved_model",
    "predict best.keras mlruns/datasets/digits/digit_9 data/pairs/fine/broken.png",
    "predict tau.keras 'mlruns/datasets/digits/digit_8/*.png' --json -o tau.json",
    "sync digits", "sync digits --tracking-uri sqlite:///again.db",
    # What goes wrong
    *(f"{name} nosuch" for name in ("confirm", "report", "export", "sync", "ui", "ui --optuna")),
    "run nowhere.yaml", "run digit.yaml", "run bad.yaml", "run broken.yaml",
    "run digits.yaml --set search.trails=3", "run digits.yaml --set seed=abc",
    "run digits.yaml --set seed", "run digits.yaml --set seed=1 --set training.epochs=3",
    "run digits.yaml --trials 0", "run digits.yaml --ray", "run digits.yaml --workers 2",
    "run digits.yaml --storage nonsense", "run digits.yaml --home digits.yaml",
    "check nowhere.yaml", "export digits --trial 99", "export digits --tau much",
    "train nowhere.yaml", "train no_export.yaml", "train best.yaml --format onnx",
    "train best.yaml --fine-tune conv9",
    "predict nowhere.keras data/pairs", "predict digits.yaml data/pairs",
)  # fmt: skip


@dataclass
class Build:
    """One checkout and the working directory in which its commands run.

    Attributes:
        checkout: The repository at that build.
        place: The working directory.
        out: Where texts go.
    """

    checkout: Path
    place: Path
    out: Path
    plain: Plain = field(init=False)

    def __post_init__(self) -> None:
        project = tomllib.loads((self.checkout / "pyproject.toml").read_text("utf-8"))["project"]
        module, _, function = project["scripts"]["tuner"].partition(":")
        self.program = (
            f"import sys; from {module} import {function} as f; sys.argv[0] = 'tuner'; f()"
        )
        make_files(self.place)
        self.plain = Plain(self.place)
        self._check(module.partition(".")[0])

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the caller's but the path of programs; the same on every machine."""
        fixed = {
            "HOME": str(self.place.with_name(f"{self.place.name} user")),
            "MPLCONFIGDIR": str(self.place.with_name("matplotlib")),  # its fonts are listed once
            "USER": "golden", "LOGNAME": "golden", "LANG": "C.UTF-8", "TZ": "UTC",
            "COLUMNS": "100", "NO_COLOR": "1", "PYTHONHASHSEED": "0",
            "PYTHONPATH": str(self.checkout), "TF_CPP_MIN_LOG_LEVEL": "2",
            # Two builds run at once, each on one core; so the sums are made in the same order.
            "CUDA_VISIBLE_DEVICES": "-1", "TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        return {"PATH": os.environ["PATH"]} | fixed

    def _check(self, package: str) -> None:
        """See that it is this checkout's code that runs, and not one that is installed."""
        code = f"import importlib.util as u; print(u.find_spec('{package}').origin)"
        origin = self._run([sys.executable, "-c", code]).stdout.strip()
        if not Path(origin).is_relative_to(self.checkout):
            sys.exit(f"{self.checkout} does not run its own code but {origin}")

    def _run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.place,
            env=self.environment,
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
        )

    def tuner(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``tuner WORDS`` to its end."""
        return self._run([sys.executable, "-c", self.program, *words])

    def run_all(self, *, is_all: bool) -> None:
        """Run the commands, then write what they printed and what is there."""
        told = []
        for number, line in enumerate(COMMANDS):
            if line.startswith(ALL) and not is_all:
                continue
            line = line.removeprefix(ALL)
            began = time.monotonic()
            told.append((number, line, self.tuner(*shlex.split(line))))
            if "MLflow lacks" in told[-1][2].stderr:
                say(
                    f"this machine is too busy for a comparison: MLflow was late at 'tuner {line}'"
                )
            if (seconds := time.monotonic() - began) > 5:
                say(f"{self.place.name}: {seconds:4.0f} s  tuner {line}")
        dump(self.place, self.out, self.plain)  # first: it learns the names of runs
        for number, line, done in told:
            name = "".join(c if c.isalnum() else "-" for c in line)[:60].strip("-")
            text = f"$ tuner {line}\nexit code {done.returncode}\n"
            for stream, printed in (("stdout", done.stdout), ("stderr", done.stderr)):
                # A first `confirm --json` lacked a key that every later one had, until 0.2.
                shown = printed.replace(' "schema": 1,\n', "") if "confirm" in line else printed
                text += f"--- {stream}\n{self.plain(shown)}"
            write(self.out / "commands" / f"{number:02d}-{name}.txt", text)


def make_files(place: Path) -> None:
    """Study files, and images of two classes with everything that is wrong with images."""
    place.mkdir(parents=True)
    place.with_name(f"{place.name} user").mkdir()
    if (made := place.with_name(WEIGHTS)).exists():
        os.link(made, place / WEIGHTS)
    for name, text in FILES.items():
        (place / name).write_text(text)
    rng, rows = np.random.default_rng(0), []
    for label, n in (("fine", 32), ("rare", 16)):
        folder = place / "data" / "pairs" / label
        folder.mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 90, (24, 20, 3), dtype=np.uint8)
            pixels[4:20, 4:16, 0 if label == "fine" else 2] += 100 + 2 * i
            image = Image.fromarray(pixels)
            image.convert("L" if i == 3 else "RGB").save(folder / f"{label[0]}{i:02d}.png")
            if i in (5, 6):  # the same picture in another form
                again = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if i == 6 else image
                again.save(folder / f"{label[0]}{i:02d}_again.jpg", quality=95)
    fine, rare = place / "data" / "pairs" / "fine", place / "data" / "pairs" / "rare"
    shutil.copy(fine / "f01.png", rare / "r_conflict.png")  # the same bytes, another label
    shutil.copy(fine / "f02.png", fine / "f_same.png")
    (fine / "broken.png").write_bytes((fine / "f00.png").read_bytes()[:200])
    (fine / "empty.png").write_bytes(b"")
    (fine / "notes.txt").write_text("no image\n")
    twins = {"r_conflict": "f01", "f_same": "f02"}
    for path in sorted((place / "data" / "pairs").rglob("*.*g")):
        stem = twins.get(path.stem, path.stem)[:3]
        number = int(stem[1:]) if stem[1:].isdigit() else 99
        group = f"{stem[0]}{number // 2:02d}"
        split = "test" if number // 2 % 4 == 1 else "train"
        rows.append(f"{path.parent.name}/{path.name},{path.parent.name},{group},{split}\n")
    rows.append("fine/missing.png,fine,f98,train\n")
    (place / "data" / "pairs.csv").write_text("path,label,group,split\n" + "".join(rows))
    make_repository(place)


def make_repository(place: Path) -> None:
    """The user's own git repository, whose commit the program notes; always the same one."""
    (place / ".gitignore").write_text("mlruns\n*.h5\n")
    fixed = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for who in ("AUTHOR", "COMMITTER"):
        fixed |= {f"GIT_{who}_NAME": "golden", f"GIT_{who}_EMAIL": "golden@localhost"}
        fixed |= {f"GIT_{who}_DATE": "2026-01-01T00:00:00+0000"}
    for line in ("init -q -b main", "add -A", "commit -q -m golden"):
        subprocess.run(["git", *line.split()], cwd=place, env=os.environ | fixed, check=True)


def differences(reference: Path, present: Path) -> list[str]:
    """A diff of two trees of texts, long lines and long parts cut."""
    trees = [{str(p.relative_to(t)): p for p in t.rglob("*") if p.is_file()}
             for t in (reference, present)]  # fmt: skip
    lines = []
    for name in sorted(trees[0].keys() | trees[1].keys()):
        if name not in trees[0] or name not in trees[1]:
            lines.append(f"{name}: only in {'reference' if name in trees[0] else 'present'}")
            continue
        before, after = (t[name].read_text("utf-8").splitlines() for t in trees)
        found = list(difflib.unified_diff(before, after, f"reference/{name}", f"present/{name}",
                                          lineterm="", n=1))  # fmt: skip
        lines += [line if len(line) <= WIDTH_SHOWN else f"{line[:WIDTH_SHOWN]} …"
                  for line in found[:LINES_SHOWN]]  # fmt: skip
        if len(found) > LINES_SHOWN:
            lines.append(f"… and {len(found) - LINES_SHOWN} more lines of {name}")
    return lines


def short_names(place: Path, *, checkout: Path = REPOSITORY) -> str:
    """Names on disk and keys in MLflow after a small study, for the test that keeps them."""
    build = Build(checkout, place, place)
    for line in ("run digits.yaml --trials 2", "sync digits"):  # a busy machine's mirror is late
        done = build.tuner(*line.split())
        if done.returncode:
            raise RuntimeError(done.stderr)
    found = names(place / "mlruns", build.plain)
    images = [name for name in found if name.startswith("file datasets/")]
    kept = [name for name in found if name not in images[1:]]  # one of hundreds
    return "\n".join(kept) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--reference", type=Path, help="checkout of the build to be held to")
    parser.add_argument("--present", type=Path, default=REPOSITORY, help="the other checkout")
    parser.add_argument("--dump", type=Path, help="folder for the texts; alone: of one build")
    parser.add_argument("--all", action="store_true", help="training on images, too")
    parser.add_argument("--names", action="store_true", help="print tests/golden/names.txt anew")
    parser.add_argument("--keep", action="store_true", help="leave the working directories")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="tuner-golden-")).resolve()
    try:
        sys.exit(compare(options, root))
    finally:
        if options.keep:
            say(f"kept: {root}")
        else:
            shutil.rmtree(root, ignore_errors=True)


def compare(options: argparse.Namespace, root: Path) -> int:
    """Do what was asked for; the exit code."""
    began = time.monotonic()
    checkouts = {"present": options.present} | (
        {"reference": options.reference} if options.reference else {})  # fmt: skip
    prepare(root)
    if options.names:
        print(short_names(root / "1", checkout=options.present.resolve()), end="")
        return 0
    out = options.dump or root / "texts"
    if out.exists() and any(out.iterdir()):
        sys.exit(f"{out} is not empty")
    # Names of one length: a path decides where a line is broken.
    builds = {
        name: Build(checkout.resolve(), root / str(i), out / name)
        for i, (name, checkout) in enumerate(checkouts.items())
    }
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda build: build.run_all(is_all=options.all), builds.values()))
    say(f"{time.monotonic() - began:.0f} s")
    if "reference" not in builds:
        return 0
    lines = differences(builds["reference"].out, builds["present"].out)
    print("\n".join(lines) or "no difference")
    return 1 if lines else 0


def prepare(root: Path) -> None:
    """Make what both builds share: random weights in a file, and matplotlib's list of fonts.

    Features of weights that are called random are not asked for near-duplicates, those of a file
    are; and while it lists fonts, matplotlib says so on stderr.
    """
    code = (
        "import keras, matplotlib.font_manager; keras.utils.set_random_seed(0);"
        " keras.applications.ResNet50(include_top=False, weights=None)"
        f".save_weights({str(root / WEIGHTS)!r})"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(root), "CUDA_VISIBLE_DEVICES": "-1"}
    environment |= {"MPLCONFIGDIR": str(root / "matplotlib")}
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)


if __name__ == "__main__":
    main()
