"""Which engine a study has, what its bank is kept under, and what is said of it."""

import pytest

from tuner.config import BackboneConfig
from tuner.errors import StudyError, UsageError
from tuner.features.device import Device
from tuner.features.engines import engine, onednn
from tuner.features.engines.engine import (
    check_engine,
    hint_of,
    identity_of,
    prepare_engine,
    settled,
    version_of_openvino,
    words_of,
)

CPU = Device("cpu", "CPU", "tensorflow 2.21.0")
GPU = Device("gpu", "NVIDIA H200", "tensorflow 2.21.0")
JAX = Device("cpu", "CPU", "jax 0.10.2")


@pytest.fixture
def with_openvino(monkeypatch):
    """A machine where OpenVINO is installed."""
    monkeypatch.setattr(engine, "version_of_openvino", lambda: "2026.4.1")


@pytest.fixture
def without_openvino(monkeypatch):
    """A machine where it is not."""
    monkeypatch.setattr(engine, "version_of_openvino", lambda: "")


@pytest.fixture
def avx2_only(monkeypatch):
    """A processor on which TensorFlow leaves oneDNN off; nothing is decided yet."""
    monkeypatch.setattr(onednn, "_flags", lambda: frozenset({"avx", "avx2", "fma"}))
    monkeypatch.setattr(onednn, "_ours", False)
    monkeypatch.delenv(onednn.VARIABLE, raising=False)
    monkeypatch.delitem(__import__("sys").modules, "tensorflow", raising=False)


def test_the_version_is_that_of_the_package():
    """What a bank is kept under is what pip has installed; nothing is imported for it."""
    openvino = pytest.importorskip("openvino", reason="needs OpenVINO: pip install openvino")
    assert openvino.__version__.startswith(version_of_openvino())


@pytest.mark.usefixtures("with_openvino")
@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        (CPU, "float32", "openvino"),
        (JAX, "float32", "openvino"),
        (GPU, "float32", "keras"),
        (CPU, "bfloat16", "keras"),
    ],
)
def test_auto_is_openvino_on_processors(device, precision, expected):
    """OpenVINO is taken where it is installed, in float32, and not where there is a card."""
    found = settled(BackboneConfig(precision=precision), device)
    assert found.engine == expected
    assert found == BackboneConfig(precision=precision, engine=expected)


@pytest.mark.usefixtures("without_openvino")
def test_auto_is_keras_without_openvino():
    """Without the package everything is Keras's."""
    assert settled(BackboneConfig(), CPU).engine == "keras"


@pytest.mark.usefixtures("with_openvino")
@pytest.mark.parametrize("chosen", ["keras", "openvino", None])
@pytest.mark.parametrize("device", [CPU, GPU])
def test_what_was_chosen_stays(chosen, device):
    """An engine that somebody named, or that a study began with, is not changed."""
    backbone = BackboneConfig(engine=chosen)
    assert settled(backbone, device) == backbone


@pytest.mark.usefixtures("without_openvino")
def test_an_engine_that_is_not_installed_is_one_message():
    """It says what is missing, where it was asked for, and the command that installs it."""
    with pytest.raises(UsageError) as caught:
        check_engine(BackboneConfig(engine="openvino"))
    assert "OpenVINO, which is not installed" in caught.value.what
    assert caught.value.where == "backbone.engine: openvino"
    assert "pip install 'imbalance-tuner[openvino]'" in caught.value.do


@pytest.mark.usefixtures("with_openvino")
def test_openvino_is_float32_only():
    """Another precision is refused, not silently left out."""
    with pytest.raises(UsageError, match="in float32 here, not in bfloat16"):
        check_engine(BackboneConfig(engine="openvino", precision="bfloat16"))


@pytest.mark.usefixtures("with_openvino")
def test_banks_of_engines_are_kept_apart(monkeypatch):
    """Engine, its version and oneDNN each make another bank; no engine makes the old one."""
    monkeypatch.setattr(onednn, "state", lambda: "on")
    found = [identity_of(BackboneConfig(engine=name), CPU) for name in ("keras", "openvino")]
    monkeypatch.setattr(onednn, "state", lambda: "off")
    found.append(identity_of(BackboneConfig(engine="keras"), CPU))
    monkeypatch.setattr(engine, "version_of_openvino", lambda: "2026.5.0")
    found.append(identity_of(BackboneConfig(engine="openvino"), CPU))
    assert all(found)
    assert len({tuple(sorted(identity.items())) for identity in found}) == 4
    assert identity_of(BackboneConfig(engine=None), CPU) == {}


@pytest.mark.usefixtures("with_openvino")
def test_openvino_computes_on_the_processor_whatever_card_there_is():
    """A bank of OpenVINO is that of a processor, beside a card, too; oneDNN is not in it."""
    asked = BackboneConfig(engine="openvino")
    assert identity_of(asked, GPU) == identity_of(asked, CPU)
    assert "onednn" not in identity_of(asked, CPU)
    assert "onednn" not in identity_of(BackboneConfig(engine="keras"), JAX)


@pytest.mark.usefixtures("without_openvino")
@pytest.mark.parametrize(
    ("asked", "device", "is_said"),
    [
        (BackboneConfig(), CPU, True),
        (BackboneConfig(), GPU, False),
        (BackboneConfig(engine="keras"), CPU, False),
        (BackboneConfig(engine=None), CPU, False),
        (BackboneConfig(precision="bfloat16"), CPU, False),
    ],
)
def test_openvino_is_named_where_it_would_help(monkeypatch, asked, device, is_said):
    """One line with the command, for those who left the engine open and compute on a CPU."""
    monkeypatch.setattr(engine.platform, "machine", lambda: "x86_64")
    hint = hint_of(asked, device)
    assert ("pip install 'imbalance-tuner[openvino]'" in hint) == is_said
    assert bool(hint) == is_said


@pytest.mark.usefixtures("with_openvino")
def test_the_engine_is_said_in_words():
    """Name, version and precision; studies from before there were engines say nothing new."""
    assert words_of(BackboneConfig(engine="openvino"), CPU) == "OpenVINO 2026.4.1, float32"
    assert words_of(BackboneConfig(engine="keras"), CPU).startswith("keras, oneDNN o")
    assert words_of(BackboneConfig(engine="keras"), GPU) == "keras"
    assert words_of(BackboneConfig(engine=None), CPU) == ""
    assert hint_of(BackboneConfig(), CPU) == ""


@pytest.mark.usefixtures("without_openvino", "avx2_only")
def test_onednn_is_asked_for_where_keras_extracts():
    """It is set for the Keras engine, and said with the variable that leaves it off."""
    prepare_engine(BackboneConfig())
    assert onednn.is_switched_on()
    assert words_of(BackboneConfig(engine="keras"), CPU) == (
        "keras, oneDNN on (TF_ENABLE_ONEDNN_OPTS=0 leaves it off)"
    )


@pytest.mark.usefixtures("with_openvino", "avx2_only")
@pytest.mark.parametrize(
    "backbone",
    [BackboneConfig(), BackboneConfig(engine="openvino"), BackboneConfig(engine=None)],
)
def test_onednn_is_left_alone_elsewhere(backbone):
    """Heads of studies that extract with OpenVINO, or began before, stay what they were."""
    prepare_engine(backbone)
    assert not onednn.is_switched_on()
    assert onednn.state() == "off"


@pytest.mark.usefixtures("without_openvino", "avx2_only")
def test_an_old_study_is_not_gone_on_with_under_onednn():
    """In a process that has switched it on for another study its rows would be others."""
    prepare_engine(BackboneConfig())
    with pytest.raises(StudyError, match="began without oneDNN"):
        prepare_engine(BackboneConfig(engine=None))
