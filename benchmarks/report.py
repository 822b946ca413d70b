"""Seconds and bytes of a report, by default of 100 trials and 12 classes.

`cpu_seconds` are those of this process alone; `load` is how many others wanted the machine.

python benchmarks/report.py [--trials 100] [--classes 12] [--repeats 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from _common import emit, machine_name, say

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.report.made_study import confirm, free_baselines, make_study
from tuner.report.page.page import render_report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--classes", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        names = [f"defect_{k:02d}" for k in range(options.classes)]
        folder = make_study(Path(home), names, trials=options.trials, has_images=True)
        confirm(folder)
        free_baselines(folder)
        seconds, cpu_seconds, page = [], [], ""
        for repeat in range(options.repeats + 1):
            start, start_cpu = time.perf_counter(), time.process_time()
            page = render_report(folder, root=Path(home) / "images")
            seconds.append(time.perf_counter() - start)
            cpu_seconds.append(time.process_time() - start_cpu)
            say(f"  {repeat}/{options.repeats}: {seconds[-1]:.2f} s")
    emit(
        "report",
        machine=machine_name(),
        trials=options.trials,
        classes=options.classes,
        seconds=statistics.median(seconds[1:]),
        first_seconds=seconds[0],
        cpu_seconds=statistics.median(cpu_seconds[1:]),
        load=os.getloadavg()[0],
        bytes=len(page.encode()),
    )


if __name__ == "__main__":
    main()
