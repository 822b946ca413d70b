"""Studies for the tests of reports, made once, and a reader of pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.report.made_study import HOSTILE, confirm, free_baselines, make_study
from tuner.home.study_folder import StudyFolder
from tuner.report.page.page import render_report

VOID = {"meta", "img", "br", "hr", "input", "link", "wbr"}


class Page(HTMLParser):
    """What a page holds, read as HTML.

    Attributes:
        elements: Tag and attributes of every element, in order.
        ids: How often each identifier is given.
        mismatches: End tags that end nothing, and elements never ended.
        text: All text outside of style.
        texts: Text within each element, in the order of `elements`.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.mismatches: list[str] = []
        self.text = ""
        self._open: list[tuple[str, int]] = []
        self.feed(html)
        self.close()
        self.mismatches += [tag for tag, _ in self._open]
        self.ids = Counter(a["id"] for _, a in self.elements if "id" in a)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.texts.append("")
        if tag not in VOID:
            self._open.append((tag, len(self.elements) - 1))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1][0] == tag:
            self._open.pop()
        else:
            self.mismatches.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1][0] != "style":
            self.text += data
        for _, place in self._open:
            self.texts[place] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """Attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def said(self, tag: str) -> list[str]:
        """Text within every element of a kind."""
        pairs = zip(self.elements, self.texts, strict=True)
        return [text for (name, _), text in pairs if name == tag]


def read_page(folder: StudyFolder, root: Path | None = None) -> Page:
    """The report of a study, as HTML is read."""
    return Page(render_report(folder, root=root))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFolder, Path]:
    """A confirmed study whose class names are hostile, and the folder of its images."""
    home = tmp_path_factory.mktemp("hostile")
    folder = make_study(home, HOSTILE, trials=12, has_images=True)
    confirm(folder)
    free_baselines(folder)
    return folder, home / "images"


@pytest.fixture(scope="session")
def hostile_page(hostile: tuple[StudyFolder, Path]) -> Page:
    """Its report."""
    return read_page(*hostile)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A study of three classes that nobody has confirmed."""
    return make_study(tmp_path_factory.mktemp("small"), ["a", "b", "c"], trials=3)


@pytest.fixture(scope="session")
def small_page(small: StudyFolder) -> Page:
    """Its report."""
    return read_page(small)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., StudyFolder]:
    """Maker of studies in this test's folder; class names, or how many."""

    def made(classes: int | list[str] = 3, **options: object) -> StudyFolder:
        names = [f"class {k}" for k in range(classes)] if isinstance(classes, int) else classes
        return make_study(tmp_path, names, **options)

    return made
