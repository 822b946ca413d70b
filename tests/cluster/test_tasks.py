"""What a worker does on its node, without Ray."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from tuner.cluster import tasks
from tuner.cluster.tasks import Job
from tuner.config import parse_study
from tuner.errors import StudyError
from tuner.features.source import FeatureSource, open_features
from tuner.features.weights.resolve import resolve_weights
from tuner.home import Home

STUDY = "{name: x, data: {source: digits, image_px: 32}, backbone: {weights: random}}"


@pytest.fixture
def source(tmp_path: Path) -> FeatureSource:
    """The feature bank of a study, as the machine that starts it sees it."""
    config = parse_study(STUDY, source="x.yaml")
    device = tasks.find_worker_device(config)
    return open_features(config, Home(tmp_path), weights=resolve_weights("random"), device=device)


@pytest.fixture
def job(source: FeatureSource, tmp_path: Path) -> Job:
    """What is sent to the nodes."""
    return Job(
        config=source.config,
        home=tmp_path,
        directory=tmp_path,
        bank=source.bank.folder.name,
        bank_identity=tuple(source.bank.identity.items()),
        storage="postgresql://me:secret@db/x",
        tracking_uri=None,
    )


def test_a_node_of_the_same_kind_finds_the_same_bank(
    source: FeatureSource, job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The bank's name holds everything that changes the numbers."""
    monkeypatch.chdir(tmp_path)
    found = tasks._open_source(pickle.loads(pickle.dumps(job)))
    assert found.bank.folder == source.bank.folder


def test_a_node_that_would_compute_other_numbers_is_refused(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What differs is named, with both values, and the way back keeps the parts of the error."""
    monkeypatch.chdir(tmp_path)
    identity = dict(job.bank_identity) | {"keras": "3.0.0"}
    with pytest.raises(StudyError) as caught:
        tasks.extract(replace(job, bank="another", bank_identity=tuple(identity.items())), [])
    assert "keras is " in caught.value.what
    assert "and 3.0.0 there" in caught.value.what
    sent = pickle.loads(pickle.dumps(caught.value))
    assert (sent.what, sent.where, sent.do) == (
        caught.value.what,
        caught.value.where,
        caught.value.do,
    )
    assert str(sent) == str(caught.value)
