"""How the house is built: small rooms and files, one way of imports, nothing filled by place."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tuner.study import _PLACES

REPOSITORY = Path(__file__).parents[1]
ROOT = REPOSITORY / "tuner"
MODULES = sorted(ROOT.rglob("*.py"))
MOST_FILES, MOST_LINES, MOST_OF_A_COMMAND, MOST_BY_PLACE = 14, 400, 30, 3
OF_THE_COMMAND_LINE = {"cli", "cluster", "study", "model", "arrays", "errors", "text"}


@cache
def tree_of(path: Path) -> ast.Module:
    """A file, parsed."""
    return ast.parse(path.read_text("utf-8"))


def name_of(path: Path) -> str:
    """Dotted name of a module."""
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of every ``from … import …`` and ``import …``, wherever it stands."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports by its own place"
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def test_no_room_is_crowded() -> None:
    """More files than these at one level are two rooms under one name."""
    rooms = Counter(path.parent.relative_to(REPOSITORY) for path in MODULES)
    assert {str(room): n for room, n in rooms.items() if n > MOST_FILES} == {}


def test_no_file_is_long() -> None:
    """A seam is looked for before a file has more lines than these."""
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}


def test_commands_parse_call_and_print() -> None:
    """What a command does is in the hall and in what shows it: its own lines are few."""
    lengths = {
        f"{path.stem}.{node.name}": node.end_lineno - node.body[0].end_lineno
        for path in (ROOT / "cli" / "commands").glob("*.py")
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef) and node.end_lineno and node.body[0].end_lineno
    }
    assert len(lengths) >= 11
    assert {name: n for name, n in lengths.items() if n > MOST_OF_A_COMMAND} == {}


def _dataclasses() -> set[tuple[str, str]]:
    """Module and name of every dataclass of ours."""
    return {
        (name_of(path), node.name)
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
        and any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    }


def test_dataclasses_are_filled_by_name() -> None:
    """Four values in a row say nothing of which is which, and a new field shifts them."""
    known, by_place = _dataclasses(), []
    known |= {("tuner.study", name) for name, at in _PLACES.items() if (at, name) in known}
    for path in MODULES:
        here = {name: (module, name) for module, name in known if module == name_of(path)}
        here |= {name: (module, name) for module, name in imports_of(path)}
        by_place += [
            f"{name_of(path)}:{call.lineno} {call.func.id}"
            for call in ast.walk(tree_of(path))
            if isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and len(call.args) > MOST_BY_PLACE
            and here.get(call.func.id) in known
        ]
    assert by_place == []


def test_every_module_is_in_a_layer() -> None:
    """What is in no layer may import anything, and nobody would notice."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = [c["layers"] for c in contracts if c["name"] == "Imports go one way"]
    named = [name.strip() for layer in layers for name in layer.split("|")]
    rooms = {".".join(name_of(path).split(".")[:2]) for path in MODULES} - {"tuner"}
    assert sorted(named) == sorted(rooms)


def test_the_command_line_knows_the_hall_alone() -> None:
    """What it needs is named in `tuner.study`; a room below may move without its noticing."""
    below = [
        f"{name_of(path)} imports {module}"
        for path in (ROOT / "cli").rglob("*.py")
        for module, _ in imports_of(path)
        if module.startswith("tuner.") and module.split(".")[1] not in OF_THE_COMMAND_LINE
    ]
    assert below == []
    inside = [
        f"{name_of(path)} imports {module}"
        for path in (ROOT / "cli").rglob("*.py")
        for module, _ in imports_of(path)
        if module.startswith("tuner.study.")
    ]
    assert inside == []


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_nobody_puts_another_trainer_in_by_a_dotted_name(folder: str) -> None:
    """A trainer is an argument: `Search`, `train_settings` and the hall's `search` take one."""
    patched = [
        f"{path.name}:{call.lineno}"
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
        for call in ast.walk(tree_of(path))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("setattr", "patch")
        and any(_is_trainer(argument) for argument in call.args[:2])
    ]
    assert patched == []


def _is_trainer(argument: ast.expr) -> bool:
    """Whether an argument of `setattr` names what trains: ``train_trials``, ``Trainer``, …"""
    if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
        return False
    last = argument.value.rpartition(".")[2].lower()
    return last.startswith(("train", "run_search", "fit"))
