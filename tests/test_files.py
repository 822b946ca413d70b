from __future__ import annotations

import ast
import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tuner.files
from tuner.files import listed, put, replacing, replacing_folder, sweep, write_whole


@given(content=st.binary() | st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    """Bytes come back as they are and text as UTF-8, its line ends untouched."""
    path = tmp_path_factory.mktemp("files") / "file"
    write_whole(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    """Writing again leaves one file with the new content."""
    for content in ("old and longer", "new"):
        write_whole(tmp_path / "file", content)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "new"


def test_an_error_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """What a block wrote before it raised is gone, and the old content is there."""
    write_whole(tmp_path / "file", "old")

    def fail() -> None:
        with replacing(tmp_path / "file") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_block_that_makes_no_file_is_an_error(tmp_path: Path) -> None:
    """Nothing is put in the file's place when nothing was written."""
    write_whole(tmp_path / "file", "old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "old"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Making folders is for the caller, who knows whether they should be there."""
    path = tmp_path / "absent" / "file"
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(path, "text")
    assert caught.value.filename == str(path)  # not the temporary one


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    """The system does not say which write had no space."""

    def fill() -> None:
        with replacing(tmp_path / "file"), open("/dev/full", "wb") as full:
            full.write(b"x")

    with pytest.raises(OSError, match="No space left") as caught:
        fill()
    assert caught.value.filename == str(tmp_path / "file")


def test_a_pipe_or_device_is_not_thrown_away(tmp_path: Path) -> None:
    """A rename would put a file in the place of /dev/null, for whoever may."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no file that can be replaced"):
        write_whole(tmp_path / "pipe", "text")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_folder_is_listed_or_it_is_an_error(tmp_path: Path) -> None:
    """Nothing where there is no folder; what is there but cannot be listed is not empty."""
    for name in ("b.json", "a.json", "a.npz"):
        (tmp_path / name).touch()
    assert listed(tmp_path, "*.json") == [tmp_path / "a.json", tmp_path / "b.json"]
    assert listed(tmp_path / "absent", "*") == []
    with pytest.raises(NotADirectoryError):
        listed(tmp_path / "b.json", "*")


def killed(work: Callable[[], object]) -> None:
    """Do something in a process of its own that dies there by SIGKILL."""
    child = os.fork()
    if not child:
        work()
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    """A process that dies in the middle leaves no half of a new file under its name."""
    write_whole(tmp_path / "file", "old")

    def write_half() -> None:
        with replacing(tmp_path / "file") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    killed(write_half)
    assert (tmp_path / "file").read_text() == "old"
    (left,) = set(os.listdir(tmp_path)) - {"file"}
    assert (left[0], left[-4:]) == (".", ".tmp")  # what `sweep` looks for


def test_writers_at_once_do_not_meet(tmp_path: Path) -> None:
    """Two that write the same file each have their own; the last to end wins."""
    path = tmp_path / "file"
    with replacing(path) as first:
        first.write_text("first")
        with replacing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["file"]


def test_a_temporary_name_ends_as_a_writer_asks(tmp_path: Path) -> None:
    """Keras looks at the ending; a name as long as the file system takes is no obstacle."""
    path = tmp_path / f"{'ü' * 124}.keras"
    with replacing(path, ending=".keras") as temporary:
        temporary.write_text("whole")
    assert temporary.suffix == ".keras"
    assert (path.read_text(), os.listdir(tmp_path)) == ("whole", [path.name])


def test_a_file_made_elsewhere_gets_its_name(tmp_path: Path) -> None:
    """What lay there is replaced, and nothing is left where it was made."""
    write_whole(tmp_path / "file", "old")
    write_whole(tmp_path / "made", "new")
    put(tmp_path / "made", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


def folder_of(path: Path, *names: str) -> Path:
    """A folder with empty files."""
    path.mkdir()
    for name in names:
        (path / name).touch()
    return path


def test_a_folder_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    """The new one holds what was made and nothing of the old one."""
    for names in (["old"], ["a", "b"]):
        with replacing_folder(tmp_path / "folder") as made:
            folder_of(made, *names)
    assert sorted(os.listdir(tmp_path / "folder")) == ["a", "b"]
    assert os.listdir(tmp_path) == ["folder"]


def test_an_error_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    """What was half made when the block raised is gone."""
    folder_of(tmp_path / "folder", "old")

    def fail() -> None:
        with replacing_folder(tmp_path / "folder") as made:
            folder_of(made, "half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(tmp_path / "folder") == ["old"]


def test_a_folder_that_another_has_just_made_is_an_error(tmp_path: Path) -> None:
    """Where another was faster, its folder stays and the caller is told."""
    rename = Path.rename

    def late(path: Path, to: Path) -> Path:
        if to == tmp_path / "folder":
            folder_of(to, "theirs")
        return rename(path, to)

    def make() -> None:
        with replacing_folder(tmp_path / "folder") as made:
            folder_of(made, "ours")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", late)
        with pytest.raises(OSError, match="not empty"):
            make()
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(tmp_path / "folder") == ["theirs"]


def test_folders_that_killed_processes_left_are_removed(tmp_path: Path) -> None:
    """Those of this folder, a day later; younger ones may still be written."""
    for name in (".folder.1-00.tmp", ".folder.2-00.tmp", ".other.1-00.tmp"):
        folder_of(tmp_path / name, "half")
    for name in (".folder.1-00.tmp", ".other.1-00.tmp"):
        os.utime(tmp_path / name, (0, 0))
    with replacing_folder(tmp_path / "folder") as made:
        folder_of(made)
    assert sorted(os.listdir(tmp_path)) == [".folder.2-00.tmp", ".other.1-00.tmp", "folder"]


def test_one_module_renames_and_locks() -> None:
    """Whoever writes a file whole or takes a lock does it through `tuner.files`."""
    package = Path(tuner.files.__file__).parent
    found = {
        f"{file.relative_to(package).as_posix()}:{node.lineno}: {ast.unparse(node)}"
        for file in package.rglob("*.py")
        if file != package / "files.py"
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if renames_or_locks(node)
    }
    assert not found


def renames_or_locks(node: ast.AST) -> bool:
    """Whether code renames a file (`str.replace` takes two arguments, `Path.replace` one)."""
    if isinstance(node, ast.Import):
        return any(name.name == "fcntl" for name in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.module == "fcntl"
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    of = ast.unparse(node.func.value)
    if of in ("os", "shutil"):
        return node.func.attr in ("replace", "rename", "renames", "move")
    is_path = len(node.args) == 1 and not node.keywords
    return node.func.attr in ("replace", "rename") and is_path


def test_content_is_on_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut the name never stands for what was not yet written out."""
    done: list[tuple[str, int]] = []
    rename = Path.replace

    def replace(path: Path, to: Path) -> Path:
        done.append(("renamed", path.stat().st_ino))
        return rename(path, to)

    monkeypatch.setattr(os, "fsync", lambda number: done.append(("synced", os.fstat(number)[1])))
    monkeypatch.setattr(Path, "replace", replace)
    write_whole(tmp_path / "file", "text")
    inode = (tmp_path / "file").stat().st_ino
    assert done == [("synced", inode), ("renamed", inode)]


def test_only_old_temporary_files_are_swept(tmp_path: Path) -> None:
    """What was left a day ago is removed; what may still be written, and all else, stays."""
    two_days_ago = time.time() - 2 * 24 * 3600
    for name in (".a.json.1-00.tmp", "b.tmp", ".hidden", "c.json"):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (two_days_ago, two_days_ago))
    (tmp_path / ".d.json.2-00.tmp").write_text("half")
    sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".d.json.2-00.tmp", ".hidden", "b.tmp", "c.json"]


def test_sweeping_never_stands_in_the_way(tmp_path: Path) -> None:
    """A folder that is not there, or what cannot be removed, is no error."""
    sweep(tmp_path / "absent")
    (tmp_path / ".odd.tmp").mkdir()
    os.utime(tmp_path / ".odd.tmp", (0, 0))
    sweep(tmp_path)
    assert (tmp_path / ".odd.tmp").is_dir()
