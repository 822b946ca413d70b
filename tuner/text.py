"""Text made safe or short for whoever reads it: a terminal, a page, a message, a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

NOT_POSIX = (
    "tuner needs Linux or macOS: its locks are those of POSIX\n"
    "  on Windows it runs in WSL2: wsl --install, then install and start tuner there"
)
_JOINERS = "\u200c\u200d"  # within Persian words and emoji

# User and password of a URL, which may hold a slash (SQLAlchemy takes it) unless what follows the
# colon is a port; and what drivers take as a parameter.
_CREDENTIALS = re.compile(r"://(?:[^/\s@]*|[^/\s@:]*:(?!\d+/)[^\s@]*)@")
_SECRET_PARAMETER = re.compile(
    r"([?&;](?:[a-z_]*passw(?:or)?d|pwd|[a-z_]*token|secret)=)[^&;\s'\"]+", re.IGNORECASE
)


def without_password(text: str) -> str:
    """Text whose URLs carry no user, password or token.

    Example:
        >>> without_password("postgresql://me:secret@host/db?sslpassword=other&x=1")
        'postgresql://***@host/db?sslpassword=***&x=1'
    """
    return _SECRET_PARAMETER.sub(r"\1***", _CREDENTIALS.sub("://***@", text))


def printable(text: str) -> str:
    """Text on one line, with ``�`` for what a terminal would obey instead of show."""
    return "".join(c if c.isprintable() else "�" for c in text)


def visible(text: str, *, mark: str = "�") -> str:
    """Text like `printable`, for pages and pictures: what joins letters or emoji is left in."""
    return "".join(c if c.isprintable() or c in _JOINERS else mark for c in text)


def escaped(text: str) -> str:
    r"""Text on one line from which the original can be read: what is invisible as an escape.

    Example:
        >>> print(escaped("a\tb"))
        a\tb
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """The words of a text with single spaces between them."""
    return " ".join(text.split())


def first_line(error: BaseException) -> str:
    r"""The first line of an error that says something, or else the error's kind.

    Example:
        >>> first_line(ValueError("\n no such file\n  in line 3"))
        'no such file'
        >>> first_line(KeyboardInterrupt())
        'KeyboardInterrupt'
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip()


def shortened(text: str, *, longest: int = 60) -> str:
    """Text, or its beginning and an ellipsis, `longest` characters in all."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def elided(text: str, *, longest: int) -> str:
    """Text with its middle left out when it is longer than `longest` characters, 1 or more."""
    if len(text) <= longest:
        return text
    head = longest // 2
    return f"{text[:head]}…{text[len(text) - (longest - head - 1) :]}"


def some(items: Sequence[str], *, n: int = 3) -> str:
    """First few items and how many more there are.

    Example:
        >>> some(["a", "b", "c", "d", "e"])
        'a, b, c, and 2 more'
    """
    more = f", and {len(items) - n} more" if len(items) > n else ""
    return ", ".join(items[:n]) + more


def command(*words: object) -> str:
    """A command line that can be copied into a shell; a password in it has to be put back."""
    return shlex.join(without_password(str(word)) for word in words)


def minus(text: str) -> str:
    """Text whose hyphens are minus signs, as wide as a plus."""
    return text.replace("-", "−")


def interval_words(value: float, low: float, high: float, form: str = ".3g") -> str:
    """A number with its interval.

    Example:
        >>> interval_words(-0.1, -0.31, 0.07, "+.2f")
        '−0.10 (−0.31 to +0.07)'
    """
    return minus(f"{value:{form}} ({low:{form}} to {high:{form}})")


def recall_words(row: Mapping[str, Any]) -> str:
    """Recall of a class with what it rests on.

    Args:
        row: ``recall``, ``found``, ``of``, ``low``, ``high``.

    Example:
        >>> recall_words({"recall": 0.944, "found": 17, "of": 18, "low": 0.742, "high": 0.99})
        '0.94 (17 of 18; 0.74 to 0.99)'
    """
    counts, interval = f"{row['found']} of {row['of']}", f"{row['low']:.2f} to {row['high']:.2f}"
    return f"{row['recall']:.2f} ({counts}; {interval})"
