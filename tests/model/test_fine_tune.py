"""Fine-tuning moves the last convolutions and nothing else; a head goes on where it was."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cli.made import make_record
from tests.small_study import Small, small_config
from tuner.errors import UsageError
from tuner.features.backbone import build_backbone
from tuner.features.weights.resolve import resolve_weights
from tuner.model.export import Export, build_export
from tuner.model.fine_tune import check_stage, file_features, train_final_live, unfreeze
from tuner.training.inputs import LiveSource, with_live
from tuner.training.plan import Plan


@pytest.fixture(scope="module")
def backbone():
    """Random weights, the same everywhere; tests leave them changed."""
    return build_backbone(resolve_weights("random"))


@pytest.mark.parametrize("stage", ["conv5", "conv4"])
def test_batch_normalization_stays_frozen(backbone, stage):
    """From the stage on convolutions learn; earlier ones and every BatchNormalization do not."""
    unfreeze(backbone, stage)
    learning = {w.path.split("/")[-2] for w in backbone.trainable_weights}
    stages = {name.split("_")[0] for name in learning}
    assert stages == ({"conv5"} if stage == "conv5" else {"conv4", "conv5"})
    assert all(name.endswith("_conv") for name in learning)
    # Three convolutions a block and one beside each stage's first: 10 in conv5, 19 in conv4.
    assert len(learning) == (10 if stage == "conv5" else 29)


def test_an_unknown_stage_names_those_that_are(backbone):
    """A misspelt stage is a usage error before anything is trained."""
    check_stage(None, small_config())
    check_stage("conv5", small_config())
    with pytest.raises(UsageError, match="'conv6' is not a stage") as error:
        check_stage("conv6", small_config())
    assert "conv5, conv4" in str(error.value)


@pytest.mark.slow
def test_fine_tuning_moves_the_last_stage_and_the_head(backbone, tmp_path):
    """Weights before the stage and all statistics keep their bits; features follow the weights."""
    search = Small(tmp_path / "home", tmp_path / "data").open("training.batch_size=32")
    folder = search.folder
    record = make_record(np.eye(5, dtype=int).tolist(), rows=[[1] * 5] * 2)
    export = Export(search.config, record.params, build_export(folder, record))
    root = Small(tmp_path / "home", tmp_path / "data").table(search.config).root
    inputs = with_live(
        search.inputs, LiveSource(root, backbone), folder.images, config=search.config
    )
    files = [root / folder.images.paths[i] for i in folder.images.search[:3]]
    before = {w.path: np.array(w) for w in backbone.weights}
    features = file_features(backbone, files, image_px=32)
    losses = []
    head = train_final_live(
        export,
        inputs,
        Plan([1e-6]),  # no more: a few steps on a random backbone switch every hidden unit off
        stage="conv5",
        on_epoch=lambda epoch, loss: losses.append((epoch, loss)),
    )
    assert [epoch for epoch, _ in losses] == list(range(6))
    moved = {w.path for w in backbone.weights if (np.array(w) != before[w.path]).any()}
    assert moved == {w.path for w in backbone.trainable_weights}
    assert np.abs(file_features(backbone, files, image_px=32) - features).max() > 0
    frozen = train_final_live(export, inputs, Plan([]), head=head)
    for mine, theirs in zip(frozen, head, strict=True):
        np.testing.assert_array_equal(mine, theirs)
