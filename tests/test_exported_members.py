"""What `import tuner` promises: these names, from these places, and no time."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tuner
import tuner.study

NOT_AT_HOME = "keras", "tensorflow", "jax", "optuna", "mlflow", "matplotlib", "ray"

PUBLIC = {
    "Export": "tuner.study.export",
    "FocalLoss": "tuner.training.losses",
    "Listener": "tuner.home.listener",
    "Model": "tuner.study.model",
    "Study": "tuner.study.study",
    "Trial": "tuner.study.trial",
    "TunerError": "tuner.errors",
    "adjust_logits": "tuner.imbalance.adjustment",
    "class_weights": "tuner.imbalance.weights",
    "macro_recall_interval": "tuner.evaluation.intervals",
    "plot_confusion_matrix": "tuner.study.plots",
    "plot_history": "tuner.study.plots",
    "plot_recall": "tuner.study.plots",
    "training_rows": "tuner.imbalance.rows",
}


def printed(code: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_public_names_are_these() -> None:
    """A name that is added or taken away is a promise made or broken: said here, too."""
    assert list(PUBLIC) == tuner.__all__
    assert {name: getattr(tuner, name).__module__ for name in tuner.__all__} == PUBLIC
    assert set(tuner.__all__) <= set(dir(tuner))


def test_every_public_name_says_what_it_is() -> None:
    """`help` of each shows a sentence of its own."""
    for name in tuner.__all__:
        assert getattr(tuner, name).__doc__, name


@pytest.mark.parametrize("package", [tuner, tuner.study], ids=lambda package: package.__name__)
def test_what_is_listed_is_what_can_be_had(package) -> None:
    """`__all__` is sorted, and every name resolves where the table of places says."""
    listed = package.__all__
    assert sorted(listed) == listed
    assert set(package._PLACES) == set(listed)
    for name in listed:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'x'"):
        package.x  # noqa: B018 - the access is what is tested


def test_importing_loads_nothing_else() -> None:
    """Keras, Optuna, MLflow, NumPy and their like are loaded on use: it takes no time."""
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import tuner\n"
        "packages = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(packages - set(sys.stdlib_module_names)))"
    )
    assert printed(code) == "['tuner']"


def test_the_home_is_read_without_optuna_or_keras() -> None:
    """What only looks at a study answers at once."""
    code = (
        "import sys, pkgutil, importlib, tuner.home as home\n"
        "for found in pkgutil.walk_packages(home.__path__, 'tuner.home.'):\n"
        "    importlib.import_module(found.name)\n"
        f"print(sorted({set(NOT_AT_HOME)!r} & set(sys.modules)))"
    )
    assert printed(code) == "[]"
