"""What the documents say can be typed, and what docstrings show is what happens."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.commands import COMMANDS, console_lines, parse
from tests.tiny_backbone import write_tiny_backbone
from tuner.setting import HYPERPARAMETERS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
SHOWN = [path for path in sorted((ROOT / "tuner").rglob("*.py")) if ">>> " in path.read_text()]


def consoles() -> list[str]:
    """Every line after a prompt in the README."""
    return list(console_lines(README))


def commands() -> list[str]:
    """Every `tuner …` after a prompt in any document."""
    texts = [path.read_text("utf-8") for path in DOCUMENTS]
    return [li for text in texts for li in console_lines(text) if li.startswith("tuner ")]


@pytest.mark.parametrize("line", commands())
def test_commands_of_the_documents_are_commands(line):
    """Each `$ tuner …` is taken by the program: the command, its arguments and its options."""
    assert parse(line) in COMMANDS


@pytest.mark.parametrize("line", [line for line in consoles() if "make " in line])
def test_targets_of_the_readme_are_targets(line):
    """Each `$ make …` names a target of the Makefile."""
    for target in re.findall(r"\bmake (\w+)", line):
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


def test_the_readme_shows_the_way_from_images_to_a_model():
    """The commands of the main job are there to be copied, in their order."""
    shown = [line.split()[1] for line in consoles() if line.startswith("tuner ")]
    job = ["init", "check", "run", "ui", "export", "train"]
    assert [name for name in shown if name in job][: len(job)] == job


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_within_the_text_exist(path):
    """No `tuner …` in a sentence or a table is of yesterday, and no option of it is."""
    for text in re.findall(r"`tuner ([^`\n]+)`", path.read_text("utf-8")):
        name, *words = text.split()
        assert name in COMMANDS, text
        known = {option for param in COMMANDS[name].params for option in param.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, text


def test_the_makefile_calls_the_program_rightly():
    """`make demo` gives options that its command has."""
    lines = re.findall(r"\$\(BIN\)/tuner (.*)", MAKEFILE)
    assert lines
    for line in lines:
        words = re.sub(r"\$\((\w+)\)", r"\1", line)
        assert parse(f"tuner {words}") == "run"


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda p: p.name)
def test_study_files_say_their_own_command(path):
    """A study's header shows the command that runs this very file."""
    (command,) = re.findall(r"^# Run: +(tuner run \S+)", path.read_text("utf-8"), re.MULTILINE)
    assert parse(command) == "run"
    assert command.split()[-1] == path.relative_to(ROOT).as_posix()


def test_the_readme_says_what_is_searched():
    """The README's table names each hyperparameter with its default range, or its choices."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section("What is searched"), re.MULTILINE)
    expected = [
        (name, ", ".join(f"`{c}`" for c in h.default) if h.kind == "choice" else limits(h.default))
        for name, h in HYPERPARAMETERS.items()
    ]
    assert rows == expected


def section(title: str) -> str:
    """Text of the README below a heading, up to the next."""
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def limits(found: tuple[float, float]) -> str:
    """A range as the README has it."""
    return f"{found[0]:g} to {found[1]:g}"


SMALL = """
name: digits
data: {source: digits, image_px: 32}
split: {folds: 2}
backbone: {model: tiny.keras}
training: {epochs: 3, hidden_units: 16}
"""


@pytest.mark.slow
def test_the_python_page_runs(tmp_path):
    """Every snippet of docs/python.md runs, one after the other, on a small study of that name."""
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    script = "\n".join(snippets)
    for large, small in {
        "trials=20": "trials=2",
        "trials=21": "trials=3",
        "seeds=5": "seeds=2",
    }.items():
        assert large in script
        script = script.replace(large, small)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "digits.yaml").write_text(SMALL)
    write_tiny_backbone(tmp_path / "tiny.keras")
    (tmp_path / "new_photos").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (40, 30), "white").save(tmp_path / "new_photos" / f"{name}.png")
    (tmp_path / "page.py").write_text(script + "\nprint(sorted(heard.losses), high > low)\n")
    places = {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env=os.environ | places,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['trial-00005'] True"
    assert (tmp_path / "digits.html").stat().st_size > 100_000


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.stem)
def test_examples_in_docstrings_run(path):
    """What a docstring shows after a prompt is what comes out."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    module = importlib.import_module(name)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testmod(module, optionflags=flags)
    assert result.attempted > 0
    assert result.failed == 0
