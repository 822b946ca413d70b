"""A tree as a pydantic model, or every problem in it at once and in plain words.

Knows pydantic, but not what a study holds; that is `tuner.config.models`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeGuard, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tuner.config.yaml_text import NUMBER, to_flow
from tuner.config.yaml_tree import KeyPath, Tree, dotted
from tuner.text import shortened

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of a field in words, where bounds and type do not say it themselves."""

    text: str


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
        for inner in (info.annotation, *get_args(info.annotation)):  # a block may be null
            if _is_model(inner):
                found |= _fields(inner, (*prefix, name))
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
    if near is not None and len(near) > 1 and path[-1] == dotted(near):
        return f"a key with dots; write '{near[-1]}:' inside the block '{dotted(near[:-1])}:'"
    if near is not None:
        return f"unknown key; did you mean '{dotted(near)}'?"
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
    ratio = SequenceMatcher(None, written, name).ratio()
    is_begun_alike = "_" in written and len(words) > 1 and written.split("_")[0] == words[0]
    return max(ratio, 0.78) if is_begun_alike else ratio  # image_size: image_px, not images


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
        return repr(shortened(value))
    if value is None:
        return raw or "empty"
    return shortened(to_flow(value) if isinstance(value, list) else raw)


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
    elif annotation in (int, float) and isinstance(value, str) and NUMBER.match(value):
        hint = f"write {value} without quotes"
    elif annotation is int and isinstance(value, float) and value.is_integer():
        hint = f"write {shortened(str(int(value)))}"
    elif annotation is bool and str(value).lower() in ("yes", "on", "no", "off"):
        hint = f"write {str(str(value).lower() in ('yes', 'on')).lower()}"
    elif annotation is str and isinstance(value, int | float):
        hint = f"put it in quotes: '{shortened(raw)}'"
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
        return f"write [{shortened(raw)}]" if isinstance(value, str) else ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"write [{shortened(raw)}, {shortened(raw)}] for a fixed value"
    return ""
