"""Where a study is computed: what a cluster has to offer, and what its workers have to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tuner.config import StudyConfig
from tuner.home import Home

if TYPE_CHECKING:
    from tuner.features.device import Device
    from tuner.features.extract import OnProgress
    from tuner.features.source import FeatureSource
    from tuner.features.wanted import ViewOf


@dataclass(frozen=True)
class Job:
    """Everything that a worker has to know; all of it can be sent.

    Attributes:
        config: The resolved study file.
        home: The home, on a file system of all nodes.
        directory: The working directory, from which relative paths of the study start.
        bank: Name of the feature bank that the study uses.
        bank_identity: What that bank's numbers depend on.
        storage: Optuna's database.
        tracking_uri: MLflow's server, or None for the environment or the home.
    """

    config: StudyConfig
    home: Path
    directory: Path
    bank: str
    bank_identity: tuple[tuple[str, str | int], ...]
    storage: str
    tracking_uri: str | None


class Where(Protocol):
    """A place other than this process that extracts features and trains trials."""

    def find_device(self, config: StudyConfig) -> Device:
        """What its workers compute a study on."""

    def extract(
        self, job: Job, chunks: Sequence[Sequence[ViewOf]], on_progress: OnProgress
    ) -> int:
        """Compute chunks of the bank; returns the number of rows computed."""

    def search(self, job: Job, look: Callable[[], bool]) -> None:
        """Run workers until the budget is met.

        Args:
            job: What they do.
            look: Called again and again; returns whether nothing is left to do.
        """


def make_job(source: FeatureSource, home: Home, *, storage: str, tracking_uri: str | None) -> Job:
    """What the workers of a study have to know."""
    return Job(
        config=source.config,
        home=home.path,
        directory=Path.cwd(),
        bank=source.bank.folder.name,
        bank_identity=tuple(source.bank.identity.items()),
        storage=storage,
        tracking_uri=tracking_uri,
    )
