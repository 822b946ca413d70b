"""The bank keeps what it is given, whole or not at all, and finds what was damaged."""

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner.errors import BankError
from tuner.features.bank import FeatureBank

pytestmark = pytest.mark.any_backend

# Deadline and health check would measure the machine, not the code.
quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

N_FEATURES = 5
IDENTITY = {"weights": "abc", "image_px": 32}


def open_bank(folder, **changes):
    """A bank in `folder`, as a new process would open it."""
    return FeatureBank(folder, IDENTITY | changes, n_features=N_FEATURES)


def names(n, *, start=0):
    """Row names such as views have."""
    return [hashlib.sha256(b"%d" % i).hexdigest() + ":0" for i in range(start, start + n)]


def rows(n, *, seed=0):
    """Features with every kind of float32: signs, tiny, huge, zero of both signs."""
    drawn = np.random.default_rng(seed).standard_normal((n, N_FEATURES)).astype(np.float32)
    drawn[0] = [0.0, -0.0, np.finfo(np.float32).tiny, np.finfo(np.float32).max, -1e-45]
    return drawn


def files(bank):
    """All names in the bank's folder, temporary ones too."""
    return sorted(path.name for path in bank.folder.iterdir())


@pytest.fixture
def two_chunks(tmp_path):
    """A closed bank of two chunks: rows 0 to 5 and rows 6 to 9."""
    bank = open_bank(tmp_path)
    bank.add(names(6), rows(6))
    bank.add(names(4, start=6), rows(4, seed=1))
    return tmp_path


def chunk_of(folder, key):
    """Path without suffix of the chunk that lists `key`."""
    for path in open_bank(folder).folder.glob("chunk-*.json"):
        if key in json.loads(path.read_text())["rows"]:
            return path.with_suffix("")
    raise LookupError(key)


def assert_first_chunk_lost(folder):
    """Rows 0 to 5 are missing, the chunk is named, and rows 6 to 9 are whole."""
    bank = open_bank(folder)
    assert bank.missing(names(10)) == names(6)
    assert len(bank.damaged) == 1
    np.testing.assert_array_equal(bank.read(names(4, start=6)), rows(4, seed=1))
    bank.add(names(6), rows(6))
    again = open_bank(folder)
    assert again.missing(names(10)) == []
    assert again.damaged == []
    np.testing.assert_array_equal(again.read(names(6)), rows(6))


@quick
@given(order=st.permutations(range(9)), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_cache_to_disk_to_cache_is_the_identity(tmp_path_factory, order, sizes):
    """Rows come back bit-identical in any order, from one bank or the next, however chunked."""
    folder, keys, features = tmp_path_factory.mktemp("bank"), names(9), rows(9)
    bank, start = open_bank(folder), 0
    for size in [*sizes, 9]:
        part = slice(start, start + size)
        if keys[part]:
            bank.add(keys[part], features[part])
        start += size
    for reader in (bank, open_bank(folder)):
        found = reader.read([keys[i] for i in order])
        assert found.dtype == np.float32
        assert found.tobytes() == features[list(order)].tobytes()  # -0.0 is not 0.0 here
        assert len(reader) == 9


def test_a_row_may_be_asked_twice(two_chunks):
    """Repeated names give repeated rows, as augmented training rows need."""
    asked = [names(10)[i] for i in (7, 0, 7)]
    found = open_bank(two_chunks).read(asked)
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], rows(6)[0])


def test_files_are_plain_arrays_without_pickle(two_chunks):
    """Anybody reads a chunk with np.load and checks it with sha256sum."""
    bank = open_bank(two_chunks)
    for path in bank.folder.glob("*.npy"):
        about = json.loads(path.with_suffix(".json").read_text())
        features = np.load(path, mmap_mode="r", allow_pickle=False)
        assert features.shape == (len(about["rows"]), N_FEATURES)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == about["sha256"]
    assert json.loads((bank.folder / "bank.json").read_text()) == {**IDENTITY, "format": 1}


def test_whatever_changes_the_numbers_is_another_bank(tmp_path):
    """Another identity lies in another folder; the order of its keys does not matter."""
    bank = open_bank(tmp_path)
    bank.add(names(3), rows(3))
    for changes in ({"image_px": 64}, {"weights": "abd"}, {"precision": "bfloat16"}):
        other = open_bank(tmp_path, **changes)
        assert other.folder != bank.folder
        assert other.missing(names(3)) == names(3)
    turned = FeatureBank(tmp_path, dict(reversed(IDENTITY.items())), n_features=N_FEATURES)
    assert turned.folder == bank.folder


def test_growth_recomputes_nothing(two_chunks):
    """Old rows stay as they are when new ones are added; only those were missing."""
    bank = open_bank(two_chunks)
    before = {path.name: path.read_bytes() for path in bank.folder.iterdir()}
    assert bank.missing(names(13)) == names(3, start=10)
    bank.add(names(3, start=10), rows(3, seed=2))
    assert open_bank(two_chunks).missing(names(13)) == []
    after = {path.name: path.read_bytes() for path in bank.folder.iterdir()}
    assert {name: after[name] for name in before} == before


def test_missing_keeps_order_and_names_each_once(two_chunks):
    """Missing rows come in the order asked, without repeats."""
    asked = [*names(3, start=20)[::-1], names(10)[2], *names(3, start=20)]
    assert open_bank(two_chunks).missing(asked) == names(3, start=20)[::-1]


def test_reading_a_missing_row_says_what_to_do(two_chunks):
    """A row that is not there is an error with number, folder and remedy, never zeros."""
    bank = open_bank(two_chunks)
    with pytest.raises(BankError) as caught:
        bank.read(names(12))
    assert caught.value.what == "2 of 12 rows are not in the feature bank"
    assert caught.value.where == str(bank.folder)
    assert "start the same command again" in caught.value.do


def test_features_of_another_shape_are_refused(tmp_path):
    """Rows and names must match one to one, and every row be as wide as the bank."""
    with pytest.raises(ValueError, match=r"expected \(3, 5\), got \(3, 4\)"):
        open_bank(tmp_path).add(names(3), np.zeros((3, 4), np.float32))
    with pytest.raises(ValueError, match=r"expected \(2, 5\), got \(3, 5\)"):
        open_bank(tmp_path).add(names(2), np.zeros((3, 5), np.float32))


def test_a_kill_while_writing_leaves_whole_chunks(two_chunks):
    """Temporary files and an array without its list are no chunk; the others are whole."""
    first = chunk_of(two_chunks, names(10)[0])
    npy, about = first.with_suffix(".npy"), first.with_suffix(".json")
    npy.with_name(f".{npy.name}.4242-00.tmp").write_bytes(npy.read_bytes()[:60])
    about.with_name(f".{about.name}.4242-00.tmp").write_text('{"rows": [')
    about.unlink()
    bank = open_bank(two_chunks)
    assert bank.missing(names(10)) == names(6)
    assert bank.damaged == []  # unfinished, not damaged
    bank.add(names(6), rows(6))
    np.testing.assert_array_equal(open_bank(two_chunks).read(names(6)), rows(6))


def test_old_temporary_files_are_swept(two_chunks):
    """What a killed process left is removed a day later, what may still be written is not."""
    folder = open_bank(two_chunks).folder
    old, new = folder / ".chunk-a.npy.1-00.tmp", folder / ".chunk-b.npy.2-00.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    open_bank(two_chunks)
    assert not old.exists()
    assert new.exists()


def cut(path):
    """Lose the last quarter of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])


def flip_bit(path):
    """Turn one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGE = {
    "array cut off": lambda chunk: cut(chunk.with_suffix(".npy")),
    "array with a bit flipped": lambda chunk: flip_bit(chunk.with_suffix(".npy")),
    "array empty": lambda chunk: chunk.with_suffix(".npy").write_bytes(b""),
    "array gone": lambda chunk: chunk.with_suffix(".npy").unlink(),
    "array of pickled objects": lambda chunk: np.save(
        chunk.with_suffix(".npy"), np.array([{}], dtype=object), allow_pickle=True
    ),
    "list cut off": lambda chunk: cut(chunk.with_suffix(".json")),
    "list with a bit flipped": lambda chunk: flip_bit(chunk.with_suffix(".json")),
    "list empty": lambda chunk: chunk.with_suffix(".json").write_bytes(b""),
    "list of something else": lambda chunk: chunk.with_suffix(".json").write_text("[1, 2]"),
    "list without checksum": lambda chunk: chunk.with_suffix(".json").write_text(
        json.dumps({"rows": names(6)})
    ),
    "list with a row renamed": lambda chunk: chunk.with_suffix(".json").write_text(
        chunk.with_suffix(".json").read_text().replace(":0", ":1", 1)
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_found_said_and_mended(two_chunks, damage):
    """A damaged chunk is dropped and named, its rows are missing again, others are kept."""
    damage(chunk_of(two_chunks, names(10)[0]))
    assert_first_chunk_lost(two_chunks)


def test_flipped_bits_are_found_anywhere(tmp_path):
    """A bit turned in any byte of a chunk's two files makes its rows missing."""
    bank = open_bank(tmp_path)
    bank.add(names(2), rows(2))
    paths = sorted(bank.folder.glob("chunk-*"))
    sound = {path: path.read_bytes() for path in paths}
    for path in paths:
        for byte in range(len(sound[path])):
            content = bytearray(sound[path])
            content[byte] ^= 1 << byte % 8
            path.write_bytes(content)
            found = open_bank(tmp_path)
            assert found.missing(names(2)) == names(2), (path.name, byte)
            for other in paths:
                other.write_bytes(sound[other])


def test_damage_is_found_while_open(two_chunks):
    """A bank opened before the damage sees it when the rows are first asked for."""
    bank = open_bank(two_chunks)
    flip_bit(chunk_of(two_chunks, names(10)[0]).with_suffix(".npy"))
    with pytest.raises(BankError, match="6 of 10 rows are not in the feature bank"):
        bank.read(names(10))
    assert len(bank.damaged) == 1


def test_chunk_lost_after_it_was_verified_is_an_error(two_chunks):
    """A file that vanishes between two reads is named; nothing else is read in its place."""
    bank = open_bank(two_chunks)
    bank.read(names(10))
    gone = chunk_of(two_chunks, names(10)[0]).with_suffix(".npy")
    gone.unlink()
    with pytest.raises(BankError, match="cannot be used: No such file") as caught:
        bank.read(names(10))
    assert caught.value.where == str(gone)


def test_two_banks_on_one_folder_share_rows(tmp_path):
    """A second process sees the first one's rows after a refresh, and the other way round."""
    one, other = open_bank(tmp_path), open_bank(tmp_path)
    one.add(names(3), rows(3))
    assert other.missing(names(5)) == names(5)
    other.refresh()
    assert other.missing(names(5)) == names(2, start=3)
    np.testing.assert_array_equal(other.read(names(3)), rows(3))
    other.add(names(2, start=3), rows(2))
    one.refresh()
    one.refresh()
    assert len(one) == 5
    np.testing.assert_array_equal(one.read(names(5)), np.concatenate([rows(3), rows(2)]))


def test_the_same_rows_written_twice_are_one_chunk(tmp_path):
    """Two processes that computed the same chunk leave one, and both can read it."""
    one, other = open_bank(tmp_path), open_bank(tmp_path)
    one.add(names(3), rows(3))
    other.add(names(3), rows(3))
    assert len(list(one.folder.glob("*.npy"))) == 1
    for bank in (one, other, open_bank(tmp_path)):
        np.testing.assert_array_equal(bank.read(names(3)), rows(3))


FULL_DISK = """
    import resource, signal, sys
    import numpy as np
    from tuner.errors import BankError
    from tuner.features.bank import FeatureBank
    from pathlib import Path

    bank = FeatureBank(Path(sys.argv[1]), {"weights": "abc"}, n_features=int(sys.argv[4]))
    bank.add(["sound"], np.ones((1, int(sys.argv[4])), np.float32))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    keys = [f"row {i:090d}" for i in range(int(sys.argv[3]))]
    try:
        bank.add(keys, np.ones((len(keys), int(sys.argv[4])), np.float32))
    except BankError as error:
        print(error)
    assert len(bank) == 1
    assert bank.missing(["sound", keys[0]]) == [keys[0]]
"""


@pytest.mark.parametrize(
    ("limit", "n_rows", "n_features"),
    [(20_000, 50, 1000), (5_000, 100, 2)],
    ids=["in the array", "in the list"],
)
def test_no_space_is_one_error_and_nothing_half_written(tmp_path, limit, n_rows, n_features):
    """When the disk gives out within a chunk, that chunk is not there and the rest is."""
    pytest.importorskip("resource", reason="limits on files are of Unix")
    numbers = map(str, (limit, n_rows, n_features))
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), tmp_path, *numbers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    what, where, do = done.stdout.rstrip("\n").split("\n")
    assert what == "a chunk of features cannot be written: File too large"
    assert str(tmp_path) in where
    assert "free disk space" in do
    bank = FeatureBank(tmp_path, {"weights": "abc"}, n_features=n_features)
    assert len(files(bank)) == 3  # bank.json and the two files of the sound chunk
    np.testing.assert_array_equal(bank.read(["sound"]), np.ones((1, n_features)))
    assert bank.damaged == []


def test_folder_that_cannot_be_made_is_named(tmp_path):
    """A home that is a file, not a folder, is one error with its path."""
    (tmp_path / "features").write_text("a file")
    with pytest.raises(
        BankError, match="the feature bank cannot be made: Not a directory"
    ) as caught:
        open_bank(tmp_path / "features")
    assert str(tmp_path / "features") in caught.value.where


def test_whole_bank_opens_on_a_full_disk(two_chunks):
    """A bank that lacks nothing writes nothing when it is opened."""
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from tuner.features.bank import FeatureBank\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))\n"
        f"bank = FeatureBank(Path(sys.argv[1]), {IDENTITY}, n_features={N_FEATURES})\n"
        f"print(bank.read({names(10)}).shape)"
    )
    command = [sys.executable, "-c", code, two_chunks]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(10, 5)", done.stderr


def test_file_that_cannot_be_read_is_an_error_and_stays(two_chunks):
    """What is there but unreadable is not taken for damaged and deleted."""
    npy = chunk_of(two_chunks, names(10)[0]).with_suffix(".npy")
    npy.unlink()
    npy.mkdir()  # for want of a damaged disk; root may read whatever is forbidden
    with pytest.raises(BankError, match="cannot be used: Is a directory") as caught:
        open_bank(two_chunks).read(names(10))
    assert caught.value.where == str(npy)
    assert npy.exists()
