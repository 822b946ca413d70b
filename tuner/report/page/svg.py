"""Figures as SVG inside a page: text stays text, colours follow the page, identifiers differ."""

from __future__ import annotations

import io
import re
import warnings
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from tuner.report.figures.palette import ROLES
from tuner.text import visible

_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
_PX_A_PT = 96 / 72
_COLOURS = {role.light: f"var(--{name})" for name, role in ROLES.items()}
# Real text is written by the reader's browser, in the page's font and any script.
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "tuner", "svg.id": None}


def inline_svg(figure: Figure, *, key: str, alt: str) -> Markup:
    """A figure as one ``<svg>`` element for a page that defines the palette's variables.

    Args:
        figure: The figure.
        key: Distinct within the page; identifiers begin with it.
        alt: What the figure says, for those who do not see it.

    Returns:
        HTML without line breaks between elements, with a ``viewBox`` and its width as the
        CSS variable ``--width``.
    """
    root = ElementTree.fromstring(_saved(figure))
    _strip(root)
    _rename(root, key)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
        if _HREF in element.attrib:
            element.set("href", element.attrib.pop(_HREF))
        if "style" in element.attrib:
            element.set("style", _style(element.get("style", "")))
        for name in ("d", "transform", "x", "y", "width", "height"):
            if name in element.attrib:
                element.set(name, _rounded(element.get(name, "")))
        element.text = (element.text or "").strip() or None
        element.tail = None
    width_px = float(figure.get_figwidth()) * 72 * _PX_A_PT
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update(
        {
            "viewBox": box,
            "role": "img",
            "aria-label": visible(alt),
            "style": f"--width: {width_px:.0f}px",
        }
    )
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=False))


def _saved(figure: Figure) -> bytes:
    stream = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # The browser has glyphs that matplotlib's fonts lack.
        warnings.filterwarnings("ignore", message=".*Glyph .* missing", category=UserWarning)
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    return stream.getvalue()


def _strip(root: ElementTree.Element) -> None:
    """Take out metadata, the style sheet and shapes that nobody can see."""
    for parent in list(root.iter()):
        for child in list(parent):
            tag = child.tag.rsplit("}", 1)[-1]
            if tag in ("metadata", "style") or _is_invisible(child):
                parent.remove(child)
    _drop_empty(root)


def _is_invisible(element: ElementTree.Element) -> bool:
    style = element.get("style", "")
    has_fill = not re.search(r"fill: none|fill-opacity: 0(;|$)|(^|[^-])opacity: 0(;|$)", style)
    has_stroke = bool(re.search(r"stroke: #", style))
    is_shape = element.tag.rsplit("}", 1)[-1] in ("path", "use", "rect")
    return is_shape and bool(style) and not has_fill and not has_stroke


def _drop_empty(element: ElementTree.Element) -> None:
    for child in list(element):
        _drop_empty(child)
        is_group = child.tag.rsplit("}", 1)[-1] in ("g", "defs")
        if is_group and not len(child):
            element.remove(child)


def _rename(root: ElementTree.Element, key: str) -> None:
    """Keep only the identifiers that are referred to, each with the figure's key in front."""
    used = set()
    for element in root.iter():
        for value in element.attrib.values():
            used.update(re.findall(r"url\(#([^)]+)\)", value))
        if element.get(_HREF, "").startswith("#"):
            used.add(element.get(_HREF, "")[1:])
    names = {name: f"{key}-{i}" for i, name in enumerate(sorted(used))}
    for element in root.iter():
        found = element.attrib.pop("id", None)
        if found in names:
            element.set("id", names[found])
        for name, value in list(element.attrib.items()):
            if "url(#" in value:
                element.set(
                    name, re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{names[m[1]]})", value)
                )
            elif name == _HREF and value.startswith("#"):
                element.set(name, f"#{names[value[1:]]}")


def _style(style: str) -> str:
    style = re.sub(r"#[0-9a-f]{6}", lambda m: _COLOURS.get(m[0], m[0]), style)
    style = re.sub(r"(font: [^;]*?[\d.]+px)[^;]*", r"\1 var(--font)", style)
    style = re.sub(r"font-family: [^;]*;? ?", "", style)
    return _rounded(style).replace("; ", ";").replace(": ", ":")


def _rounded(text: str) -> str:
    """Hundredths of a point are enough."""

    def short(found: re.Match[str]) -> str:
        return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")

    return re.sub(r"-?\d+\.\d{3,}", short, re.sub(r"\s+", " ", text))
