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

from tuner.cli.commands.run import print_winner
from tuner.cli.show.terminal import say_step
from tuner.home import Home
from tuner.home.founding import data_root
from tuner.home.records import winner
from tuner.home.study_folder import StudyFolder, find_study
from tuner.report.figures.figures import confusion_matrix_image
from tuner.report.page.page import render_report
from tuner.tracking.content import run_name

IMAGES = Path(__file__).parent / "images"
SERVE = "import sys; from tuner.cli import main; sys.argv[0] = 'tuner'; main()"
MOST_BYTES = 300_000


def terminal(folder: StudyFolder) -> None:
    """The result as `tuner run` prints it."""
    best = winner(folder.records())
    if best is None:
        sys.exit("the study has no result yet")
    console = Console(
        record=True, width=118, file=io.StringIO(), highlight=False, force_terminal=True
    )
    print_winner(folder, best, console)
    say_step(console, "compare", f"tuner ui {folder.name}")
    say_step(console, "confirm", f"tuner confirm {folder.name}")
    picture = console.export_svg(title=f"tuner run {folder.name}")
    # Fonts from a server that no reader asked for.
    picture = re.sub(r"@font-face\s*\{[^}]*\}", "", picture)
    (IMAGES / "terminal.svg").write_text(picture, encoding="utf-8")


def confusion(folder: StudyFolder) -> None:
    """The winner's confusion matrix, as MLflow has it of every trial."""
    best = winner(folder.records())
    if best is not None:
        pixels = confusion_matrix_image(best.matrix, folder.class_names, run_name(best))
        Image.fromarray(pixels).save(IMAGES / "confusion-matrix.png", optimize=True)


def report(folder: StudyFolder, home: Home, browser: Any) -> None:
    """The first screen of the report."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "report.html"
        file.write_text(render_report(folder, root=data_root(folder.config, home)), "utf-8")
        page = browser.new_page(viewport={"width": 1280, "height": 1100})
        page.goto(file.as_uri())
        page.screenshot(path=IMAGES / "report.png")


def comparison(folder: StudyFolder, home: Home, browser: Any) -> None:
    """The winner's matrix beside the baselines', as `tuner ui` opens them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    words = ["ui", folder.name, "--home", str(home.path), "--port", port, "--no-browser"]
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
    home = Home.find(options.home)
    folder = find_study(home, options.study)
    terminal(folder)
    confusion(folder)
    with sync_playwright() as driver:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        report(folder, home, browser)
        comparison(folder, home, browser)
        browser.close()
    for name in ("terminal.svg", "confusion-matrix.png", "report.png", "mlflow-compare.png"):
        size = (IMAGES / name).stat().st_size
        print(f"docs/images/{name}  {size / 1000:.0f} kB{'  TOO LARGE' * (size > MOST_BYTES)}")


if __name__ == "__main__":
    main()
