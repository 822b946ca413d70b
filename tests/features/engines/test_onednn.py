"""oneDNN is switched on where it helps, before TensorFlow is there, and the user's word wins."""

import subprocess
import sys

import pytest

from tuner.features.engines import onednn

pytestmark = pytest.mark.any_backend

AVX2 = frozenset({"avx", "avx2", "fma"})


@pytest.fixture
def processor(monkeypatch):
    """A processor with these flags, in a process that has not imported TensorFlow."""

    def make(flags):
        monkeypatch.setattr(onednn, "_flags", lambda: frozenset(flags))
        monkeypatch.setattr(onednn, "_ours", False)
        monkeypatch.delenv(onednn.VARIABLE, raising=False)
        monkeypatch.delitem(sys.modules, "tensorflow", raising=False)

    return make


@pytest.mark.parametrize(
    ("flags", "is_ours", "state"),
    [
        (AVX2, True, "on"),
        (AVX2 | {"avx512f"}, True, "on"),
        (AVX2 | {"avx512f", "avx512_vnni"}, False, "on"),
        (AVX2 | {"avx_vnni"}, False, "on"),
        ({"avx"}, False, "off"),
        ((), False, "as it comes"),
    ],
)
def test_it_is_asked_for_where_tensorflow_leaves_it_off(processor, flags, is_ours, state):
    """Processors with AVX2 and nothing newer; the newer ones have it already."""
    processor(flags)
    onednn.switch_on()
    assert onednn.is_switched_on() == is_ours
    assert onednn.state() == state


@pytest.mark.parametrize(("word", "state"), [("0", "off"), ("false", "off"), ("1", "on")])
def test_the_users_own_variable_wins(processor, monkeypatch, word, state):
    """What is in the environment stays, and is what is said."""
    processor(AVX2)
    monkeypatch.setenv(onednn.VARIABLE, word)
    onednn.switch_on()
    assert not onednn.is_switched_on()
    assert onednn.words() == f"{state} (TF_ENABLE_ONEDNN_OPTS)"


def test_it_is_too_late_once_tensorflow_is_there(processor, monkeypatch):
    """TensorFlow has read the variable when it was imported; nothing is pretended."""
    processor(AVX2)
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    onednn.switch_on()
    assert onednn.state() == "off"


ASKED = """
from tuner.features.engines import onednn
from tensorflow.python.util import _pywrap_util_port as port
print(onednn.state(), port.IsMklEnabled())
"""


@pytest.mark.slow
@pytest.mark.parametrize("word", [None, "0", "1"])
def test_tensorflow_itself_agrees(monkeypatch, word):
    """What is said is what TensorFlow found on this processor with this variable."""
    if not onednn._flags():
        pytest.skip("this system does not tell what its processor can do")
    monkeypatch.delenv(onednn.VARIABLE, raising=False)
    if word:
        monkeypatch.setenv(onednn.VARIABLE, word)
    done = subprocess.run(
        [sys.executable, "-c", ASKED], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() in (["on", "True"], ["off", "False"])
