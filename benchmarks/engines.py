"""Images a second of every engine: filling the bank, the bare call, and the floor of both.

python benchmarks/engines.py [--today TREE] [--image-px 128 224] [--quick] [--predict]
    [--study] [--no-rows]

Each contestant is a process of its own (`_engines_server.py`), and all take turns on the same
images and views of steel, so that whoever else uses the machine slows all of them alike. The floor
is the network's multiplications at the speed of square matrix products by oneDNN.

TREE is another version of this repository, for example
``git worktree add --detach ../f1f95a9 f1f95a9``; it takes part as its own ``fill_bank``, as it
comes, and without oneDNN, which is how it comes on processors with AVX2 only. ``--study`` runs a
whole study of 60 trials at 224 px as well, a command of each version in turn in an empty home.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import keras
from _common import alternate, emit, image_files, machine_name, median_ratio, say
from extract import rows_of

HERE = Path(__file__).resolve()
SERVER = HERE.with_name("_engines_server.py")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
ENGINES = ("keras", "openvino")
PRODUCTS_FLOP = 2 * 2 * 3072**3  # of a turn of the server
N_VIEWS = 8
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


class Contestant:
    """A process that waits for its turns.

    Args:
        name: What it does, for the server.
        image_px: Side of the images.
        tree: Whose `tuner` it imports.
        is_plain: Whether oneDNN is left off.
    """

    def __init__(self, name: str, image_px: int, *, tree: Path, is_plain: bool = False) -> None:
        environment = os.environ | {"PYTHONPATH": str(tree), "TF_CPP_MIN_LOG_LEVEL": "2"}
        # As the engine itself would have it; elsewhere as TensorFlow comes.
        if is_plain:
            environment[ONEDNN] = "0"
        elif "keras" in name and not {"avx512_vnni", "avx_vnni"} & flags():
            environment.setdefault(ONEDNN, "1")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(SERVER), name, str(image_px)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._wait()

    def turn(self, rows: Sequence[Any]) -> None:
        """Do what is to be done with the rows."""
        _pipe(self._process.stdin).write(json.dumps({"rows": rows}) + "\n")
        _pipe(self._process.stdin).flush()
        self._wait()

    def close(self) -> None:
        """End the process."""
        _pipe(self._process.stdin).close()
        self._process.wait()

    def _wait(self) -> None:
        if not _pipe(self._process.stdout).readline():
            raise SystemExit(f"a contestant has ended with {self._process.wait()}")


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise ValueError("no pipe")
    return stream


def flags() -> set[str]:
    """What the processor can do, as Linux names it."""
    try:
        found = re.search(r"^flags\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return set()
    return set(found[1].split()) if found else set()


def flop_of_an_image(image_px: int) -> float:
    """Additions and multiplications of ResNet50's convolutions."""
    shape = (image_px, image_px, 3)
    model = keras.applications.ResNet50(include_top=False, weights=None, input_shape=shape)
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    sides = [(x.output.shape[1] * x.output.shape[2], x.kernel.shape) for x in convolutions]
    return float(sum(2 * n * h * w * i * o for n, (h, w, i, o) in sides))


def contestants(options: argparse.Namespace, image_px: int) -> Iterator[tuple[str, Contestant]]:
    """Everything that takes part, by the name that it has in the results."""
    here = HERE.parents[1]
    if options.today:
        tree = Path(options.today).resolve()
        yield "f1f95a9", Contestant("fill", image_px, tree=tree)
        yield "f1f95a9 without oneDNN", Contestant("fill", image_px, tree=tree, is_plain=True)
    for engine in options.engines:
        yield engine, Contestant(engine, image_px, tree=here)
        yield f"bare {engine}", Contestant(f"bare {engine}", image_px, tree=here)
    if options.predict:
        yield "predict", Contestant("predict", image_px, tree=here)
    yield "products", Contestant("products", image_px, tree=here)


def measure(options: argparse.Namespace, image_px: int, data: str, paths: list[Path]) -> None:
    """One line for each engine and part at this size."""
    n_rows, flop = options.rows or (96 if options.quick else 256), flop_of_an_image(image_px)
    with ExitStack() as stack:
        there = dict(contestants(options, image_px))
        for contestant in there.values():
            stack.callback(contestant.close)
        for part, n_views in (("images", 0), ("views", N_VIEWS)):
            rows = [
                (str(r.path), r.sha256, r.view) for r in rows_of(paths, n_rows, n_views=n_views)
            ]
            say(f"{part}: {len(rows)} rows of {data} at {image_px} px")
            turns = {name: lambda c=c, rows=rows: c.turn(rows) for name, c in there.items()}
            seconds = alternate(turns, repeats=options.repeats or (3 if options.quick else 5))
            # The bare call and `predict` know no views.
            beside = ("products",) if n_views == 0 else ("products", "bare", "predict")
            for name in [name for name in there if not name.startswith(beside)]:
                emit(
                    "engines",
                    machine=machine_name(),
                    flags=sorted(set(FLAGS) & flags()),
                    data=data,
                    engine=name,
                    image_px=image_px,
                    part="pixels" if name.startswith("bare") else part,
                    rows=len(rows),
                    rows_per_s=len(rows) / statistics.median(seconds[name]),
                    **_ratios(name, seconds, len(rows) * flop / PRODUCTS_FLOP),
                )


def _ratios(name: str, seconds: dict[str, list[float]], products: float) -> dict[str, float]:
    """How fast one is beside the others, each the median over rounds."""
    floor = [products * s for s in seconds["products"]]
    found = {"ratio_to_floor": median_ratio(floor, seconds[name])}
    for label, other in (
        ("ratio_to_bare", f"bare {name}"),
        ("ratio_to_bare_openvino", "bare openvino" if name == "predict" else ""),
        ("ratio_to_f1f95a9", "f1f95a9"),
        ("ratio_to_f1f95a9_without_onednn", "f1f95a9 without oneDNN"),
    ):
        if other in seconds:
            found[label] = median_ratio(seconds[other], seconds[name])
    return found


RUN = "from tuner.cli import main; main()"
STUDY = """name: steel
data: {{source: '{source}', image_px: {image_px}}}
split: {{folds: 3}}
search: {{trials: {trials}}}
"""


def whole_studies(options: argparse.Namespace, data: str, paths: list[Path]) -> None:
    """A whole study, from an empty home, by each engine and by the other version in turn."""
    here, base = HERE.parents[1], [sys.executable, "-c", RUN, "run"]
    trees = dict.fromkeys(options.engines, here)
    if options.today:
        trees = {"f1f95a9": Path(options.today).resolve(), **trees}
    image_px, trials = (64, 4) if options.quick else (224, 60)
    with tempfile.TemporaryDirectory() as name:
        study = Path(name, "study.yaml")
        study.write_text(
            STUDY.format(source=paths[0].parent.parent, image_px=image_px, trials=trials)
        )

        def run(engine: str, tree: Path) -> None:
            chosen = [] if engine == "f1f95a9" else ["--set", f"backbone.engine={engine}"]
            with tempfile.TemporaryDirectory() as home:
                command = [*base, str(study), "--home", home, *chosen]
                environment = os.environ | {"PYTHONPATH": str(tree)}
                subprocess.run(command, env=environment, check=True, capture_output=True)

        turns = {engine: lambda e=engine, t=tree: run(e, t) for engine, tree in trees.items()}
        # Each is a command in a process of its own, which nothing warms up.
        seconds = alternate(turns, repeats=options.study_repeats, warm_up=False)
    for engine in trees:
        emit(
            "engines",
            machine=machine_name(),
            flags=sorted(set(FLAGS) & flags()),
            data=data,
            engine=engine,
            image_px=image_px,
            part="study",
            trials=trials,
            wall_s=statistics.median(seconds[engine]),
            **_study_ratio(engine, seconds),
        )


def _study_ratio(engine: str, seconds: dict[str, list[float]]) -> dict[str, float]:
    if "f1f95a9" not in seconds:
        return {}
    return {"ratio_to_f1f95a9": median_ratio(seconds["f1f95a9"], seconds[engine])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--today", help="a tree of the version to compare with, f1f95a9")
    parser.add_argument("--image-px", type=int, nargs="+", default=[128, 224])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--rows", type=int, help="default: 256, quick 96")
    parser.add_argument("--repeats", type=int, help="default: 5, quick 3")
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds")
    parser.add_argument("--predict", action="store_true", help="`tuner predict`, too")
    parser.add_argument("--study", action="store_true", help="whole studies, too")
    parser.add_argument("--no-rows", action="store_true", help="nothing but whole studies")
    parser.add_argument("--study-repeats", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data, paths = image_files("steel_xsdd", into=Path(name))
        for image_px in () if options.no_rows else options.image_px:
            measure(options, image_px, data, paths)
        if options.study:
            whole_studies(options, data, paths)


if __name__ == "__main__":
    main()
