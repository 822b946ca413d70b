"""Features for a study: which bank, which backbone, which device, which engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.config import StudyConfig
from tuner.features.backbone import Extractor, build_backbone
from tuner.features.bank import FeatureBank
from tuner.features.device import Device
from tuner.features.engines.engine import (
    Engine,
    check_engine,
    hint_of,
    identity_of,
    settled,
    words_of,
)
from tuner.features.extract import OnProgress, fill_bank, fill_chunks, missing_chunks
from tuner.features.own_backbone import check_size
from tuner.features.wanted import ViewOf
from tuner.features.weights.resolve import ResolvedWeights
from tuner.files import turn
from tuner.home import Home
from tuner.home.study_folder import StudyFolder

# Rows a pass: enough to fill the device, few enough for a small card at 224 px. OpenVINO passes
# several batches at a time, so that small ones do, and take less memory.
_BATCH = {"cpu": 32, "gpu": 128}
_BATCH_OPENVINO = 8

FillWith = Callable[[Sequence[Sequence[ViewOf]], OnProgress], int]


@dataclass(frozen=True)
class FeatureSource:
    """The bank of a study and the means to fill it.

    Attributes:
        bank: Where the features lie.
        weights: Weights of the backbone.
        device: What the backbone runs on.
        config: The study, with the engine that ``auto`` stands for.
        fill_with: Who computes missing chunks; None for this process.
        hint: How to get a faster engine, where there is one and nobody chose; else empty.
        kept: OpenVINO's engine, once it has been made: converting takes seconds.
    """

    bank: FeatureBank
    weights: ResolvedWeights
    device: Device
    config: StudyConfig
    fill_with: FillWith | None = None
    hint: str = ""
    kept: list[Engine] = field(default_factory=list, repr=False, compare=False)

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
                    self.engine,
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
            if not chunks:
                return 0
            n_computed = self.fill_with(chunks, on_progress)
            self.bank.refresh()  # others have written them
            return n_computed

    def backbone(self) -> Any:
        """ResNet50 with the study's weights and precision, or the study's model, built anew."""
        return build_backbone(self.weights, precision=self.config.backbone.precision)

    def engine(self) -> Engine:
        """The backbone with what makes its input, for the study's engine.

        Raises:
            BankError: If OpenVINO cannot compile it.
        """
        asked = self.config.backbone
        if self.kept:
            return self.kept[0]
        backbone, fill = self.backbone(), self.config.augmentation.fill
        if asked.engine is None:
            return Extractor(backbone, fill=fill)
        if asked.engine == "openvino":
            from tuner.features.engines.openvino_model import OpenVinoEngine

            self.kept.append(OpenVinoEngine(backbone, fill=fill))
            return self.kept[0]
        from tuner.features.engines.keras_graph import keras_engine

        is_float32 = asked.precision == "float32"
        return keras_engine(backbone, device=self.device.kind, is_float32=is_float32, fill=fill)

    @property
    def engine_words(self) -> str:
        """The engine in words, and how to get a faster one; empty where a study has none."""
        return "; ".join(filter(None, [words_of(self.config.backbone, self.device), self.hint]))

    @property
    def environment(self) -> dict[str, str]:
        """What is recorded with every result: backend, device, precision, weights and engine."""
        engine = identity_of(self.config.backbone, self.device).get("engine")
        return {
            "backend": self.device.backend,
            "device": self.device.name,
            "precision": self.config.backbone.precision,
            "weights": self.weights.source,
            "weights_sha256": self.weights.sha256,
            **({"engine": engine} if engine else {}),
        }

    def fill_chunks(
        self, chunks: Sequence[Sequence[ViewOf]], engine: Engine, *, on_progress: OnProgress
    ) -> int:
        """Compute whole chunks that `fill_with` was handed; takes no turns."""
        return fill_chunks(
            self.bank,
            chunks,
            engine,
            image_px=self.config.data.image_px,
            augmentation=self.config.augmentation,
            batch_size=self._batch_size,
            on_progress=on_progress,
        )

    @property
    def _batch_size(self) -> int:
        if self.config.backbone.engine == "openvino":
            return _BATCH_OPENVINO
        return _BATCH[self.device.kind]


def open_features(
    config: StudyConfig, home: Home, *, weights: ResolvedWeights, device: Device
) -> FeatureSource:
    """The bank of everything that changes the numbers of this study's features.

    Raises:
        UsageError: If the study's engine is not here.
        WeightsError: If the backbone takes images of another size.
    """
    import keras

    check_size(weights, config.data.image_px)
    is_own = weights.kind == "model"

    asked = config.backbone
    check_engine(asked)
    config = config.model_copy(update={"backbone": settled(asked, device)})

    identity: dict[str, str | int] = {
        "backbone": "own model" if is_own else "ResNet50 avg",
        "weights": weights.sha256,
        "image_px": config.data.image_px,
        "decode": StudyFolder(home.studies / config.name).decode,
        "preprocess": "inside the model" if is_own else "resnet50.preprocess_input",
        "views": "tuner 1, affine_transform bilinear nearest",
        "precision": config.backbone.precision,
        "keras": keras.__version__,
        "backend": device.backend,
        "device": device.kind,
        **identity_of(config.backbone, device),
    }
    bank = FeatureBank(home.features, identity, n_features=weights.n_features)
    hint = hint_of(asked, device)
    return FeatureSource(bank=bank, weights=weights, device=device, config=config, hint=hint)
