"""The environment of the page's templates: everything is escaped, and nothing is obeyed."""

from __future__ import annotations

import functools
import re
from datetime import datetime

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tuner.report.figures.labels import short_title
from tuner.text import minus, visible


def render(template: str, **values: object) -> Markup:
    """A template of ``templates/`` filled with values, of which only `Markup` is HTML already."""
    return Markup(environment().get_template(template).render(**values))


@functools.cache
def environment() -> Environment:
    """What every template is read with."""
    environment = Environment(
        loader=PackageLoader("tuner.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "anchor": anchor,
        "bdi": bdi,
        "fixed": fixed,
        "moment": moment,
        "short_title": short_title,
        "signed": signed,
    }
    return environment


def _shown(value: object) -> object:
    """A value before it is escaped: no control or direction character is left in it."""
    if value is None:
        return ""
    if hasattr(value, "__html__"):
        return value
    return _visible(str(value))


def _visible(text: str) -> str:
    return "\n".join(visible(line) for line in text.split("\n"))


def bdi(text: object) -> Markup:
    """A name that users gave, kept from turning its surroundings when it is written leftwards.

    Where it has no spaces, it may break behind the marks between its words.
    """
    parts = re.split(r"(?<=[^\W_][-_./])(?=[^\W\d_])", str(text))
    return Markup("<bdi>{}</bdi>").format(Markup("<wbr>").join(_visible(part) for part in parts))


def anchor(title: str) -> str:
    """Identifier of a section of the report's own words."""
    return re.sub(r"[^a-z]+", "-", title.lower()).strip("-")


def fixed(value: float | None, digits: int = 3) -> str:
    """A number with that many digits behind the point, or nothing."""
    return "" if value is None else minus(f"{value:.{digits}f}")


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign."""
    return minus(f"{value:+.{digits}f}")


def moment(written: object) -> str:
    """A time as people write it; what is none stays as it is."""
    try:
        at = datetime.fromisoformat(str(written))
    except ValueError:
        return str(written)
    return f"{at:%Y-%m-%d %H:%M} {at:%Z}".strip()
