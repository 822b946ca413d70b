"""How things show themselves in a notebook: a title, tables and sentences, in the theme's colours.

Front ends that take the style away, as some web pages do, still show plain tables.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from markupsafe import Markup

_MOST = 12  # sentences; a study of 200 small classes has as many

# Twice the class: front ends have rules of their own for every table. Colours but for blue are
# the text's, more or less of it, so that a dark theme needs no rules.
_STYLE = """\
.tuner.tuner{font:13px/1.5 system-ui,sans-serif;max-width:66em;margin:.3em 0}
.tuner.tuner p{margin:.2em 0 .5em;max-width:58em}
.tuner.tuner .title{font-size:14px}
.tuner.tuner ul{margin:.5em 0;padding-left:1.3em}
.tuner.tuner small{opacity:.7}
.tuner.tuner .wide{overflow-x:auto;margin:.5em 0 .8em}
.tuner.tuner table{border-collapse:collapse;margin:0;font-size:13px;table-layout:auto}
.tuner.tuner tr,.tuner.tuner tr:hover{background:none}
.tuner.tuner td,.tuner.tuner th{padding:.15em .8em;border:0;
  text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.tuner.tuner th{font-weight:500;opacity:.7;border-bottom:1px solid rgba(128,128,128,.5)}
.tuner.tuner td{border-bottom:1px solid rgba(128,128,128,.16)}
.tuner.tuner .text{text-align:left}
.tuner.tuner .bar{min-width:9em;text-align:left}
.tuner.tuner .bar i{display:inline-block;height:.7em;margin-right:.5em;border-radius:2px;
  background:#4a86d9}
.tuner.tuner .strong td{font-weight:650}
.tuner.tuner .whole{display:inline-block;width:18em;height:.6em;border-radius:.3em;
  margin-right:.8em;background:rgba(128,128,128,.25);overflow:hidden}
.tuner.tuner .whole i{display:block;height:100%;background:#4a86d9}"""


def page(title: str, *parts: Markup) -> str:
    """HTML of a title with tables and sentences below it."""
    head = Markup('<p class="title"><b>{}</b></p>').format(title) if title else Markup("")
    style, inside = Markup(_STYLE), Markup("").join([head, *parts])
    return str(Markup('<div class="tuner"><style>{}</style>{}</div>').format(style, inside))


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    bars: Mapping[str, float] | None = None,
    strong: Collection[int] = (),
) -> Markup:
    """A table; numbers stand right and texts left.

    Args:
        header: Names of the columns.
        rows: Values: texts, numbers, or None where there is none.
        bars: Columns that are drawn as bars, too, with the value that fills one.
        strong: Places of rows that matter most.
    """
    bars = bars or {}
    is_text = [
        name in bars or any(isinstance(row[k], str) for row in rows)
        for k, name in enumerate(header)
    ]
    head = Markup("").join(
        _cell("th", Markup("{}").format(name), is_left)
        for name, is_left in zip(header, is_text, strict=True)
    )
    lines = Markup("").join(
        Markup("<tr{}>{}</tr>").format(
            Markup(' class="strong"') if i in strong else "",
            Markup("").join(
                _bar(value, bars[name]) if name in bars else _cell("td", shown(value), is_left)
                for name, value, is_left in zip(header, row, is_text, strict=True)
            ),
        )
        for i, row in enumerate(rows)
    )
    whole = '<div class="wide"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    return Markup(whole).format(head, lines)


def sentences(found: Sequence[str]) -> Markup:
    """A list, cut where it is long; nothing where it is empty."""
    if not found:
        return Markup("")
    shown_ones = list(found[:_MOST])
    if len(found) > _MOST:
        shown_ones.append(f"and {len(found) - _MOST:,} more")
    return Markup("<ul>{}</ul>").format(
        Markup("").join(Markup("<li>{}</li>").format(sentence) for sentence in shown_ones)
    )


def paragraph(text: str, *, is_strong: bool = False) -> Markup:
    """A paragraph; nothing where it is empty."""
    if not text:
        return Markup("")
    return Markup("<p><b>{}</b></p>" if is_strong else "<p>{}</p>").format(text)


def progress(share: float, text: str) -> Markup:
    """A bar that is full at a `share` of 1, and what it stands for."""
    width = 100 * min(max(share, 0.0), 1.0)
    bar = '<p><span class="whole"><i style="width:{:.1f}%"></i></span>{}</p>'
    return Markup(bar).format(width, text)


def lines(found: Sequence[str]) -> Markup:
    """Small lines, one below the other; nothing where there are none."""
    if not any(found):
        return Markup("")
    return Markup("<p><small>{}</small></p>").format(Markup("<br>").join(found))


def shown(value: Any) -> str:
    """A value as a table has it.

    Example:
        >>> shown(0.12345), shown(12345), shown(None), shown("trial")
        ('0.123', '12,345', '–', 'trial')
    """
    if value is None or _is_nan(value):
        return "–"
    if isinstance(value, str):
        return value
    is_whole = hasattr(value, "__index__")
    return f"{value:,}" if is_whole else f"{value:.3f}"


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _cell(tag: str, text: str, is_left: bool) -> Markup:
    kind = Markup(' class="text"') if is_left else ""
    return Markup("<{}{}>{}</{}>").format(tag, kind, text, tag)


def _bar(value: Any, full: float) -> Markup:
    if value is None or _is_nan(value):
        return _cell("td", shown(None), is_left=True)
    width = 6 * min(max(value / full if full else 0.0, 0.0), 1.0)
    bar = '<td class="bar"><i style="width:{:.2f}em"></i>{}</td>'
    return Markup(bar).format(width, shown(value))
