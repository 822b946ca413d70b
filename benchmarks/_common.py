"""What the benchmarks share: data, the machine's name, alternating timings, one JSON line each."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tuner.data.digits import write_digits
from tuner.data.images import IMAGE_SUFFIXES


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def emit(benchmark: str, **numbers: object) -> None:
    """One measurement, on stdout."""
    rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in numbers.items()}
    print(json.dumps({"benchmark": benchmark, **rounded}), flush=True)


def machine_name(*, gpu: str = "") -> str:
    """Processor with its number of cores, and the graphics card where one is used."""
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    processor = found[1].strip() if found else platform.processor() or platform.machine()
    return " + ".join(part for part in (gpu, f"{processor} x{os.cpu_count()}") if part)


def alternate(
    contestants: Mapping[str, Callable[[], object]], *, repeats: int, warm_up: bool = True
) -> dict[str, list[float]]:
    """Seconds of each contestant in each round; all run in every round, in turn.

    Whoever else uses the machine then slows all of them alike. With `warm_up` one round before is
    not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for round_number in range(0 if warm_up else 1, repeats + 1):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            took = time.perf_counter() - start
            if round_number:
                seconds[name].append(took)
                say(f"  round {round_number}/{repeats}  {name}: {took:.3f} s")
    return seconds


def median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """Median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


def image_files(name: str, *, into: Path) -> tuple[str, list[Path]]:
    """Image files of a development data set, or of the bundled digits where that is absent.

    Args:
        name: Of an archive ``NAME.tar`` in ``TUNER_DATA`` or ``../shared/data``.
        into: Folder to unpack in.

    Returns:
        Name of the data set that was taken, and its files in order.
    """
    folder = Path(os.environ.get("TUNER_DATA") or Path(__file__).parents[2] / "shared/data")
    archive = folder / f"{name}.tar"
    if archive.is_file():
        with tarfile.open(archive) as file:
            file.extractall(into / name, filter="data")
    else:
        say(f"no {archive}: taking the digits (set TUNER_DATA to the folder of {name}.tar)")
        name = "digits"
        write_digits(into / name)
    files = (path for path in (into / name).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return name, sorted(files)
