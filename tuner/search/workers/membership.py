"""Workers of one study: that they share a home, and compute the same numbers."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import optuna
from optuna.storages import RDBStorage

from tuner.errors import StudyError
from tuner.home.study_folder import StudyFolder
from tuner.search.database import clock_skew_s
from tuner.versions import package_versions

_KEY = "begun"  # study attribute: who began it, with what
_SKEW_S = 30.0
_DECIDING = ("imbalance-tuner", "optuna", "numpy")  # beside what the bank's identity names


def worker_identity(bank: Mapping[str, str | int]) -> dict[str, str]:
    """Everything in which two workers of a study must not differ, by name.

    Args:
        bank: Identity of the feature bank: weights, backend, device, precision and so on.
    """
    versions = package_versions()
    packages = {name: versions.get(name, "none") for name in _DECIDING}
    return {name: str(value) for name, value in (dict(bank) | packages).items()}


def begin_or_join(study: optuna.Study, folder: StudyFolder, identity: Mapping[str, str]) -> None:
    """Write down who begins a study in this store, or check that one may join it.

    Workers take turns here (`folder.turn_path`).

    Args:
        study: Optuna's study.
        folder: The study's folder in this worker's home.
        identity: Of this worker.

    Raises:
        StudyError: If the store's study belongs to another home, or this worker would compute
            other numbers than those that are there.
    """
    begun = study.user_attrs.get(_KEY)
    if begun is None:
        mine = {"home": _id(folder), "host": socket.gethostname(), "folder": str(folder.path)}
        study.set_user_attr(_KEY, mine | {"identity": dict(identity)})
        return
    check_home(study, folder)
    if others := differences(identity, begun["identity"]):
        raise StudyError(
            f"this worker would not compute the numbers of the others: {others}",
            where=f"study '{folder.name}', begun on {begun['host']}",
            do="install the same versions, weights and backend on all machines",
        )


def differences(here: Mapping[str, object], there: Mapping[str, object]) -> str:
    """In what two workers differ, in words; empty when in nothing."""
    return "; ".join(
        f"{name} is {here.get(name, 'none')} here and {there.get(name, 'none')} there"
        for name in sorted(here.keys() | there.keys())
        if here.get(name) != there.get(name)
    )


def check_home(study: optuna.Study, folder: StudyFolder) -> None:
    """Refuse a home that is not the one in which the store's study was begun.

    Raises:
        StudyError: If so.
    """
    begun = study.user_attrs[_KEY]
    if begun["home"] != _id(folder):
        raise StudyError(
            f"study '{folder.name}' of this database was begun in another home: "
            f"{begun['folder']} on {begun['host']}",
            where=str(folder.path),
            do="give all workers one --home on a file system that they share, or the study "
            "another name",
        )


def clock_warning(storage: RDBStorage) -> str:
    """A sentence when this machine's clock is far from the database's, else an empty text."""
    skew = clock_skew_s(storage)
    if abs(skew) < _SKEW_S:
        return ""
    where = "ahead of" if skew > 0 else "behind"
    return (
        f"this machine's clock is {abs(skew):.0f} s {where} the database's: times of its trials "
        "will be off, results will not (lost workers are told by the database's clock)"
    )


def _id(folder: StudyFolder) -> str:
    about = folder.about
    return str(about.get("id") or f"{about.get('created_at')} {about['split_fingerprint']}")
