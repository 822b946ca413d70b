"""Text tables: separated by comma, semicolon, tab or blanks, with and without a header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from tuner.data.images import IMAGE_SUFFIXES
from tuner.data.labels.rows import Rows
from tuner.errors import DataError

DO = "correct the manifest: UTF-8, first line path,label[,group][,split], one image a line"
BLANKS = " "
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")


def read_delimited(file: Path, *, has_header: bool) -> Rows:
    """Rows of a text table.

    Args:
        file: UTF-8; the separator is the one that its first line holds most of outside quotes,
            blanks where it holds none and every line as many words.
        has_header: Whether the first line names the columns.

    Raises:
        DataError: If the file cannot be read, is no table, or has lines of other lengths.
    """
    import pandas as pd

    text = _read_text(file)
    lines = _lines(text, file=file)
    if not lines:
        return Rows(cells=pd.DataFrame(dtype=str), where=[])
    if has_header:
        names = _header([cell.strip() for cell in lines[0][1]], lines[1:], file=file)
        lines = lines[1:]
    else:
        names = [str(number) for number in range(1, len(lines[0][1]) + 1)]
    uneven = [
        f"line {line}: {len(cells)} cells, not {len(names)}"
        for line, cells in lines
        if len(cells) != len(names)
    ]
    raise_bad_rows(uneven, source=str(file))
    stripped = [[cell.strip() for cell in cells] for _, cells in lines]
    spaced = {
        name: sum(
            len(cells[at]) != len(short[at])
            for (_, cells), short in zip(lines, stripped, strict=True)
        )
        for at, name in enumerate(names)
    }
    return Rows(
        cells=pd.DataFrame(stripped, columns=pd.Index(names, dtype=object), dtype=str),
        where=[f"line {line}" for line, _ in lines],
        spaced=spaced,
    )


def looks_headless(file: Path) -> bool:
    """Whether the first line of a text table is an image already: a file, or a number first."""
    lines = _lines(_read_text(file), file=file)
    first = [cell.strip() for cell in lines[0][1]] if lines else []
    is_image = any(Path(cell).suffix.lower() in IMAGE_SUFFIXES for cell in first)
    return is_image or bool(first and _NUMBER.fullmatch(first[0]))


def raise_bad_rows(bad: Sequence[str], *, source: str, do: str = DO) -> None:
    """Raise one error for all rows that cannot mean anything; the first five are shown."""
    if bad:
        raise DataError(
            f"manifest has {len(bad)} row{'s' * (len(bad) > 1)} that cannot be used: "
            + "; ".join(bad[:5])
            + (f"; and {len(bad) - 5} more" if len(bad) > 5 else ""),
            where=f"data.source: {source}",
            do=do,
        )


def _lines(text: str, *, file: Path) -> list[tuple[int, list[str]]]:
    """Number and cells of every line that holds something."""
    separator = _separator(text)
    if separator == BLANKS:
        return [(n, line.split()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return [(reader.line_num, cells) for cells in reader if any(cells)]
    except csv.Error as error:
        where = f"data.source: {file}, line {reader.line_num}"
        raise DataError(f"manifest is not CSV: {error}", where=where, do=DO) from error


def _separator(text: str) -> str:
    """The separator of the first line; one inside quotes is text."""
    first = _QUOTED.sub("", text.lstrip().split("\n", 1)[0])
    separator = max(",;\t", key=first.count)
    if separator in first or len(first.split()) < 2:
        return separator
    words = {len(line.split()) for line in text.splitlines() if line.strip()}
    return BLANKS if len(words) == 1 else separator


def _header(names: list[str], lines: Sequence[tuple[int, list[str]]], *, file: Path) -> list[str]:
    """Names of the columns; a separator too many at the end of the first line names none."""
    longest = max((len(cells) for _, cells in lines), default=len(names))
    while len(names) > longest and not names[-1]:
        names = names[:-1]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        where = f"data.source: {file}"
        raise DataError(f"manifest has two columns {twice[0]!r}", where=where, do=DO)
    return [name or f"(column {number})" for number, name in enumerate(names, 1)]


def _read_text(file: Path) -> str:
    """Text of the file with its byte order mark removed."""
    where = f"data.source: {file}"
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"manifest cannot be read: {error.strerror}", where=where) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"manifest is not UTF-8 text: byte 0x{error.object[error.start]:02x}",
            where=f"{where}, line {line}",
            do="save it again as 'CSV UTF-8'",
        ) from error
