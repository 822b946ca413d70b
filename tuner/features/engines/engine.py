"""What an engine is, which one a study has, and what its features are kept under."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib import metadata
from typing import Any, Literal, Protocol

from tuner.arrays import Float32, UInt8
from tuner.config import BackboneConfig
from tuner.errors import StudyError, UsageError
from tuner.features.device import Device
from tuner.features.engines import onednn

EngineName = Literal["keras", "openvino"]
INSTALL = "pip install 'imbalance-tuner[openvino]'"


class Engine(Protocol):
    """Pixels to features: the backbone, compiled.

    Attributes:
        in_flight: Batches to start before the first is waited for, at least 1.
    """

    in_flight: int

    def start(self, pixels: UInt8, transforms: Float32 | None = None) -> Callable[[], Float32]:
        """Start a batch; what comes back waits for its features.

        Args:
            pixels: RGB, (batch, image_px, image_px, 3); a study asks for one shape only.
            transforms: `views.keras_transform` of each image, (batch, 8), to ask for views.

        Returns:
            Called once: float32 (batch, n_features).
        """


def version_of_openvino() -> str:
    """Version of the installed package, or an empty text; loads nothing."""
    try:
        return metadata.version("openvino")
    except metadata.PackageNotFoundError:
        return ""


def check_engine(backbone: BackboneConfig) -> None:
    """Refuse an engine that is not here or cannot do what is asked, before anything loads.

    Raises:
        UsageError: If so.
    """
    if backbone.engine != "openvino":
        return
    if not version_of_openvino():
        raise UsageError(
            "the engine of this study is OpenVINO, which is not installed",
            where="backbone.engine: openvino",
            do=f"{INSTALL}; a study that has begun keeps its engine, a new one may have "
            "'engine: keras'",
        )
    if backbone.precision != "float32":
        raise UsageError(
            f"OpenVINO computes features in float32 here, not in {backbone.precision}",
            where="backbone.engine: openvino",
            do="set backbone.precision: float32, or backbone.engine: keras",
        )


def settled(backbone: BackboneConfig, device: Device) -> BackboneConfig:
    """The backbone with the engine that ``auto`` stands for here.

    OpenVINO where it is installed, features are float32, and there is no graphics card.
    """
    if backbone.engine != "auto":
        return backbone
    fits = device.kind == "cpu" and backbone.precision == "float32" and version_of_openvino()
    return backbone.model_copy(update={"engine": "openvino" if fits else "keras"})


def prepare_engine(backbone: BackboneConfig) -> None:
    """What has to be settled before TensorFlow is imported; in one process, once.

    Raises:
        UsageError: If the engine is not here.
        StudyError: If this process has already computed with other settings.
    """
    check_engine(backbone)
    is_keras = backbone.engine == "keras" or not version_of_openvino()
    if backbone.engine is not None and is_keras and backbone.precision == "float32":
        onednn.switch_on()
    elif backbone.engine is None and onednn.is_switched_on():
        raise StudyError(
            "this study began without oneDNN, which this process has switched on for another one",
            do="go on with it in a process of its own",
        )


def identity_of(backbone: BackboneConfig, device: Device) -> dict[str, str]:
    """What an engine changes in the numbers of a bank, by name.

    Empty for studies that began before there were engines: their banks stay what they are.
    """
    if backbone.engine is None:
        return {}
    if backbone.engine == "openvino":
        return {"engine": f"openvino {version_of_openvino()}", "device": "cpu"}
    found = {"engine": "keras"}
    if device.kind == "cpu" and device.backend.startswith("tensorflow"):
        found["onednn"] = onednn.state()
    return found


def words_of(backbone: BackboneConfig, device: Device) -> str:
    """The engine in words for people; empty for studies from before there were engines."""
    if backbone.engine is None:
        return ""
    if backbone.engine == "openvino":
        return f"OpenVINO {version_of_openvino()}, {backbone.precision}"
    if device.kind == "cpu" and device.backend.startswith("tensorflow"):
        return f"keras, oneDNN {onednn.words()}"
    return "keras"


def hint_of(asked: BackboneConfig, device: Device) -> str:
    """How to get OpenVINO where it would help and nobody chose otherwise; else empty."""
    would_help = device.kind == "cpu" and asked.precision == "float32"
    is_open = asked.engine == "auto" and not version_of_openvino()
    if not (would_help and is_open and platform.machine().lower() in _PROCESSORS):
        return ""
    return f"OpenVINO computes features faster on this processor: {INSTALL}"


_PROCESSORS = {"x86_64", "amd64", "aarch64", "arm64"}  # OpenVINO has wheels for these

MakeEngine = Callable[[Any], Engine]
