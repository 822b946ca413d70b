from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.home.made import created, table_of
from tests.small_study import small_config
from tuner.errors import StudyError
from tuner.home import Home
from tuner.home.study_folder import StudyFolder, all_studies, find_study

HOLD = """
import sys, time
from pathlib import Path
from tuner.home.study_folder import StudyFolder
with StudyFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


class TestContent:
    """What is written comes back."""

    def test_settings_names_and_fingerprints(self, tmp_path: Path) -> None:
        """The resolved study file, class names and fingerprints are those of the start."""
        table = table_of([f"a/{i}.png" for i in range(6)], class_names=("NA", "b c/d,e"))
        folder = created(tmp_path / "small", table)
        assert folder.config == small_config()
        assert folder.class_names == ["NA", "b c/d,e"]
        assert folder.about["data_fingerprint"] == table.fingerprint
        assert folder.name == "small"
        assert folder.records() == []

    def test_exists_only_when_whole(self, tmp_path: Path) -> None:
        """A folder whose making was killed before its last file is no study."""
        folder = created(tmp_path / "studies" / "s", table_of(["a", "b", "c"]))
        assert folder.exists
        (folder.path / "about.json").unlink()
        assert not StudyFolder(folder.path).exists
        assert all_studies(Home(tmp_path)) == []


class TestLock:
    """One process at a time runs a study."""

    def test_second_process_is_told_who_runs_it(self, tmp_path: Path) -> None:
        """Another process holds it: one error with its number; once it is killed, it is free."""
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "s")], stdout=subprocess.PIPE
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(StudyError) as caught, StudyFolder(tmp_path / "s").locked():
                pass
            assert f"'s' is already running (process {holder.pid})" in str(caught.value)
            assert "tuner status s" in str(caught.value)
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.communicate()
        with StudyFolder(tmp_path / "s").locked():
            assert (tmp_path / "s" / ".lock").read_text() == str(os.getpid())

    def test_free_again_after_an_error(self, tmp_path: Path) -> None:
        """Leaving the block, in whatever way, lets go."""
        folder = StudyFolder(tmp_path / "s")
        with pytest.raises(KeyboardInterrupt), folder.locked():
            raise KeyboardInterrupt
        with folder.locked():
            pass

    def test_other_studies_are_free(self, tmp_path: Path) -> None:
        """Two studies of one home run at once."""
        with StudyFolder(tmp_path / "s").locked(), StudyFolder(tmp_path / "t").locked():
            pass

    def test_lock_alone_is_no_study(self, tmp_path: Path) -> None:
        """A start that failed before the study was made leaves none behind."""
        with StudyFolder(tmp_path / "studies" / "s").locked():
            pass
        assert all_studies(Home(tmp_path)) == []


def test_unknown_study_lists_the_known_ones(tmp_path: Path) -> None:
    """The message names the studies of the home and how to start one."""
    for name in ("b", "a"):
        created(tmp_path / "studies" / name, table_of(["x", "y", "z"]))
    with pytest.raises(StudyError) as caught:
        find_study(Home(tmp_path), "c")
    assert "no study 'c' in this home; there: a, b" in str(caught.value)
    with pytest.raises(StudyError, match="there: none"):
        find_study(Home(tmp_path / "empty"), "c")
    assert find_study(Home(tmp_path), "a").path == tmp_path / "studies" / "a"
