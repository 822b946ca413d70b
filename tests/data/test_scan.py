from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import tuner.data.scan as scanning
from tuner.data.scan import Scanned, scan


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files opened since, each time they are."""
    names: list[str] = []
    read_bytes = scanning.read_bytes

    def read(path: Path) -> bytes:
        names.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(scanning, "read_bytes", read)
    return names


def test_hash_and_reason(tmp_path: Path, picture: Callable[..., Path]) -> None:
    """A picture has the SHA-256 of its bytes, a bad one its reason too, a missing one no hash."""
    good = picture(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")

    results = scan(tmp_path, ["good.png", "bad.png", "gone.png"], cache=tmp_path / "cache")

    assert results[0] == Scanned(hashlib.sha256(good.read_bytes()).hexdigest())
    assert results[1].sha256 == hashlib.sha256(b"no picture").hexdigest()
    assert results[1].reason.startswith("cannot be decoded")
    assert results[2] == Scanned("", "cannot be opened: No such file or directory")


def test_unchanged_files_are_not_opened_again(
    tmp_path: Path, picture: Callable[..., Path], opened: list[str]
) -> None:
    """A second scan opens nothing, except what could not be opened before."""
    picture(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    paths = ["bad.png", "gone.png", "good.png"]
    first = scan(tmp_path, paths, cache=tmp_path / "cache" / "x.jsonl")
    opened.clear()

    second = scan(tmp_path, paths, cache=tmp_path / "cache" / "x.jsonl")

    assert second == first
    assert opened == ["gone.png"]


def test_a_file_in_anothers_place_is_seen(tmp_path: Path, picture: Callable[..., Path]) -> None:
    """Another file of the same size and date under an old name is opened again."""
    path = picture(tmp_path / "a.bmp", 1)
    before = path.stat()
    first = scan(tmp_path, ["a.bmp"], cache=tmp_path / "cache")
    other = picture(tmp_path / "b.bmp", 2)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)

    assert scan(tmp_path, ["a.bmp"], cache=tmp_path / "cache") != first


@pytest.mark.parametrize("harm", ["cut", "flip", "text", "binary", "empty", "folder"])
def test_a_damaged_cache_only_costs_time(
    tmp_path: Path, picture: Callable[..., Path], opened: list[str], harm: str
) -> None:
    """A cache cut off, changed in one letter or replaced by anything is read as none."""
    picture(tmp_path / "a.png")
    cache = tmp_path / "cache"
    first = scan(tmp_path, ["a.png"], cache=cache)
    opened.clear()
    data = cache.read_bytes()
    digit = data.rindex(first[0].sha256[:8].encode())
    flipped = (
        data[:digit] + (b"0" if data[digit : digit + 1] != b"0" else b"1") + data[digit + 1 :]
    )
    damaged = {"cut": data[:-9], "flip": flipped, "text": b"[]\n[1]", "binary": b"\xff\0"}
    cache.unlink()
    if harm == "folder":
        cache.mkdir()
    else:
        cache.write_bytes(damaged.get(harm, b""))

    assert scan(tmp_path, ["a.png"], cache=cache) == first
    assert opened == ["a.png"]


def test_progress_counts_every_file(tmp_path: Path, picture: Callable[..., Path]) -> None:
    """Progress rises by one to the number of files, which are opened in batches."""
    paths = [picture(tmp_path / f"{n}.png", n % 256).name for n in range(300)]
    seen: list[tuple[int, int]] = []

    scan(tmp_path, paths, cache=tmp_path / "cache", on_progress=lambda *done: seen.append(done))

    assert seen == [(n, 300) for n in range(1, 301)]


def test_an_interrupt_keeps_what_was_done(
    tmp_path: Path, picture: Callable[..., Path], opened: list[str]
) -> None:
    """Files finished before Ctrl-C are not opened again after it."""
    paths = [picture(tmp_path / f"{n:03d}.png", n).name for n in range(20)]

    def interrupt(n_done: int, _: int) -> None:
        if n_done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(tmp_path, paths, cache=tmp_path / "cache", on_progress=interrupt)
    opened.clear()
    scan(tmp_path, paths, cache=tmp_path / "cache")

    assert sorted(opened) == paths[10:]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
