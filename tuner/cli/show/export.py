"""What ``tuner export`` and ``tuner train`` print of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tuner.cli.options import home_words
from tuner.cli.show.tables import openings, sealed_table
from tuner.cli.show.terminal import make_console, say, say_step, warn
from tuner.errors import UsageError
from tuner.study import Export, Model, Study
from tuner.text import command


def print_export(export: Export, study: Study, *, home: Path | None, is_chosen: bool) -> None:
    """What was exported, what is known of it, and the commands that follow.

    Args:
        export: The configuration, in its file.
        study: Of which it is.
        home: As the user gave it.
        is_chosen: Whether it is the study's own choice, not a trial that the user named.
    """
    console, content = make_console(is_result=True), export.content.record
    record = next(r for r in study.folder.records() if r.name == content["study"]["record"])
    value = f"{study.config.objective.metric} {record.value:.3f} on the validation folds"
    say(console, f"{record.title}  {record.params}  {value}")
    confirmation = content["confirmation"]
    if is_chosen and record.kind == "baseline":
        where = "fresh splits" if confirmation["is_chosen"] else "the validation folds"
        say(console, f"this is a baseline: no trial did better on {where}")
    if content["adjustment"] is not None:
        tau = content["adjustment"]["tau"]
        say(console, f"logit adjustment with tau {tau:g}: the model will hold it")
    if verdict := confirmation["verdict"]:
        say(console, verdict)
    else:
        words = ["tuner", "confirm", study.name, *home_words(home)]
        say_step(console, "confirm", command(*words))
    if leak := study.leak:
        warn(console, leak)
    say(console, f"written to {export.path}")
    say_step(console, "train", command("tuner", "train", export.path, *home_words(home)))


def print_model(model: Model) -> None:
    """How to use it, and what it found in the sealed test where that was opened."""
    console = make_console(is_result=True)
    say_step(console, "predict", command("tuner", "predict", model.path, "IMAGES"))
    if model.test is None:
        return
    console.print(sealed_table(model.test.matrix, model.test.class_names))
    say(console, f"sealed test, {openings(model.test.opening)}; recorded")
    if model.test.opening > 1:
        warn(console, "numbers of a test that is opened again and again grow too good")


def export_model(
    model: str, formats: Sequence[str], *, images: Sequence[str], of_study: Mapping[str, object]
) -> None:
    """Write a model's other formats, and say how they are used.

    Args:
        model: The ``.keras`` file.
        formats: Their names.
        images: To compare on.
        of_study: What belongs to a study's export only, by the name of its option.

    Raises:
        UsageError: If there is no such model, nothing is asked for, or what is only a study's.
        ExportError: If a format cannot be written or answers otherwise than Keras.
    """
    from tuner.cli.show.listener import TerminalListener

    if odd := [name for name, value in of_study.items() if value is not None]:
        do = "formats are written beside the model"
        raise UsageError(f"{odd[0]} is for the export of a study, and '{model}' is a model", do=do)
    if not formats:
        do = f"name one: {command('tuner', 'export', model, '--format', 'onnx')}"
        raise UsageError(f"'{model}' is a model, and no --format is named", do=do)
    with TerminalListener() as listener:
        files = Model(Path(model)).export(formats, images=images, listener=listener)
    console = make_console(is_result=True)
    for file in files:
        if file.is_file():
            say_step(console, "predict", command("tuner", "predict", file, "IMAGES"))


def refuse_formats(formats: object) -> None:
    """Refuse formats of a configuration, which has none.

    Raises:
        UsageError: If some are named.
    """
    if formats:
        do = "tuner train best.yaml --format onnx, or: tuner export best.keras --format onnx"
        raise UsageError("--format and --images are for models, and a study is no model", do=do)
