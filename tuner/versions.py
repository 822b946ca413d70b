"""What produced a result: versions of packages and the state of the user's repository."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "imbalance-tuner",
    "keras",
    "tensorflow",
    "jax",
    "numpy",
    "scikit-learn",
    "optuna",
    "mlflow",
    "pandas",
    "pillow",
)


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on, where installed."""
    return {"python": platform.python_version()} | versions_of(_PACKAGES)


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state(folder: Path) -> dict[str, str]:
    """Commit of the repository around a folder and whether it has changes; {} outside one."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit, "dirty": "yes" if changes else "no"}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
