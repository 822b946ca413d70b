"""What ``tuner predict`` writes: class and probabilities of each image, as CSV or JSON."""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tuner.cli.show.terminal import make_console, say, warn
from tuner.errors import DataError, UsageError
from tuner.text import command, printable

if TYPE_CHECKING:
    from rich.console import Console

    from tuner.model.predict import Classifier, Prediction


def write_predictions(
    model: Path, images: Sequence[str], *, as_json: bool, output: Path | None
) -> None:
    """Classify files, print what was found, name what could not be read.

    Raises:
        UsageError: If there is no such model, or nothing can be written at `output`.
        DataError: At the end, if a file could not be read.
    """
    console = make_console(is_result=False)
    if not model.is_file():
        kind = "is no file" if model.exists() else "does not exist"
        do = "name the file that `tuner train` wrote"
        raise UsageError(f"model '{printable(str(model))}' {kind}", do=do)
    if output is not None:
        _check_target(output)
    from tuner.model.predict import list_images, predict_files

    classifier = _load(model, console)
    files, missing, notes = list_images(images)
    for note in notes:
        warn(console, note)
    faults: list[str] = []
    n_found, began = 0, time.perf_counter()

    def readable() -> Iterator[Prediction]:
        nonlocal n_found
        for prediction in chain(missing, predict_files(classifier, files)):
            if prediction.probabilities is not None:
                n_found += 1
                yield prediction
            else:
                faults.append(prediction.path)
                warn(console, f"{prediction.path}: {prediction.reason}")

    write = _write_json if as_json else _write_csv
    if output is None:
        write(readable(), classifier, sys.stdout)
    else:
        # A name that is no text is shown with a mark, as on stdout.
        with output.open("w", encoding="utf-8", errors="replace", newline="") as stream:
            write(readable(), classifier, stream)
    took = time.perf_counter() - began
    say(console, f"{n_found:,} images in {took:.1f} s, {n_found / took:.3g} a second")
    if faults:
        n_all = len(files) + len(missing)
        what = f"{len(faults)} of {n_all} could not be read; the others are classified"
        raise DataError(what, do="replace or remove those that are named above")


def _load(model: Path, console: Console) -> Classifier:
    """The model, in Keras or in the runtime of its format."""
    from tuner.model.predict import load_classifier

    with console.status("loading the model"):
        return load_classifier(model)


def _check_target(output: Path) -> None:
    """Refuse a file that could not be written, before anything takes time."""
    if output.is_dir():
        do = f"name a file in it: -o {command(output / 'classes.csv')}"
        raise UsageError(f"'{printable(str(output))}' is a folder", do=do)
    folder = output.parent
    if not folder.is_dir():
        kind = "is no folder" if folder.exists() else "does not exist"
        do = f"make it first: {command('mkdir', '-p', folder)}"
        raise UsageError(f"the folder of '{printable(str(output))}' {kind}", do=do)
    if not os.access(output if output.exists() else folder, os.W_OK):
        raise UsageError(f"'{printable(str(output))}' may not be written", do="choose another -o")


def _write_csv(found: Iterable[Prediction], classifier: Classifier, stream: IO[str]) -> None:
    """One line per image, written as soon as it is known."""
    names, word = classifier.class_names, classifier.answers
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["path", "class", word, *(f"{word}/{name}" for name in names)])
    for prediction in found:
        path, best, value, each = _row(prediction, classifier).values()
        writer.writerow([path, best, f"{value:.6f}", *(f"{p:.6f}" for p in each.values())])
        stream.flush()


def _write_json(found: Iterable[Prediction], classifier: Classifier, stream: IO[str]) -> None:
    json.dump([_row(p, classifier) for p in found], stream, indent=1, ensure_ascii=False)
    stream.write("\n")


def _row(prediction: Prediction, classifier: Classifier) -> dict[str, Any]:
    """Path, class, its probability or score, and those of all classes, in this order."""
    names, word = classifier.class_names, classifier.answers
    answers = [] if prediction.probabilities is None else prediction.probabilities.tolist()
    best = max(range(len(names)), key=answers.__getitem__)
    several = {"probability": "probabilities", "score": "scores"}[word]
    return {
        "path": prediction.path,
        "class": names[best],
        word: answers[best],
        several: dict(zip(names, answers, strict=True)),
    }
