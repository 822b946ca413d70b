"""``tuner export`` and ``tuner train``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from tuner.cli.run import (
    fill_features,
    find_weights,
    home_words,
    print_problems,
    start_device,
)
from tuner.cli.studies import find_named
from tuner.cli.tables import openings, sealed_table, title
from tuner.cli.terminal import command, make_console, say, say_step, warn
from tuner.errors import DataError, ExportError, UsageError
from tuner.export import (
    Export,
    build_export,
    check_classes,
    choose_record,
    compare_matrices,
    load_export,
    same_data,
    write_export,
)
from tuner.home import Home
from tuner.search.adjusted import tau_of
from tuner.search.folder import StudyFolder, create_study_folder
from tuner.search.records import Record
from tuner.search.session import (
    NEAR_DUPLICATES,
    Opened,
    is_grouped,
    read_images,
    split_images,
    with_groups,
)

_LARGEST_TAU = 10

if TYPE_CHECKING:
    from tuner.features.source import FeatureSource
    from tuner.search.inputs import SearchInputs


def export_study(
    study: str, *, output: Path, trial: int | None, tau: str | None, home: Path | None
) -> None:
    """Write the chosen configuration, or that of a trial."""
    folder = find_named(study, Home.find(home))
    record = choose_record(folder, trial=trial)
    strength = _tau(tau, folder, record)
    content = build_export(folder, record, tau=strength)
    write_export(content, output)
    console = make_console(is_result=True)
    value = f"{folder.config.objective.metric} {record.value:.3f} on the validation folds"
    say(console, f"{title(record)}  {record.params}  {value}")
    if trial is None and record.kind == "baseline":
        where = "fresh splits" if content["confirmation"]["is_chosen"] else "the validation folds"
        say(console, f"this is a baseline: no trial did better on {where}")
    if strength is not None:
        say(console, f"logit adjustment with tau {strength:g}: the model will hold it")
    if verdict := content["confirmation"]["verdict"]:
        say(console, verdict)
    else:
        say_step(console, "confirm", command("tuner", "confirm", folder.name, *home_words(home)))
    say(console, f"written to {output}")
    say_step(console, "train", command("tuner", "train", output, *home_words(home)))


def _tau(text: str | None, folder: StudyFolder, record: Record) -> float | None:
    """The strength of the logit adjustment that ``--tau`` asks for."""
    if text is None:
        return None
    if text == "tuned":
        return tau_of(folder, record)
    try:
        tau = float(text)
    except ValueError:
        tau = float("nan")
    if not 0 <= tau <= _LARGEST_TAU:
        do = f"write a number from 0 to {_LARGEST_TAU}, 1 for instance, or 'tuned'"
        raise UsageError(f"--tau '{text}' is not a strength of logit adjustment", do=do)
    return tau


def train_export(
    path: Path, *, data: str | None, output: Path | None, opens_test: bool, home: Path | None
) -> None:
    """Train an exported configuration again, check it, and write the model."""
    at = Home.find(home)
    target = output or path.with_suffix(".keras")
    export = _with_images(_load(path, at), data)
    _check_target(target)
    console = make_console(is_result=False)
    device = start_device(console, export.config)
    _, weights = find_weights(export.config, console)

    from tuner.features.source import open_features
    from tuner.search.inputs import load_inputs

    source = open_features(export.config, at, weights=weights, device=device)
    opened, is_same = _open_data(export, at, console, source=source)
    fill_features(source, opened, console)
    inputs = load_inputs(
        export.config,
        opened.folder.images,
        source.bank,
        class_names=opened.index.class_names,
    )
    _train(export, inputs, opened, source, target, is_same=is_same, opens_test=opens_test)


def _load(path: Path, home: Home) -> Export:
    if not path.exists() and StudyFolder(home.studies / str(path)).exists:
        do = f"export it first: {command('tuner', 'export', path, '-o', f'{path}.yaml')}"
        raise UsageError(f"'{path}' is a study, not an exported file", do=do)
    return load_export(path)


def _with_images(export: Export, data: str | None) -> Export:
    """The export with other images than its own, when the user names some."""
    if data is None:
        return export
    changes: dict[str, str | None] = {"source": data, "root": None}
    if not data.lower().endswith(".csv") and export.config.data.group_by != NEAR_DUPLICATES:
        changes["group_by"] = None  # a column of the manifest that the study had
    images = export.config.data.model_copy(update=changes)
    config = export.config.model_copy(update={"data": images})
    return Export(config, export.params, export.record)


def _check_target(path: Path) -> None:
    """Refuse before the training what could not be written after it."""
    if path.suffix != ".keras":
        raise UsageError(f"'{path}' does not end in .keras", do="name the model FILE.keras")
    if path.is_dir():
        do = f"name a file in it: -o {command(path / 'model.keras')}"
        raise UsageError(f"'{path}' is a folder", do=do)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        what = f"the model cannot be written there: {error.strerror or error}"
        do = "choose another place with -o"
        raise ExportError(what, where=str(path), do=do) from error


def _train(
    export: Export,
    inputs: SearchInputs,
    opened: Opened,
    source: FeatureSource,
    target: Path,
    *,
    is_same: bool,
    opens_test: bool,
) -> None:
    """The folds as a check, the final head, the model, and the test only when asked."""
    from tuner.retrain import (
        adjusted_head,
        fresh_plan,
        recorded_plan,
        train_final,
        train_folds_again,
    )

    console, results = make_console(is_result=False), make_console(is_result=True)
    with console.status("training the folds again"):
        folds = train_folds_again(export, inputs)
    _say_reproduction(export, np.array(folds.matrix), results, is_same=is_same)
    plan = recorded_plan(export) if is_same else fresh_plan(folds)
    with console.status(f"training on all {len(inputs.labels):,} non-test images"):
        head = adjusted_head(train_final(export, inputs, plan), export.adjustment)
    views = " and views of them" if export.params.augmentation_multiplier else ""
    images = f"{len(inputs.labels):,} images{views}, {inputs.n_classes} classes"
    say(results, f"final head: {plan.epochs} epochs on {images}")
    with console.status("writing the model and reading it back"):
        worst = _write_model(export, head, opened, source, target)
    say(results, f"model written to {target}")
    say(results, f"  read back; on real files its probabilities differ by at most {worst:.4f}")
    if opens_test:
        _open_test(export, head, opened, source, results)


def _say_reproduction(export: Export, matrix: Any, results: Console, *, is_same: bool) -> None:
    found = compare_matrices(export.matrix, matrix)
    numbers = f"macro recall {found.found:.4f}, recorded {found.recorded:.4f}"
    if not is_same:
        say(results, f"other images or folds than the export's: {numbers}")
    elif found.is_exact:
        say(results, f"reproduced: the out-of-fold confusion matrix is the same; {numbers}")
    else:
        say(
            results,
            f"not bit for bit (another machine, backend or version): {numbers}, "
            f"difference {found.found - found.recorded:+.4f}, "
            f"standard error {found.standard_error:.4f}",
        )
        if found.is_suspicious:
            warn(results, "the difference is above three standard errors")


def _open_data(
    export: Export, home: Home, console: Console, *, source: FeatureSource
) -> tuple[Opened, bool]:
    """The images and folds to train on, and whether they are those of the export."""
    from tuner.cli.twins import group_near_duplicates
    from tuner.data.split import split_fingerprint

    try:
        with console.status("reading images"):
            index = read_images(export.config, home)
    except DataError as error:
        do = f"{error.do}, with --data" if error.do else "name the images with --data"
        raise type(error)(error.what, where=error.where, do=do) from error
    check_classes(export, index)
    print_problems(index.problems, console)
    folder = StudyFolder(home.studies / export.config.name)
    index = with_groups(export.config, index, folder)
    if not is_grouped(export.config, index):
        index = group_near_duplicates(source, index, console)
    split = split_images(export.config, index)
    fingerprint = split_fingerprint(split, index.sha256)
    is_same = same_data(export, index, fingerprint)
    # The seal lives with the study; other images, and other machines, need a place for it.
    if not is_same or (folder.exists and not _holds(folder, index.fingerprint, fingerprint)):
        place = f"{export.config.name}@{index.fingerprint[:8]}{fingerprint[:8]}"
        folder = StudyFolder(home.studies / place)
    if not folder.exists:
        create_study_folder(folder, export.config, index, split, about={})
    return Opened(export.config, folder, index, is_new=False), is_same


def _holds(folder: StudyFolder, data_fingerprint: str, split_fingerprint: str) -> bool:
    about = folder.about
    return bool(
        about["data_fingerprint"] == data_fingerprint
        and about["split_fingerprint"] == split_fingerprint
    )


def _write_model(
    export: Export, head: Any, opened: Opened, source: FeatureSource, target: Path
) -> float:
    """Write the model, once its file was read back and agreed with the head on real images."""
    import keras

    from tuner.features.views import view_key
    from tuner.retrain import check_model, head_probabilities
    from tuner.training.model import build_model, save_model

    config, images = export.config, opened.folder.images
    model = build_model(
        head,
        source.weights,
        image_px=config.data.image_px,
        dropout=config.training.dropout,
        precision=config.backbone.precision,
        name="tuner_model",
    )
    card = {
        "class_names": list(opened.index.class_names),
        "image_px": config.data.image_px,
        "input": "uint8 RGB pixels, (batch, height, width, 3), any size",
        "output": "probabilities, (batch, n_classes), in the order of class_names",
        "export": export.record,
        "trained_on": opened.index.fingerprint,
    }
    rows = images.search_rows
    chosen = rows[np.linspace(0, len(rows) - 1, min(16, len(rows))).astype(int)]
    keys = [view_key(images.sha256[i], 0, augmentation=config.augmentation) for i in chosen]
    expected = head_probabilities(head, source.bank.read(keys))
    files = [opened.index.root / images.paths[i] for i in chosen]
    worst: list[float] = []

    def check(path: Path) -> None:
        loaded = keras.saving.load_model(path)
        worst.append(check_model(loaded, expected, files, config=config))

    save_model(model, target, card=card, check=check)
    return worst[0]


def _open_test(
    export: Export,
    head: Any,
    opened: Opened,
    source: FeatureSource,
    results: Console,
) -> None:
    """Record the opening, then score the sealed test."""
    from tuner.features.extract import ViewOf
    from tuner.features.views import view_key
    from tuner.retrain import test_matrix

    images = opened.folder.images
    times = opened.folder.open_seal(command=command("tuner", *sys.argv[1:]))
    rows = np.flatnonzero(images.fold < 0)
    root, augmentation = opened.index.root, export.config.augmentation
    source.fill([ViewOf(root / images.paths[i], images.sha256[i], 0) for i in rows])
    keys = [view_key(images.sha256[i], 0, augmentation=augmentation) for i in rows]
    names = opened.index.class_names
    matrix = test_matrix(head, source.bank.read(keys), images.labels[rows], n_classes=len(names))
    results.print(sealed_table(matrix, names))
    say(results, f"sealed test, {openings(times)}; recorded")
    if times > 1:
        warn(results, "numbers of a test that is opened again and again grow too good")
