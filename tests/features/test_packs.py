"""Many chunks become one pack: nothing is lost, damage costs a chunk, readers go on reading."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tuner.errors import BankError
from tuner.features import packs
from tuner.features.bank import FeatureBank

pytestmark = pytest.mark.any_backend

N_FEATURES, N_CHUNKS, ROWS = 3, 5, 4


def open_bank(folder: Path) -> FeatureBank:
    """A bank in `folder`, as a new process would open it."""
    return FeatureBank(folder, {"weights": "abc"}, n_features=N_FEATURES)


def names(n: int, *, start: int = 0) -> list[str]:
    """Row names of images and, every third, of a view."""
    return [
        hashlib.sha256(b"%d" % i).hexdigest() + (":1:0123456789abcdef" if i % 3 == 2 else ":0")
        for i in range(start, start + n)
    ]


def rows(n: int) -> np.ndarray:
    """Their features."""
    return np.random.default_rng(0).standard_normal((n, N_FEATURES)).astype(np.float32)


N = N_CHUNKS * ROWS


def fill(bank: FeatureBank) -> None:
    """Add all rows, chunk by chunk."""
    for start in range(0, N, ROWS):
        bank.add(names(ROWS, start=start), rows(N)[start : start + ROWS])


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureBank:
    """A bank whose first four chunks have just become a pack; the fifth has its own file."""
    monkeypatch.setattr(packs, "PACK_CHUNKS", N_CHUNKS - 1)
    bank = open_bank(tmp_path)
    fill(bank)
    return bank


def kinds(bank: FeatureBank) -> list[str]:
    """Files of the bank, without what tells those of a kind apart."""
    return sorted(p.name.split("-")[0] + p.suffix for p in bank.folder.iterdir() if "-" in p.name)


def damage(path: Path, *, at: int) -> None:
    """Turn a bit."""
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def test_a_pack_holds_what_its_chunks_held(packed: FeatureBank) -> None:
    """Four chunks are two files; every row reads back, here and in a new process."""
    assert kinds(packed) == ["chunk.json", "chunk.npy", "pack.npy", "pack.npz"]
    for bank in (packed, open_bank(packed.folder.parent)):
        order = np.random.default_rng(1).permutation(N)
        np.testing.assert_array_equal(bank.read([names(N)[i] for i in order]), rows(N)[order])
        assert len(bank) == N
        assert bank.missing(names(N + 2)) == names(2, start=N)


def test_whoever_reads_while_others_pack_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows opened before their chunks moved are read from where they are now."""
    bank = open_bank(tmp_path)
    fill(bank)
    reader = open_bank(tmp_path)
    opened = reader.open_rows(names(N))
    monkeypatch.setattr(packs, "PACK_CHUNKS", 2)
    bank.pack()
    late = open_bank(tmp_path)  # knows packs only
    np.testing.assert_array_equal(opened.take(np.arange(N)), rows(N))
    np.testing.assert_array_equal(late.read(names(N)), rows(N))
    assert reader.damaged == late.damaged == []


def test_damage_in_a_pack_costs_one_chunk(packed: FeatureBank) -> None:
    """Only the rows of the damaged chunk are missing; computed again, all are there."""
    pack = next(packed.folder.glob("pack-*.npy"))
    damage(pack, at=pack.stat().st_size - 1)  # the last row of the fourth chunk
    bank = open_bank(packed.folder.parent)
    lost = names(ROWS, start=3 * ROWS)
    assert bank.missing(names(N)) == lost
    assert len(bank.damaged) == 1
    with pytest.raises(BankError, match="4 of 20 rows are not in the feature bank"):
        bank.read(names(N))
    bank.add(lost, rows(N)[3 * ROWS : 4 * ROWS])
    again = open_bank(packed.folder.parent)
    np.testing.assert_array_equal(again.read(names(N)), rows(N))
    assert again.damaged == []


@pytest.mark.parametrize("what", ["list", "rows gone"])
def test_a_pack_that_cannot_be_used_is_dropped(packed: FeatureBank, what: str) -> None:
    """Without its list, or without its rows, a pack's rows are missing; the others stay."""
    if what == "list":
        damage(next(packed.folder.glob("pack-*.npz")), at=300)
    else:
        next(packed.folder.glob("pack-*.npy")).unlink()
    bank = open_bank(packed.folder.parent)
    assert bank.missing(names(N)) == names(4 * ROWS)
    assert bank.damaged
    assert kinds(bank) == ["chunk.json", "chunk.npy"]
    fill(bank)
    np.testing.assert_array_equal(open_bank(packed.folder.parent).read(names(N)), rows(N))


def test_a_kill_between_pack_and_chunks_leaves_both_and_later_one(
    packed: FeatureBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks that are still there beside their pack are read once and cleared away."""
    folder = packed.folder.parent
    monkeypatch.setattr(packs, "PACK_CHUNKS", 100)
    for start in range(0, N, ROWS):  # what the kill left, written as it was
        content = names(ROWS, start=start)
        stem = "chunk-" + hashlib.sha256("\n".join(content).encode()).hexdigest()[:24]
        np.save(packed.folder / f"{stem}.npy", rows(N)[start : start + ROWS])
        sha256 = hashlib.sha256((packed.folder / f"{stem}.npy").read_bytes()).hexdigest()
        about = json.dumps({"rows": content, "sha256": sha256})
        (packed.folder / f"{stem}.json").write_text(about)
    bank = open_bank(folder)
    assert len(bank) == N
    bank.pack()
    assert kinds(bank) == ["chunk.json", "chunk.npy", "pack.npy", "pack.npz"]
    np.testing.assert_array_equal(open_bank(folder).read(names(N)), rows(N))
