"""Features for a study: which bank, which backbone, which device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.config import StudyConfig
from tuner.features.backbone import N_FEATURES, Extractor, build_backbone
from tuner.features.bank import FeatureBank
from tuner.features.device import Device
from tuner.features.extract import (
    OnProgress,
    ViewOf,
    fill_bank,
    fill_chunks,
    missing_chunks,
)
from tuner.features.weights.resolve import ResolvedWeights
from tuner.files import turn
from tuner.home import Home
from tuner.home.study_folder import StudyFolder

# Rows a pass: enough to fill the device, few enough for a small card at 224 px.
_BATCH = {"cpu": 32, "gpu": 128}

FillWith = Callable[[Sequence[Sequence[ViewOf]], OnProgress], int]


@dataclass(frozen=True)
class FeatureSource:
    """The bank of a study and the means to fill it.

    Attributes:
        bank: Where the features lie.
        weights: Weights of the backbone.
        device: What the backbone runs on.
        config: The study.
        fill_with: Who computes missing chunks; None for this process.
    """

    bank: FeatureBank
    weights: ResolvedWeights
    device: Device
    config: StudyConfig
    fill_with: FillWith | None = None

    def fill(
        self,
        wanted: Sequence[ViewOf],
        *,
        on_progress: OnProgress = lambda progress: None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> int:
        """Compute what the bank lacks; returns the number of rows computed.

        Processes that share a bank take turns, so that no row is computed twice; `on_wait` is
        called when another one is at it.
        """
        with turn(self.bank.folder / ".fill.lock", on_wait=on_wait):
            self.bank.refresh()
            if self.fill_with is None:
                return fill_bank(
                    self.bank,
                    wanted,
                    self.extractor,
                    image_px=self.config.data.image_px,
                    augmentation=self.config.augmentation,
                    batch_size=self._batch_size,
                    on_progress=on_progress,
                )
            chunks = missing_chunks(
                self.bank,
                wanted,
                augmentation=self.config.augmentation,
                batch_size=self._batch_size,
            )
            return self.fill_with(chunks, on_progress) if chunks else 0

    def backbone(self) -> Any:
        """ResNet50 with the study's weights and precision, built anew."""
        return build_backbone(self.weights, precision=self.config.backbone.precision)

    def extractor(self) -> Extractor:
        """The backbone with what makes its input, built anew."""
        return Extractor(self.backbone())

    @property
    def environment(self) -> dict[str, str]:
        """What is recorded with every result: backend, device, precision and weights."""
        return {
            "backend": self.device.backend,
            "device": self.device.name,
            "precision": self.config.backbone.precision,
            "weights": self.weights.source,
            "weights_sha256": self.weights.sha256,
        }

    def fill_chunks(
        self, chunks: Sequence[Sequence[ViewOf]], extractor: Extractor, *, on_progress: OnProgress
    ) -> int:
        """Compute whole chunks that `fill_with` was handed; takes no turns."""
        return fill_chunks(
            self.bank,
            chunks,
            extractor,
            image_px=self.config.data.image_px,
            augmentation=self.config.augmentation,
            batch_size=self._batch_size,
            on_progress=on_progress,
        )

    @property
    def _batch_size(self) -> int:
        return _BATCH[self.device.kind]


def open_features(
    config: StudyConfig, home: Home, *, weights: ResolvedWeights, device: Device
) -> FeatureSource:
    """The bank of everything that changes the numbers of this study's features."""
    import keras

    identity: dict[str, str | int] = {
        "backbone": "ResNet50 avg",
        "weights": weights.sha256,
        "image_px": config.data.image_px,
        "decode": StudyFolder(home.studies / config.name).decode,
        "preprocess": "resnet50.preprocess_input",
        "views": "tuner 1, affine_transform bilinear nearest",
        "precision": config.backbone.precision,
        "keras": keras.__version__,
        "backend": device.backend,
        "device": device.kind,
    }
    bank = FeatureBank(home.features, identity, n_features=N_FEATURES)
    return FeatureSource(bank=bank, weights=weights, device=device, config=config)
