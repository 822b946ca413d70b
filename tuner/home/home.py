"""Where everything of a user's studies lies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import UsageError


@dataclass(frozen=True)
class Home:
    """Paths below one home folder.

    Attributes:
        path: The home itself, absolute.
    """

    path: Path

    @classmethod
    def find(cls, given: Path | None = None) -> Home:
        """The given folder, else ``$TUNER_HOME``, else ``mlruns/`` in the working directory.

        Raises:
            UsageError: If that is a file.
        """
        path = (given or Path(os.environ.get("TUNER_HOME") or "mlruns")).absolute()
        if path.exists() and not path.is_dir():
            do = "name a folder with --home or $TUNER_HOME"
            raise UsageError("the home is a file, not a folder", where=str(path), do=do)
        return cls(path)

    @property
    def studies(self) -> Path:
        """One folder per study: the records, which are the truth."""
        return self.path / "studies"

    @property
    def journal(self) -> Path:
        """Optuna's journal of all studies."""
        return self.path / "optuna.journal"

    @property
    def features(self) -> Path:
        """Feature banks."""
        return self.path / "features"

    @property
    def tracking_uri(self) -> str:
        """MLflow's own database in this home."""
        # SQLAlchemy unquotes what follows the slashes, and a bare ? would begin its options.
        path = str(self.path / "mlflow.db").replace("%", "%25").replace("?", "%3F")
        return f"sqlite:///{path}"

    def resolve_tracking_uri(self, given: str | None) -> str:
        """The given server, else ``$MLFLOW_TRACKING_URI``, else the home's own database."""
        return given or os.environ.get("MLFLOW_TRACKING_URI") or self.tracking_uri

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts."""
        return self.path / "artifacts"
