"""Which formats there are beside Keras's own, and what each needs; loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tuner.errors import UsageError

KERAS, SAVED_MODEL = "keras", "saved_model"
PRECISIONS = ("fp16", "int8")
_BY_KERAS = (KERAS, SAVED_MODEL)


@dataclass(frozen=True)
class Form:
    """A format.

    Attributes:
        name: As users write it, and as Keras's `Model.export` knows it.
        suffix: Of its file.
        beside: Suffixes of the files that belong to it.
        runtime: Module that runs it.
        writes: Modules that it is written with, beside Keras and TensorFlow.
        quantizes: Modules that int8 needs beside them.
    """

    name: str
    suffix: str
    runtime: str
    writes: tuple[str, ...]
    beside: tuple[str, ...] = ()
    quantizes: tuple[str, ...] = ()

    @property
    def install(self) -> str:
        """The command that installs what it needs."""
        return f"pip install 'imbalance-tuner[{self.name}]'"


FORMS = {
    form.name: form
    for form in (
        Form(name="onnx", suffix=".onnx", runtime="onnxruntime", writes=("onnx", "tf2onnx")),
        Form(
            name="openvino",
            suffix=".xml",
            runtime="openvino",
            writes=("scipy",),  # Keras's export asks for it, and neither declares it
            beside=(".bin",),
            quantizes=("nncf",),
        ),
        Form(name="litert", suffix=".tflite", runtime="ai_edge_litert", writes=()),
    )
}


def form_of(path: Path) -> Form | None:
    """The format of a file by its suffix; None for Keras's own and for no format."""
    return next((form for form in FORMS.values() if form.suffix == path.suffix), None)


def check_forms(names: Sequence[str], precisions: Sequence[str] = ()) -> list[Form]:
    """The formats of these names beside Keras's own, each once, if all can be written here.

    Args:
        names: Of formats.
        precisions: Less than float32 in which they are asked for, too.

    Raises:
        UsageError: If one is unknown, or something that it needs is not installed.
    """
    known = (*_BY_KERAS, *FORMS)
    if unknown := [name for name in names if name not in known]:
        do = f"write {', '.join(known[:-1])} or {known[-1]}"
        raise UsageError(f"--format '{unknown[0]}' is no format of a model", do=do)
    forms = [FORMS[name] for name in dict.fromkeys(names) if name in FORMS]
    if odd := [name for name in precisions if name not in PRECISIONS]:
        do = "write fp16 or int8; float32 is always written"
        raise UsageError(f"--precision '{odd[0]}' is no precision of a format", do=do)
    if precisions and not forms:
        do = f"name one, too: --format {next(iter(FORMS))}"
        raise UsageError("--precision is of a format, and none is named that has one", do=do)
    for form in forms:
        quantizes = form.quantizes if "int8" in precisions else ()
        check_installed(form, (form.runtime, *form.writes, *quantizes))
    return forms


def check_installed(form: Form, modules: Sequence[str] = ()) -> None:
    """Refuse a format whose runtime, or other modules that are named, are not here.

    Raises:
        UsageError: Naming them and the command that installs them.
    """
    missing = [module for module in modules or (form.runtime,) if find_spec(module) is None]
    if missing:
        what = f"the format {form.name} needs {' and '.join(missing)}, which is not installed"
        raise UsageError(what, do=form.install)
