from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.data.sources import choose, glob_pattern
from tuner.errors import DataError


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("*.png", "crack/a.png", True),
        ("*.png", "crack/deep/a.PNG", True),
        ("*.png", "crack/a.png.jpg", False),
        ("crack/*.png", "crack/a.png", True),
        ("crack/*.png", "crack/deep/a.png", False),
        ("crack/**", "crack/deep/a.png", True),
        ("crack/", "crack/deep/a.png", True),
        ("./crack/", "crack/a.png", True),
        ("**/masks/*", "masks/a.png", True),
        ("**/masks/*", "crack/deep/masks/a.png", True),
        ("**/masks/*", "crack/masks/deep/a.png", False),
        ("a?.png", "x/ab.png", True),
        ("[!a]*.png", "x/ab.png", False),
        ("[ab].png", "x/b.png", True),
        ("a(1)+.png", "x/a(1)+.png", True),
        ("a[.png", "x/a[.png", True),
    ],
)
def test_globs(glob: str, path: str, matches: bool) -> None:
    """Globs read as in a .gitignore: by name without a slash, by path with one."""
    assert bool(glob_pattern(glob).fullmatch(path)) is matches


@given(glob=st.text("ab*?[]!^-.", max_size=8), name=st.text("ab[]!^-.", min_size=1, max_size=6))
def test_globs_on_names_agree_with_fnmatch(glob: str, name: str) -> None:
    """On bare names a glob that both understand matches what fnmatch matches."""
    if "**" in glob or "[" in glob or glob.startswith("./"):
        return

    assert bool(glob_pattern(glob).fullmatch(name)) is fnmatch.fnmatchcase(name, glob)


@given(glob=st.text(max_size=12))
def test_any_text_is_a_glob_or_a_data_error(glob: str) -> None:
    """No glob, however strange, ends in a traceback."""
    try:
        glob_pattern(glob)
    except DataError as error:
        problem = str(error)
    else:
        problem = f"glob {glob!r} cannot be understood"

    assert problem.startswith(f"glob {glob!r} cannot be understood")


def test_choose_says_what_had_no_effect() -> None:
    """A glob that matches nothing, likely misspelt, is noted, and so is what was left out."""
    chosen, notes = choose(["a/1.jpg", "a/1.png"], include=["a/*"], exclude=["*.png", "*.pgn"])

    assert chosen == ["a/1.jpg"]
    assert notes == [
        "data.exclude: '*.pgn' matches no file",
        "data.exclude leaves out 1 of 2 files",
    ]
