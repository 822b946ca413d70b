"""Features for a study: which bank, which backbone, which device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.config import StudyConfig
from tuner.features.backbone import N_FEATURES, Extractor, build_backbone
from tuner.features.bank import FeatureBank
from tuner.features.device import Device
from tuner.features.extract import OnProgress, ViewOf, fill_bank
from tuner.features.weights_source import ResolvedWeights
from tuner.home import Home

# Rows a pass: enough to fill the device, few enough for a small card at 224 px.
_BATCH = {"cpu": 32, "gpu": 128}


@dataclass(frozen=True)
class FeatureSource:
    """The bank of a study and the means to fill it.

    Attributes:
        bank: Where the features lie.
        weights: Weights of the backbone.
        device: What the backbone runs on.
        config: The study.
    """

    bank: FeatureBank
    weights: ResolvedWeights
    device: Device
    config: StudyConfig

    def fill(
        self, wanted: Sequence[ViewOf], *, on_progress: OnProgress = lambda progress: None
    ) -> int:
        """Compute what the bank lacks; returns the number of rows computed."""
        return fill_bank(
            self.bank,
            wanted,
            lambda: Extractor(
                build_backbone(self.weights, precision=self.config.backbone.precision)
            ),
            image_px=self.config.data.image_px,
            augmentation=self.config.augmentation,
            batch_size=_BATCH[self.device.kind],
            on_progress=on_progress,
        )


def open_features(
    config: StudyConfig, home: Home, *, weights: ResolvedWeights, device: Device
) -> FeatureSource:
    """The bank of everything that changes the numbers of this study's features."""
    import keras

    identity: dict[str, str | int] = {
        "backbone": "ResNet50 avg",
        "weights": weights.sha256,
        "image_px": config.data.image_px,
        "decode": "tuner 1, Pillow bilinear antialiased",
        "preprocess": "resnet50.preprocess_input",
        "views": "tuner 1, affine_transform bilinear nearest",
        "precision": config.backbone.precision,
        "keras": keras.__version__,
        "backend": device.backend,
        "device": device.kind,
    }
    bank = FeatureBank(home.features, identity, n_features=N_FEATURES)
    return FeatureSource(bank, weights, device, config)
