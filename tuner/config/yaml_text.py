"""YAML as a study file means it, to and from text.

It is the core schema of version 1.2, not PyYAML's 1.1: `1e-4` is a number, and `no`, `off`,
`1:30` and `2024-01-01` are text. So nothing a user writes turns into something else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from yaml.nodes import ScalarNode, SequenceNode

TAG = "tag:yaml.org,2002:"
NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_CORE_SCHEMA = (
    ("bool", re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"), "tTfF"),
    ("null", re.compile(r"(~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    ("int", re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), "-+0123456789"),
    ("float", NUMBER, "-+.0123456789"),
    ("float", re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"), "-+."),
)


class Loader(yaml.SafeLoader):
    """PyYAML's reader of plain values, with the core schema in place of its own."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # PyYAML's own way to start a new schema


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something other than text."""


for _name, _pattern, _first in _CORE_SCHEMA:
    Loader.add_implicit_resolver(TAG + _name, _pattern, list(_first))
    _Dumper.add_implicit_resolver(TAG + _name, _pattern, list(_first))


def _represent_text(dumper: yaml.SafeDumper, text: str) -> ScalarNode:
    style = None if text.isprintable() else '"'  # escapes keep it on one line
    return dumper.represent_scalar(f"{TAG}str", text, style=style)


def _represent_list(dumper: yaml.SafeDumper, items: Sequence[object]) -> SequenceNode:
    return dumper.represent_sequence(f"{TAG}seq", items, flow_style=True)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(tuple, _represent_list)


def literal(kind: str, text: str) -> object:
    """Value of a scalar of the core schema; raises ValueError or KeyError."""
    if kind == "int":
        based = text.startswith(("0o", "0x"))
        return int(text, 0 if based else 10)
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if kind == "bool":
        return {"true": True, "false": False}[text.lower()]
    return {"null": None, "str": text}[kind]


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
    if isinstance(value, dict):
        inside = ", ".join(f"{to_flow(key)}: {to_flow(item)}" for key, item in value.items())
        return f"{{{inside}}}"
    return to_yaml({"v": value}).removeprefix("v: ").rstrip("\n")
