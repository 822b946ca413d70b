"""HTML in which everything that is not known to be HTML is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tuner.report.figures.labels import visible


class Html(str):
    """Text that is HTML already; all other text is escaped when it is put into a page."""

    __slots__ = ()


@dataclass(frozen=True)
class Column:
    """Head of a column and the CSS class of its cells: "text", "wide" (left out on a phone)."""

    head: str
    css: str = ""


def escape(value: object) -> Html:
    """A value as HTML: escaped, unless it is `Html`."""
    if isinstance(value, Html):
        return value
    lines = (html.escape(visible(line)) for line in str(value).split("\n"))
    return Html("\n".join(lines))


def element(tag: str, *children: object, **attributes: object) -> Html:
    """An element; ``css`` names its class, underscores in names become hyphens, None is left out.

    Example:
        >>> element("p", "a < b", css="note")
        '<p class="note">a &lt; b</p>'
    """
    named = {"class" if name == "css" else name.replace("_", "-"): value
             for name, value in attributes.items() if value not in (None, "")}  # fmt: skip
    written = "".join(f' {name}="{escape(str(value))}"' for name, value in named.items())
    return Html(f"<{tag}{written}>{''.join(escape(child) for child in children)}</{tag}>")


def joined(parts: Iterable[object], between: str = "") -> Html:
    """Parts one after the other."""
    return Html(escape(between).join(escape(part) for part in parts))


def name(text: object) -> Html:
    """A name that users gave, kept from turning its surroundings when it is written leftwards.

    Where it has no spaces, it may break behind the marks between its words.
    """
    parts = re.split(r"(?<=[^\W_][-_./])(?=[^\W\d_])", str(text))
    return element("bdi", joined(parts, Html("<wbr>")))


def table(
    caption: object,
    columns: Sequence[object],
    rows: Sequence[Sequence[object]],
    *,
    css: str = "",
    row_css: Sequence[str] = (),
) -> Html:
    """A table whose first column heads the rows.

    Args:
        caption: What it shows.
        columns: Heads, each a `Column`; anything else heads a column of numbers.
        rows: One value a column.
        css: Class of the table.
        row_css: Class of each row, or nothing.
    """
    heads = [column if isinstance(column, Column) else Column(str(column)) for column in columns]
    top = joined(element("th", head.head, scope="col", css=head.css) for head in heads)
    body = []
    for i, row in enumerate(rows):
        first = element("th", row[0], scope="row", css=heads[0].css)
        cells = [_cell(value, head.css) for value, head in zip(row[1:], heads[1:], strict=True)]
        body.append(element("tr", first, *cells, css=row_css[i] if row_css else None))
    return element(
        "table",
        element("caption", caption),
        element("thead", element("tr", top)),
        element("tbody", *body),
        css=css,
    )


class Rate(NamedTuple):
    """A cell with a bar behind it: `text`, and the share that the bar covers."""

    text: object
    share: float


def _cell(value: object, css: str) -> Html:
    if isinstance(value, Rate):
        both = f"{css} rate".strip()
        return element("td", value.text, css=both, style=f"--share:{value.share:.3f}")
    return element("td", value, css=css)


def scrolling(inner: Html, *, label: str) -> Html:
    """Something that may be wider than the page, in a frame that the keyboard reaches."""
    return element("div", inner, css="scroll", role="region", aria_label=label, tabindex="0")


def details(summary: object, *inner: object) -> Html:
    """Something that is shown when asked for."""
    return element("details", element("summary", summary), *inner)


def section(title: str, *inner: object) -> tuple[str, Html]:
    """A section with its heading; the title also goes into the table of contents."""
    key = anchor(title)
    heading = element("h2", title, id=f"{key}-title")
    return title, element("section", heading, *inner, id=key, aria_labelledby=f"{key}-title")


def anchor(title: str) -> str:
    """Identifier of a section of the report's own words."""
    return re.sub(r"[^a-z]+", "-", title.lower()).strip("-")
