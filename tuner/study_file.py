"""Study files as text: YAML into a tree that remembers its lines, and problems in plain words.

Knows YAML and pydantic, but not what a study holds; that is `tuner.config`.

The YAML is the core schema of version 1.2, not PyYAML's 1.1: `1e-4` is a number, and `no`,
`off`, `1:30` and `2024-01-01` are text. So nothing a user writes turns into something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher, get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeGuard, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tuner.errors import StudyFileError

KeyPath = tuple[str | int, ...]
"""Where a value sits in a study file: ``("search", "gamma", 0)`` is `search.gamma[0]`."""

Model = TypeVar("Model", bound=BaseModel)

MAX_VALUES = 10_000  # aliases can make a small file expand without end
MAX_DEPTH = 20

_TAG = "tag:yaml.org,2002:"
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_CORE_SCHEMA = (
    ("bool", re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"), "tTfF"),
    ("null", re.compile(r"(~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    ("int", re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), "-+0123456789"),
    ("float", _NUMBER, "-+.0123456789"),
    ("float", re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"), "-+."),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012  # PyYAML's own way to start a new schema


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something other than text."""


for _name, _pattern, _first in _CORE_SCHEMA:
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, list(_first))
    _Dumper.add_implicit_resolver(_TAG + _name, _pattern, list(_first))


def _represent_text(dumper: yaml.SafeDumper, text: str) -> ScalarNode:
    style = None if text.isprintable() else '"'  # escapes keep it on one line
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


def _represent_list(dumper: yaml.SafeDumper, items: Sequence[object]) -> SequenceNode:
    return dumper.represent_sequence(f"{_TAG}seq", items, flow_style=True)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(tuple, _represent_list)

# PyYAML lets an escape beyond Unicode, "\UFFFFFFFF", out as ValueError or OverflowError.
_NOT_YAML = (yaml.YAMLError, RecursionError, ValueError, OverflowError)
_SYNTAX_WORDS = {
    "found character '\\t' that cannot start any token": "a tab cannot indent; write spaces",
    "mapping values are not allowed here": (
        "a key is not expected here; mend the indentation, or quote a text that holds ': '"
    ),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of a field in words, where bounds and type do not say it themselves."""

    text: str


@dataclass(frozen=True, slots=True)
class _Place:
    where: str  # "studies/x.yaml:14" or "--set search.gamma=2"
    order: int  # lines of the file first, then overrides as given
    raw: str = ""  # a scalar as written


@dataclass(slots=True)
class Tree:
    """A study file as plain values, with the place of each and the problems found so far."""

    source: str
    data: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, _Place] = field(default_factory=dict)
    problems: list[tuple[_Place, str]] = field(default_factory=list)
    reported: set[KeyPath] = field(default_factory=set)

    def place(self, path: KeyPath) -> _Place:
        """Place of the value at `path`, or of the nearest block around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, _Place(self.source, 0))

    def report(self, path: KeyPath, text: str) -> None:
        """Note that the value at `path` is wrong, for the reason `text`."""
        self.reported.add(path)
        self.problems.append((self.place(path), f"{_dotted(path)}: {text}"))

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
    source = one_line(source)
    tree = Tree(source)
    try:
        node = yaml.compose(text, _Loader)
    except _NOT_YAML as error:
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
    return f":{mark.line + 1}:{mark.column + 1}  {reason}: {_short(offending)!r}"


def _literal(kind: str, text: str) -> object:
    """Value of a scalar of the core schema; raises ValueError or KeyError."""
    if kind == "int":
        based = text.startswith(("0o", "0x"))
        return int(text, 0 if based else 10)
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if kind == "bool":
        return {"true": True, "false": False}[text.lower()]
    return {"null": None, "str": text}[kind]


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
        kind = str(node.tag).removeprefix(_TAG)
        if isinstance(node, MappingNode) and kind == "map":
            return self._mapping(node, path, {} if into is None else into)
        if isinstance(node, SequenceNode) and kind == "seq":
            paths = [(*path, i) for i in range(len(node.value))]
            self.tree.places |= {
                at: self._place(v, v) for at, v in zip(paths, node.value, strict=True)
            }
            return [self.read(item, at) for at, item in zip(paths, node.value, strict=True)]
        try:
            return _literal(kind, node.value)
        except KeyError:
            known = str(node.tag).replace(_TAG, "!!")
            self.tree.report(path, f"the YAML tag {_short(known)} is not allowed")
        except ValueError:
            self.tree.report(path, f"{_short(node.value)!r} is not a number that can be read")
        return None

    def _place(self, at: Node, value: Node) -> _Place:
        return _Place(*self.locate(at), value.value if isinstance(value, ScalarNode) else "")

    def _mapping(self, node: MappingNode, path: KeyPath, into: dict[str, Any]) -> dict[str, Any]:
        seen: dict[KeyPath, int] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                odd = "a key must be plain text, not a list or a block"
                self.tree.problems.append((self._place(key, key), odd))
                continue
            at, line = (*path, str(key.value)), key.start_mark.line + 1
            if at in seen:
                twice = f"{_dotted(at)}: written twice (first in line {seen[at]}); keep one"
                self.tree.problems.append((self._place(key, key), twice))
                continue
            seen[at] = line
            self.tree.places[at] = self._place(key, value)
            into[str(key.value)] = self.read(value, at)
        return into


def _apply_override(tree: Tree, override: str, *, number: int) -> None:
    """Put the value of one `--set a.b=value` into the tree."""
    place = _Place(f"--set {one_line(override)}", 10**9 + number)
    key, equals, text = override.partition("=")
    path: KeyPath = tuple(part.strip() for part in key.split("."))
    if not equals or "" in path:
        example = "write it as key=value, for example --set search.trials=20"
        tree.problems.append((place, f"not an override; {example}"))
        return
    try:
        node = yaml.compose(text, _Loader) or ScalarNode(f"{_TAG}null", "")
    except _NOT_YAML as error:
        reason = _syntax(error, text).partition("  ")[2]
        tree.problems.append((place, f"{_dotted(path)}: cannot be read as YAML: {reason}"))
        return
    block: Any = tree.data
    for depth, part in enumerate(path[:-1], start=1):
        if block.get(part) is None:
            block[part] = {}
            tree.places[path[:depth]] = place
        block = block[part]
        if not isinstance(block, dict):
            outer = _dotted(path[:depth])
            text = f"{_dotted(path)}: '{outer}' holds a value, not keys"
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


def validate(model: type[Model], tree: Tree) -> Model:
    """The tree as a `model`, or every problem at once.

    A block that is missing or empty counts as one with no keys, so all its defaults hold.

    Raises:
        StudyFileError: With all problems, each with its line or override.
    """
    known = _fields(model)
    for name, info in model.model_fields.items():
        if _is_model(info.annotation) and tree.data.get(name) is None:
            tree.data[name] = {}
    try:
        study = model.model_validate(tree.data)
    except ValidationError as error:
        _explain_all(error, known, tree)
        raise tree.error() from error
    if tree.problems:
        raise tree.error()
    return study


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _fields(model: type[BaseModel], prefix: KeyPath = ()) -> dict[KeyPath, FieldInfo]:
    """Every key of a model and of the models in it, in order, by path."""
    found: dict[KeyPath, FieldInfo] = {}
    for name, info in model.model_fields.items():
        found[(*prefix, name)] = info
        if _is_model(info.annotation):
            found |= _fields(info.annotation, (*prefix, name))
    return found


def _explain_all(error: ValidationError, known: Mapping[KeyPath, FieldInfo], tree: Tree) -> None:
    """Report each error of pydantic once, in our words."""
    problems = error.errors(include_url=False, include_context=False)
    unknown = [tuple(p["loc"]) for p in problems if p["type"] == "extra_forbidden"]
    meant = {path: nearest_key(path, known) for path in unknown}
    for path, near in meant.items():
        tree.report(path, _unknown_text(path, near, known))
    for problem in problems:
        path = tuple(problem["loc"])
        if path in meant:
            continue
        key: KeyPath = tuple(part for part in path if isinstance(part, str))
        info = known[key]
        if problem["type"] == "missing" and path == key:
            # The misspelt key is reported already; "missing" would be the same problem again.
            if key not in meant.values() and key[:-1] not in meant.values():
                example = f"{key[-1]}: {(info.examples or ['…'])[0]}"
                tree.report(path, f"missing; write for example '{example}'")
            continue
        if not _is_list(info.annotation):
            path = key
        if not any(path[:n] in tree.reported for n in range(1, len(path) + 1)):
            own_words = problem["type"] == "study"
            tree.report(path, problem["msg"] if own_words else _mismatch(path, info, tree))


def _unknown_text(path: KeyPath, near: KeyPath | None, known: Mapping[KeyPath, FieldInfo]) -> str:
    if near is not None and len(near) > 1 and path[-1] == _dotted(near):
        return f"a key with dots; write '{near[-1]}:' inside the block '{_dotted(near[:-1])}:'"
    if near is not None:
        return f"unknown key; did you mean '{_dotted(near)}'?"
    siblings = [str(key[-1]) for key in known if key[:-1] == path[:-1]]
    return f"unknown key; known here: {', '.join(siblings)}"


def nearest_key(path: KeyPath, known: Iterable[KeyPath]) -> KeyPath | None:
    """The known key, anywhere in the tree, whose last part is most like that of `path`.

    Returns:
        The nearest key, one of the same block on ties; None when nothing is alike.
    """
    leaf = str(path[-1]).rpartition(".")[2].lower().replace("-", "_")
    best, best_score = None, 0.6  # below, suggestions are noise
    for key in known:
        score = _likeness(leaf, str(key[-1]))
        if score >= 0.6 and key[:-1] == path[:-1]:
            score += 0.1
        if score > best_score:
            best, best_score = key, score
    return best


def _likeness(written: str, name: str) -> float:
    words = name.split("_")
    if written == name:
        return 1.0
    if written == "".join(word[0] for word in words) and len(words) > 1:  # lr: learning_rate
        return 0.9
    if written in words:  # beta: effective_number_beta
        return 0.8
    return SequenceMatcher(None, written, name).ratio()


def _is_list(annotation: Any) -> bool:
    """True for ``tuple[X, ...]``, whose items are reported one by one."""
    return get_origin(annotation) is tuple and get_args(annotation)[-1] is Ellipsis


def _mismatch(path: KeyPath, info: FieldInfo, tree: Tree) -> str:
    """Rule, value and hint for a value of the wrong type or outside its bounds."""
    value: Any = tree.data
    for part in path:
        value = value[part]
    annotation, metadata = info.annotation, info.metadata
    if isinstance(path[-1], int):
        annotation, metadata = get_args(annotation)[0], []
    raw = tree.place(path).raw
    rule = describe_rule(annotation, metadata)
    return f"must be {rule}, not {_shown(value, raw)}{_hint(value, raw, annotation)}"


def _shown(value: Any, raw: str) -> str:
    if isinstance(value, dict):
        return "a block of keys"
    if isinstance(value, str):
        return repr(_short(value))
    if value is None:
        return raw or "empty"
    return _short(to_flow(value) if isinstance(value, list) else raw)


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def describe_rule(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What a field accepts, in words: ``a whole number from 2 to 20``."""
    if get_origin(annotation) is Annotated:
        annotation, *extra = get_args(annotation)
        metadata = [*metadata, *extra]
        metadata = [m for e in metadata for m in (e.metadata if isinstance(e, FieldInfo) else [e])]
    for rule in metadata:
        if isinstance(rule, Rule):
            return rule.text
    arguments = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        inner = next(argument for argument in arguments if argument is not NoneType)
        return f"{describe_rule(inner, metadata)}, or null"
    if get_origin(annotation) is Literal:
        return f"{'one of ' * (len(arguments) > 1)}{', '.join(map(repr, arguments))}"
    if _is_list(annotation):
        return f"a list, each item {describe_rule(arguments[0])}"
    if get_origin(annotation) is tuple:
        return f"[low, high], each {describe_rule(arguments[0])}"
    if _is_model(annotation):
        return f"a block of keys ({', '.join(annotation.model_fields)})"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return words[annotation] + _bounds(metadata)


def _bounds(metadata: Sequence[Any]) -> str:
    names = [(m, name) for m in metadata for name in ("ge", "gt", "le", "lt")]
    limits = {name: getattr(m, name) for m, name in names if getattr(m, name, None) is not None}
    if {"ge", "le"} <= limits.keys():
        return f" from {limits['ge']} to {limits['le']}"
    words = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}
    return (" " + " and ".join(f"{words[k]} {limits[k]}" for k in words if k in limits)).rstrip()


def _hint(value: Any, raw: str, annotation: Any) -> str:
    """What to write instead, when that can be guessed."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    if get_origin(annotation) in (Union, UnionType):
        return _hint(value, raw, kinds[0])
    hint = ""
    if get_origin(annotation) is Literal:
        hint = _choice_hint(value, kinds)
    elif annotation in (int, float) and isinstance(value, str) and _NUMBER.match(value):
        hint = f"write {value} without quotes"
    elif annotation is int and isinstance(value, float) and value.is_integer():
        hint = f"write {_short(str(int(value)))}"
    elif annotation is bool and str(value).lower() in ("yes", "on", "no", "off"):
        hint = f"write {str(str(value).lower() in ('yes', 'on')).lower()}"
    elif annotation is str and isinstance(value, int | float):
        hint = f"put it in quotes: '{_short(raw)}'"
    elif get_origin(annotation) is tuple:
        hint = _tuple_hint(value, raw, annotation)
    return f"; {hint}" if hint else ""


def _choice_hint(value: Any, choices: Sequence[str]) -> str:
    # YAML has many ways to say nothing; the choice is the plain word.
    if "none" in choices and (not value or str(value).lower() in ("no", "off", "none", "null")):
        return "write none"
    close = get_close_matches(str(value).lower().replace("-", "_"), choices, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else ""


def _tuple_hint(value: Any, raw: str, annotation: Any) -> str:
    if _is_list(annotation):
        return f"write [{_short(raw)}]" if isinstance(value, str) else ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"write [{_short(raw)}, {_short(raw)}] for a fixed value"
    return ""


def _dotted(path: KeyPath) -> str:
    """``search.gamma[0]`` for ``("search", "gamma", 0)``."""
    parts = (
        f"[{part}]" if isinstance(part, int) else f".{_short(one_line(part))}" for part in path
    )
    return "".join(parts).removeprefix(".")


def one_line(text: str) -> str:
    """`text` with line breaks and other invisible characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def to_yaml(values: Mapping[str, Any]) -> str:
    """YAML text of nested mappings: blocks in their order, lists short in one line."""
    return yaml.dump(
        dict(values),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=10**9,
    )


def to_flow(value: Any) -> str:
    """One value as YAML in one line: ``[0.0, 5.0]``, ``null``, ``tpe``."""
    return to_yaml({"v": value}).removeprefix("v: ").rstrip("\n")
