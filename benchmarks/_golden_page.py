"""A page as it is read: its words in their order. How it is marked up is no promise."""

from __future__ import annotations

from html.parser import HTMLParser

_BLOCKS = {"p", "div", "section", "h1", "h2", "h3", "tr", "li", "caption", "details", "figure"}
_BLOCKS |= {"a", "pre", "summary"}
_CELLS = {"td", "th"}
_SKIPPED = {"style", "script", "svg"}  # a figure is held to by the label that says what it shows
_VOID = {"meta", "img", "br", "hr", "input", "link", "wbr"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden: list[str] = []  # elements within which nothing is read

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if self._hidden:
            self._hidden += [] if tag in _VOID else [tag]
            return
        if tag in _SKIPPED or known.get("class") == "narrow":  # the same figure, for a telephone
            self._hidden.append(tag)
        elif tag == "img":
            self.parts.append(f"\n[{known.get('alt')}]\n")
        if tag == "svg":
            self.parts.append(f"\n[{known.get('aria-label')}]\n")
        self.parts += ["\n"] if tag in _BLOCKS else [" | "] if tag in _CELLS else []

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and self._hidden[-1] == tag:
            self._hidden.pop()

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(" ".join(f"_{data}_".split())[1:-1])


def words_of(html: str) -> str:
    """What a reader of a page is told, one line a paragraph or row."""
    reader = _Reader()
    reader.feed(html)
    lines = ("".join(reader.parts)).splitlines()
    return "\n".join(line for line in (" ".join(line.split()) for line in lines) if line)
