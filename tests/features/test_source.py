"""Banks of a study: what changes the numbers is in their names, and nothing else."""

import dataclasses
import hashlib
import json

import keras
import numpy as np
import pytest

from tuner.config import parse_study
from tuner.features.device import find_device
from tuner.features.source import open_features
from tuner.features.wanted import ViewOf
from tuner.features.weights.resolve import resolve_weights
from tuner.home import Home

STUDY = "name: s\ndata: {source: x, image_px: 32}\nbackbone: {weights: random, engine: ENGINE}\n"


def source_of(home, engine):
    """Features of a study of this engine."""
    config = parse_study(STUDY.replace("ENGINE", engine), source="s.yaml")
    return open_features(config, home, weights=resolve_weights("random"), device=find_device())


def rows_of(pictures):
    """The pictures themselves, as rows of a bank."""
    return [ViewOf(p, hashlib.sha256(p.read_bytes()).hexdigest(), 0) for p in pictures]


def test_a_study_from_before_has_the_bank_it_had(tmp_path):
    """Without an engine the bank's name is made of exactly what it was made of then."""
    device = find_device()
    then = {
        "backbone": "ResNet50 avg",
        "weights": "random-seed0",
        "image_px": 32,
        "preprocess": "resnet50.preprocess_input",
        "views": "tuner 1, affine_transform bilinear nearest",
        "precision": "float32",
        "keras": keras.__version__,
        "backend": device.backend,
        "device": device.kind,
        "format": 1,
    }
    bank = source_of(Home(tmp_path), "null").bank
    assert bank.identity == then | {"decode": bank.identity["decode"]}
    text = json.dumps(dict(sorted(bank.identity.items())), sort_keys=True)
    assert bank.folder.name == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_no_bank_holds_rows_of_two_engines(tmp_path, pictures):
    """Each engine fills a bank of its own, and none sees the rows of another."""
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install openvino")
    home, rows = Home(tmp_path), rows_of(pictures[:9])
    sources = [source_of(home, engine) for engine in ("null", "keras", "openvino")]
    assert [source.fill(rows) for source in sources] == [9, 9, 9]
    assert [source.fill(rows) for source in sources] == [0, 0, 0]
    assert len({source.bank.folder for source in sources}) == 3
    keys = [f"{row.sha256}:0" for row in rows]
    first, *others = (source.bank.read(keys) for source in sources)
    for found in others:
        np.testing.assert_allclose(found, first, rtol=0, atol=1e-5 * abs(first).max())
    engines = [source.environment.get("engine") for source in sources]
    assert engines[:2] == [None, "keras"]
    assert engines[2].startswith("openvino 2")


def test_auto_is_settled_in_the_study(tmp_path):
    """What a study is stored with is the engine that it has, never the question."""
    found = source_of(Home(tmp_path), "auto")
    assert found.config.backbone.engine in ("keras", "openvino")
    again = source_of(Home(tmp_path), found.config.backbone.engine)
    assert again.bank.folder == found.bank.folder


def test_what_others_have_computed_is_there_at_once(tmp_path, pictures):
    """Workers on other machines write the chunks; whoever sent them reads on without a restart."""
    rows, there = rows_of(pictures[:3]), source_of(Home(tmp_path), "null")

    def fill_with(chunks, on_progress):
        return there.fill_chunks(chunks, there.engine(), on_progress=on_progress)

    here = dataclasses.replace(source_of(Home(tmp_path), "null"), fill_with=fill_with)
    assert here.fill(rows) == 3
    keys = [f"{row.sha256}:0" for row in rows]
    np.testing.assert_array_equal(here.bank.read(keys), there.bank.read(keys))
