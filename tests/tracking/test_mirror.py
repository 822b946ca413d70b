"""What the last of several workers leaves in MLflow."""

from __future__ import annotations

import os

from tuner.home import Home
from tuner.tracking.mirror import complete_mirror


def test_the_last_worker_completes_what_mlflow_has(study, tracking_uri, kept, troubles):
    """While another works nothing is written; who finds nobody else writes what is missing."""
    study.add(number=0)
    study.add(number=1)
    home = Home(study.folder.path.parent.parent)

    def complete() -> bool:
        return complete_mirror(study.folder, home, tracking_uri, on_trouble=troubles.append)

    with study.folder.locked(alone=False):
        assert not complete()
        assert kept().experiment is None
    assert complete()
    assert set(kept().children) == {"trial-00000", "trial-00001"}
    assert kept().parent.info.status == "FINISHED"
    assert troubles == []


def test_completing_leaves_the_study_free_to_start(study, troubles):
    """Whoever starts while records are written is not refused, and its number stays."""
    study.add(number=0)
    home = Home(study.folder.path.parent.parent)
    seen: list[str] = []

    def start(text: str) -> None:
        with study.folder.locked():
            seen.append(study.folder.lock_path.read_text())
        troubles.append(text)

    unreachable = "http://127.0.0.1:9"
    assert complete_mirror(study.folder, home, unreachable, on_trouble=start)
    assert seen == [str(os.getpid())]
    (trouble,) = troubles
    assert trouble.endswith("write it with: tuner sync digits")
