"""A disk that fills up in the middle of a search, and is emptied again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_study import Small, results_of, trials_of
from tuner.search.study import run_search

# A limit on the size of files gives EFBIG in the middle of a write, as a full disk gives ENOSPC.
SEARCH = """
import json, resource, signal, sys
from pathlib import Path
from tests.small_study import Small, quick_trainer
from tuner.search.study import run_search
small = Small(Path(sys.argv[1]), Path(sys.argv[2]), trainer=quick_trainer)
search = small.open("search.trials=5")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    run_search(search)
    print(json.dumps("done"))
except OSError as error:
    print(json.dumps(error.strerror))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("limit", [700, 2_500, 5_000, 9_000])
def test_a_search_goes_on_when_there_is_space_again(small, another, data_home, limit):
    """Stopped by a full disk in records or journal, it ends as if nothing had been."""
    straight = another("straight").open("search.trials=5")
    run_search(straight)
    assert isinstance(small, Small)
    words = [sys.executable, "-c", SEARCH, str(small.home.path), str(data_home), str(limit)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert json.loads(done.stdout.splitlines()[-1]) == "File too large"
    again = small.open("search.trials=5")
    run_search(again)
    assert trials_of(again.study) == trials_of(straight.study)
    assert results_of(again.folder) == results_of(straight.folder)
