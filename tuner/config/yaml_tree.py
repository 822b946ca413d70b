"""A study file as a tree of plain values that remembers its lines, with overrides put in.

Knows YAML, but not what a study holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tuner.config.yaml_text import TAG, Loader, literal
from tuner.errors import StudyFileError
from tuner.text import escaped, shortened

KeyPath = tuple[str | int, ...]
"""Where a value sits in a study file: ``("search", "gamma", 0)`` is `search.gamma[0]`."""

MAX_VALUES = 10_000  # aliases can make a small file expand without end
MAX_DEPTH = 20

# PyYAML lets an escape beyond Unicode, "\UFFFFFFFF", out as ValueError or OverflowError.
NOT_YAML = (yaml.YAMLError, RecursionError, ValueError, OverflowError)
_SYNTAX_WORDS = {
    "found character '\\t' that cannot start any token": "a tab cannot indent; write spaces",
    "mapping values are not allowed here": (
        "a key is not expected here; mend the indentation, or quote a text that holds ': '"
    ),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written.

    Attributes:
        where: For messages: "studies/x.yaml:14" or "--set search.gamma=2".
        order: Lines of the file first, then overrides as given.
        raw: A scalar as written.
    """

    where: str
    order: int
    raw: str = ""


@dataclass(slots=True)
class Tree:
    """A study file as plain values, with the place of each and the problems found so far."""

    source: str
    data: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[tuple[Place, str]] = field(default_factory=list)
    reported: set[KeyPath] = field(default_factory=set)

    def place(self, path: KeyPath) -> Place:
        """Place of the value at `path`, or of the nearest block around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(self.source, 0))

    def report(self, path: KeyPath, text: str) -> None:
        """Note that the value at `path` is wrong, for the reason `text`."""
        self.reported.add(path)
        self.problems.append((self.place(path), f"{dotted(path)}: {text}"))

    def error(self) -> StudyFileError:
        """One error that holds every problem, in the order of lines."""
        found = sorted(self.problems, key=lambda problem: problem[0].order)
        origins = ["--set" if p.where.startswith("--set ") else self.source for p, _ in found]
        count = f"{len(found)} problem{'s' * (len(found) > 1)}"
        return StudyFileError(
            f"{count} in {' and '.join(dict.fromkeys(origins))}",
            where="\n  ".join(f"{place.where}  {text}" for place, text in found),
        )


def read_tree(text: str, *, source: str, overrides: Sequence[str] = ()) -> Tree:
    """Tree of the YAML `text` with each override ``a.b=value`` put in its place.

    Args:
        text: The study file.
        source: Its path or name, for messages.
        overrides: Values of `--set`; the last one for a key wins.

    Raises:
        StudyFileError: If the text is not YAML or its top level holds no keys.
    """
    source = escaped(source)
    tree = Tree(source)
    try:
        node = yaml.compose(text, Loader)
    except NOT_YAML as error:
        raise StudyFileError(
            f"{source} cannot be read as YAML", where=f"{source}{_syntax(error, text)}"
        ) from error
    if node is None or (isinstance(node, ScalarNode) and not node.value):
        raise StudyFileError(
            f"{source} is empty; a study file needs at least 'name' and 'data.source'",
            do=f"write one with: tuner init DATA -o {source}",
        )
    if not isinstance(node, MappingNode):
        kind = "a list" if isinstance(node, SequenceNode) else "plain text"
        raise StudyFileError(
            f"{source} holds {kind}, but a study file holds 'key: value' lines",
            where=f"{source}:{node.start_mark.line + 1}",
            do=f"write one with: tuner init DATA -o {source}",
        )
    _Values(tree, lambda at: (f"{source}:{at.start_mark.line + 1}", at.start_mark.line + 1)).read(
        node, (), tree.data
    )
    for number, override in enumerate(overrides):
        _apply_override(tree, override, number=number)
    return tree


def _syntax(error: Exception, text: str) -> str:
    """``:line:column  reason: 'offending text'`` of what PyYAML could not read."""
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return f":{line}:{column}  {text[error.position]!a} is not allowed in YAML"
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, RecursionError):
        return "  nested too deeply for a study file"
    if not isinstance(error, yaml.MarkedYAMLError) or mark is None:
        return f"  a number or an escape in it is beyond all bounds: {error}"
    reason = _SYNTAX_WORDS.get(str(error.problem), error.problem)
    opened = error.context_mark
    if opened is not None and opened.line != mark.line:
        reason = f"{error.context} from line {opened.line + 1}, {reason}"
    lines = text.splitlines() or [""]
    offending = lines[min(mark.line, len(lines) - 1)].strip()
    return f":{mark.line + 1}:{mark.column + 1}  {reason}: {shortened(offending)!r}"


@dataclass(slots=True)
class _Values:
    """Turns YAML nodes into plain values, noting where each was written."""

    tree: Tree
    locate: Callable[[Node], tuple[str, int]]
    n_values: int = 0

    def read(self, node: Node, path: KeyPath, into: dict[str, Any] | None = None) -> Any:
        self.n_values += 1
        if self.n_values > MAX_VALUES or len(path) > MAX_DEPTH:
            raise StudyFileError(
                f"{self.tree.source} expands to more than {MAX_VALUES} values or "
                f"{MAX_DEPTH} levels",
                do="write its values out instead of repeating them with '&' and '*'",
            )
        kind = str(node.tag).removeprefix(TAG)
        if isinstance(node, MappingNode) and kind == "map":
            return self._mapping(node, path, {} if into is None else into)
        if isinstance(node, SequenceNode) and kind == "seq":
            paths = [(*path, i) for i in range(len(node.value))]
            self.tree.places |= {
                at: self._place(v, v) for at, v in zip(paths, node.value, strict=True)
            }
            return [self.read(item, at) for at, item in zip(paths, node.value, strict=True)]
        try:
            return literal(kind, node.value)
        except KeyError:
            known = str(node.tag).replace(TAG, "!!")
            self.tree.report(path, f"the YAML tag {shortened(known)} is not allowed")
        except ValueError:
            self.tree.report(path, f"{shortened(node.value)!r} is not a number that can be read")
        return None

    def _place(self, at: Node, value: Node) -> Place:
        return Place(*self.locate(at), value.value if isinstance(value, ScalarNode) else "")

    def _mapping(self, node: MappingNode, path: KeyPath, into: dict[str, Any]) -> dict[str, Any]:
        seen: dict[KeyPath, int] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                odd = "a key must be plain text, not a list or a block"
                self.tree.problems.append((self._place(key, key), odd))
                continue
            at, line = (*path, str(key.value)), key.start_mark.line + 1
            if at in seen:
                twice = f"{dotted(at)}: written twice (first in line {seen[at]}); keep one"
                self.tree.problems.append((self._place(key, key), twice))
                continue
            seen[at] = line
            self.tree.places[at] = self._place(key, value)
            into[str(key.value)] = self.read(value, at)
        return into


def _apply_override(tree: Tree, override: str, *, number: int) -> None:
    """Put the value of one `--set a.b=value` into the tree."""
    place = Place(f"--set {escaped(override)}", 10**9 + number)
    key, equals, text = override.partition("=")
    path: KeyPath = tuple(part.strip() for part in key.split("."))
    if not equals or "" in path:
        example = "write it as key=value, for example --set search.trials=20"
        tree.problems.append((place, f"not an override; {example}"))
        return
    try:
        node = yaml.compose(text, Loader) or ScalarNode(f"{TAG}null", "")
    except NOT_YAML as error:
        reason = _syntax(error, text).partition("  ")[2]
        tree.problems.append((place, f"{dotted(path)}: cannot be read as YAML: {reason}"))
        return
    block: Any = tree.data
    for depth, part in enumerate(path[:-1], start=1):
        if block.get(part) is None:
            block[part] = {}
            tree.places[path[:depth]] = place
        block = block[part]
        if not isinstance(block, dict):
            outer = dotted(path[:depth])
            text = f"{dotted(path)}: '{outer}' holds a value, not keys"
            tree.problems.append((place, text))
            return
    if not isinstance(node, MappingNode):  # a block adds to what is there, all else replaces it
        inside = [at for at in tree.places if at[: len(path)] == path]
        for at in inside:
            del tree.places[at]
    raw = node.value if isinstance(node, ScalarNode) else ""
    tree.places[path] = replace(place, raw=raw)
    value = _Values(tree, lambda _: (place.where, place.order)).read(node, path)
    _merge(block, str(path[-1]), value)


def _merge(block: dict[str, Any], key: str, value: Any) -> None:
    """Set a value; a block of keys adds to the block that is there."""
    if isinstance(value, dict) and isinstance(block.get(key), dict):
        for inner, item in value.items():
            _merge(block[key], inner, item)
    else:
        block[key] = value


def dotted(path: KeyPath) -> str:
    """``search.gamma[0]`` for ``("search", "gamma", 0)``."""
    parts = (
        f"[{part}]" if isinstance(part, int) else f".{shortened(escaped(part))}" for part in path
    )
    return "".join(parts).removeprefix(".")
