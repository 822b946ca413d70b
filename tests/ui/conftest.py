"""A real study of 15 trials, served by a real ``tuner ui``, seen by a real browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from tuner.cli import main; sys.argv[0] = 'tuner'; main()"
QUESTION = "Which treatment finds the rare digits <b>here</b>?"
STUDY = f"""# {QUESTION}
name: small
data: {{source: digits, image_px: 32, exclude: ["digit_[0-4]/*"]}}
split: {{folds: 2}}
backbone: {{weights: random}}
search: {{trials: 15}}
training: {{epochs: 8, hidden_units: 64, learning_rate: 0.001}}
"""
PATIENCE_S = 600
START_S = 120
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def environment() -> dict[str, str]:
    """The environment without what would lead commands elsewhere."""
    away = ("TUNER_HOME", "MLFLOW_TRACKING_URI")
    return {key: value for key, value in os.environ.items() if key not in away}


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless browser; skipped without one, unless it is required.

    Continuous integration sets TUNER_REQUIRE_BROWSER, so that it cannot skip by accident.
    """
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        if os.environ.get("TUNER_REQUIRE_BROWSER"):
            pytest.fail("no browser, or no playwright, and TUNER_REQUIRE_BROWSER is set")
        pytest.skip("needs chromium and playwright: apt install chromium; pip install playwright")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> Path:
    """A home with the finished study `small`; the browser first, so that a skip costs nothing."""
    place = tmp_path_factory.mktemp("ui")
    (place / "small.yaml").write_text(STUDY, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-c", PROGRAM, "run", "small.yaml", "--quiet"],
        cwd=place,
        env=environment(),
        check=True,
        timeout=PATIENCE_S,
        stdout=subprocess.DEVNULL,
    )
    return place / "mlruns"


@pytest.fixture(scope="package")
def pages(home: Path) -> Iterator[dict[str, str]]:
    """The addresses that ``tuner ui`` names, by their labels, while it serves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "ui", "small", "--port", str(port), "--no-browser"],
        cwd=home.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    found: dict[str, str] = {}
    try:
        deadline = time.monotonic() + START_S
        assert server.stdout is not None
        while "shorter" not in found:
            assert time.monotonic() < deadline
            label, _, rest = server.stdout.readline().strip().partition(" ")
            found[label] = rest.strip()
        yield found
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=60)
        server.stdout.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Any]:
    """Opens an address at a size; what went wrong on the page is in its `faults`."""
    contexts = []

    def start(url: str, *, width: int = 1440, height: int = 1000) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        # MLflow opens its assistant beside the page of a first visitor.
        seen = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
        if url.startswith("http"):
            context.add_init_script(seen)
        page = context.new_page()
        page.faults, page.asked = [], []
        page.on("console", lambda m: page.faults.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(url)
        return page

    yield start
    for context in contexts:
        context.close()
