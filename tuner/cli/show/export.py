"""What ``tuner export`` and ``tuner train`` print of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuner.cli.options import home_words
from tuner.cli.show.tables import openings, plain_table, sealed_table
from tuner.cli.show.terminal import make_console, say, say_step, short_names, warn
from tuner.errors import UsageError
from tuner.study import Export, Model, Study
from tuner.text import command, recall_words

_CLASSES_SHOWN = 12


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
    if decision := content.get("decision"):
        _print_decision(decision, console)
    if verdict := confirmation["verdict"]:
        say(console, verdict)
    else:
        words = ["tuner", "confirm", study.name, *home_words(home)]
        say_step(console, "confirm", command(*words))
    if leak := study.leak:
        warn(console, leak)
    say(console, f"written to {export.path}")
    say_step(console, "train", command("tuner", "train", export.path, *home_words(home)))


def _print_decision(decision: Mapping[str, Any], console: Console) -> None:
    """A rule, what it changes out of fold, and what the sealed test said of it."""
    n = f"{decision['n_images']:,}"
    over = "groups of images" if decision["has_groups"] else "images"
    say(console, f"decision rule fitted to {n} out-of-fold predictions; the model will hold it")
    console.print(decision_table(decision))
    say(
        console,
        f"with the rule: each fold decided as fitted to the others; 95 % intervals over {over}",
    )
    if tested := decision["sealed_test"]:
        say(console, tested["sentence"])
    else:
        say(console, "the rule is not confirmed: tuner confirm with the same costs and floors")


def decision_table(decision: Mapping[str, Any]) -> Table:
    """Cost and recalls without and with a rule; classes with floors first, then the rarest."""
    before, after, table = decision["before"], decision["after"], plain_table()
    table.add_column("")
    for head in ("floor", "largest probability", "decision rule"):
        table.add_column(head, justify="right")
    if after["cost"]:
        cells = [f"{c['value']:.3g} ({c['low']:.3g} to {c['high']:.3g})" for c in _costs(decision)]
        table.add_row("cost an image", "", *cells, style="bold")
    means = [f"{part['macro_recall']:.3f}" for part in (before, after)]
    table.add_row("macro recall", "", *means)
    names = short_names([row["class"] for row in after["recall"]], 28)
    rows = sorted(
        zip(names, before["recall"], after["recall"], strict=True),
        key=lambda row: ("floor" not in row[2], row[2]["of"]),
    )
    for name, *parts in rows[:_CLASSES_SHOWN]:
        floor = f"{parts[1]['floor']:g}" if "floor" in parts[1] else ""
        table.add_row(Text(name), floor, *(recall_words(part) for part in parts))
    if len(rows) > _CLASSES_SHOWN:
        table.add_row(f"… {len(rows) - _CLASSES_SHOWN} more frequent classes: the model card")
    return table


def _costs(decision: Mapping[str, Any]) -> list[Mapping[str, float]]:
    return [decision["before"]["cost"], decision["after"]["cost"]]


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
