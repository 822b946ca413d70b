"""Fixtures of all rooms."""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# As a study asks for it (`tuner.features.engines.onednn`), for TensorFlow reads it when it is
# imported. On processors with newer instructions it is on anyway, so tests mean the same on all.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# As `tuner ui` has it: otherwise each MLflow server is nine processes more, and half a minute.
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")

import pytest
from hypothesis import settings

# A deadline measures the machine, not the code. The same examples each time, so that a failure
# belongs to the change at hand; --hypothesis-profile explore looks for new ones.
settings.register_profile("tuner", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("tuner")

# Whole studies, mostly in processes of their own, and large networks: begun first, so that no
# process of the tests ends with one of them while the others have nothing left to do.
_LONGEST = {
    "test_benchmarks.py",
    "test_by_hand.py",
    "test_end_to_end.py",
    "test_endure_kills.py",
    "test_endure_traps.py",
    "test_endure_two.py",
    "test_live_study.py",
    "test_near_duplicates.py",
    "test_notebook.py",
    "test_own_backbone.py",
    "test_ray.py",
    "test_resume.py",
}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Put the longest files first, in whatever order they come."""
    items.sort(key=lambda item: item.path.name not in _LONGEST)


@pytest.fixture(autouse=True, scope="module")
def _memory_given_back():
    """Free what a file of tests has left.

    Without, a process of the tests grew to 8 GB, and two of them to what a machine has.
    """
    from tuner.process import give_back_memory

    yield
    give_back_memory()


_SHARED_WEIGHTS = (
    Path(__file__).parents[2] / "shared" / "weights" / "resnet50_imagenet_notop.weights.h5"
)


@pytest.fixture(scope="session")
def imagenet_weights():
    """The real ImageNet weights, by any way; skipped without one, unless they are required.

    Continuous integration sets TUNER_REQUIRE_WEIGHTS, so that it cannot skip by accident.
    """
    from tuner.errors import WeightsError
    from tuner.features.weights.resolve import resolve_weights

    if "TUNER_WEIGHTS" not in os.environ and _SHARED_WEIGHTS.exists():
        return resolve_weights(str(_SHARED_WEIGHTS))
    try:
        return resolve_weights("imagenet")
    except WeightsError as error:
        if os.environ.get("TUNER_REQUIRE_WEIGHTS"):
            raise
        pytest.skip(f"no ImageNet weights: {error.what}")


@pytest.fixture
def postgres():
    """Makes an empty database on a real PostgreSQL server and gives its URL.

    The server is the one that PGHOST, PGUSER and PGPASSWORD name, as `pg_virtualenv` sets them;
    skipped without, unless TUNER_REQUIRE_POSTGRES is set, as continuous integration does.
    """
    if not os.environ.get("PGHOST") or not os.environ.get("PGUSER"):
        if os.environ.get("TUNER_REQUIRE_POSTGRES"):
            pytest.fail("no PostgreSQL (PGHOST, PGUSER), and TUNER_REQUIRE_POSTGRES is set")
        pytest.skip("needs PostgreSQL: pg_virtualenv -t make test")
    import psycopg

    made = []

    def make() -> str:
        name = f"tuner_{secrets.token_hex(6)}"
        with psycopg.connect(dbname="postgres", autocommit=True) as connection:
            connection.execute(f"create database {name}")
        made.append(name)
        user = f"{os.environ['PGUSER']}:{os.environ.get('PGPASSWORD', '')}"
        address = f"{os.environ['PGHOST']}:{os.environ.get('PGPORT', 5432)}"
        return f"postgresql://{user}@{address}/{name}"

    yield make
    with psycopg.connect(dbname="postgres", autocommit=True) as connection:
        for name in made:
            connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home with the digits and their features, shared by all tests and only added to."""
    from tuner.data.digits import write_digits

    home = tmp_path_factory.mktemp("data")
    write_digits(home / "datasets" / "digits")
    return home


@pytest.fixture
def quick() -> None:
    """Asked for where training is not what is tested: `trainer` is then a stand-in."""


@pytest.fixture
def trainer(request: pytest.FixtureRequest):
    """What trains the settings of this test's studies."""
    from tests.small_study import quick_trainer
    from tuner.training.trial import train_settings

    return quick_trainer if "quick" in request.fixturenames else train_settings


@pytest.fixture
def small(tmp_path: Path, data_home: Path, trainer):
    """The small study of `small_study.py` in a fresh home; written is enough there."""
    from tests.small_study import Small

    with pytest.MonkeyPatch.context() as patch:  # waiting for the disk takes longer than the rest
        patch.setattr(os, "fsync", lambda number: None)
        yield Small(tmp_path / "home", data_home, trainer=trainer)


@pytest.fixture
def another(tmp_path: Path, data_home: Path, trainer) -> Callable[[str], object]:
    """The same study in another fresh home, by name."""
    from tests.small_study import Small

    return lambda name: Small(tmp_path / name, data_home, trainer=trainer)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as MLflow migrates it, made once; that takes seconds."""
    from tuner.tracking.connection import connect

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(f"sqlite:///{path}").search_experiments(max_results=1)
    return path


@pytest.fixture
def database(tmp_path: Path, migrated: Path) -> None:
    """The default home has such a database already."""
    (tmp_path / "mlruns").mkdir()
    shutil.copy(migrated, tmp_path / "mlruns" / "mlflow.db")
