"""Make the README's pictures from a finished study: python docs/make_images.py digits.

Needs chromium and ``pip install playwright``. Writes into docs/images: the terminal's result
(terminal.svg), the winner's confusion matrix (confusion-matrix.png), MLflow's comparison
(mlflow-compare.png) and the report (report.png).
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright
from rich.console import Console

import tuner
from tuner.cli.show.terminal import say_step
from tuner.cli.show.winner import print_winner
from tuner.report.figures.confusion import confusion_matrix_image
from tuner.tracking.content import run_name

IMAGES = Path(__file__).parent / "images"
SERVE = "import sys; from tuner.cli import main; sys.argv[0] = 'tuner'; main()"
MOST_BYTES = 300_000


def terminal(study: tuner.Study) -> None:
    """The result as `tuner run` prints it."""
    console = Console(
        record=True, width=118, file=io.StringIO(), highlight=False, force_terminal=True
    )
    print_winner(study, console)
    say_step(console, "compare", f"tuner ui {study.name}")
    say_step(console, "confirm", f"tuner confirm {study.name}")
    picture = console.export_svg(title=f"tuner run {study.name}")
    # Fonts from a server that no reader asked for.
    picture = re.sub(r"@font-face\s*\{[^}]*\}", "", picture)
    (IMAGES / "terminal.svg").write_text(picture, encoding="utf-8")


def confusion(study: tuner.Study) -> None:
    """The winner's confusion matrix, as MLflow has it of every trial."""
    best = study.best_trial
    pixels = confusion_matrix_image(best.record.matrix, best.class_names, run_name(best.record))
    Image.fromarray(pixels).save(IMAGES / "confusion-matrix.png", optimize=True)


def report(study: tuner.Study, browser: Any) -> None:
    """The first screen of the report."""
    with tempfile.TemporaryDirectory() as place:
        file = study.report(Path(place) / "report.html")
        page = browser.new_page(viewport={"width": 1280, "height": 1100})
        page.goto(file.as_uri())
        page.screenshot(path=IMAGES / "report.png")


def comparison(study: tuner.Study, browser: Any) -> None:
    """The winner's matrix beside the baselines', as `tuner ui` opens them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    home = str(study.home.path)
    words = ["ui", study.name, "--home", home, "--port", port, "--no-browser"]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        lines = iter(server.stdout or [])
        url = next(line.split()[1] for line in lines if line.split()[:1] == ["shorter"])
        context = browser.new_context(viewport={"width": 1440, "height": 1320})
        context.add_init_script(
            "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
        )
        page = context.new_page()
        page.goto(url)
        page.wait_for_function("document.querySelectorAll('img[src*=confusion]').length > 2")
        page.wait_for_timeout(3000)  # until charts have their places
        page.screenshot(path=IMAGES / "mlflow-compare.png")
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=60)


def main() -> None:
    """Make all four and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    study = tuner.Study.load(options.study, home=options.home, listener=None)
    terminal(study)
    confusion(study)
    with sync_playwright() as driver:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        report(study, browser)
        comparison(study, browser)
        browser.close()
    for name in ("terminal.svg", "confusion-matrix.png", "report.png", "mlflow-compare.png"):
        size = (IMAGES / name).stat().st_size
        print(f"docs/images/{name}  {size / 1000:.0f} kB{'  TOO LARGE' * (size > MOST_BYTES)}")


if __name__ == "__main__":
    main()
