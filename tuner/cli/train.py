"""``tuner export`` and ``tuner train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tuner.cli.run import fill_features, find_weights, print_problems, start_device
from tuner.cli.terminal import command, make_console, title
from tuner.errors import UsageError
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
from tuner.search.folder import StudyFolder, create_study_folder, find_study
from tuner.search.session import Opened, read_images, split_images

if TYPE_CHECKING:
    from tuner.features.source import FeatureSource
    from tuner.search.inputs import SearchInputs


def export_study(study: str, *, output: Path, trial: int | None, home: Path | None) -> None:
    """Write the winner's configuration, or that of a trial."""
    folder = find_study(Home.find(home), Path(study).stem)
    record = choose_record(folder, trial=trial)
    write_export(build_export(folder, record), output)
    console = make_console(is_result=True)
    console.print(
        f"{escape(title(record))}  {escape(str(record.params))}  "
        f"{folder.config.objective.metric} {record.value:.3f} on the validation folds"
    )
    if record.kind == "baseline":
        console.print("the winner is a baseline: no trial did better on the validation folds")
    console.print(f"written to {escape(str(output))}")
    words = ["--home", str(home)] if home else []
    line = command("tuner", "train", output, *words)
    console.print(f"  [dim]train[/dim] {escape(line)}", soft_wrap=True)


def train_export(
    path: Path, *, data: str | None, output: Path | None, opens_test: bool, home: Path | None
) -> None:
    """Train an exported configuration again, check it, and write the model."""
    target = output or path.with_suffix(".keras")
    if target.suffix != ".keras":
        raise UsageError(f"'{target}' does not end in .keras", do="name the model FILE.keras")
    export = load_export(path)
    if data is not None:
        images = export.config.data.model_copy(update={"source": data, "root": None})
        config = export.config.model_copy(update={"data": images})
        export = Export(config, export.params, export.record)
    console = make_console(is_result=False)
    at = Home.find(home)
    device = start_device(console, export.config)
    _, weights = find_weights(export.config, console)
    opened, is_same = _open_data(export, at, console)

    from tuner.features.source import open_features
    from tuner.search.inputs import load_inputs

    source = open_features(export.config, at, weights=weights, device=device)
    fill_features(source, opened, console)
    inputs = load_inputs(
        export.config,
        opened.folder.images,
        source.bank,
        class_names=opened.index.class_names,
    )
    _train(export, inputs, opened, source, target, is_same=is_same, opens_test=opens_test)


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
    from tuner.retrain import fresh_plan, recorded_plan, train_final, train_folds_again

    console, results = make_console(is_result=False), make_console(is_result=True)
    with console.status("training the folds again"):
        folds = train_folds_again(export, inputs)
    _say_reproduction(export, np.array(folds.matrix), results, is_same=is_same)
    plan = recorded_plan(export) if is_same else fresh_plan(folds)
    with console.status(f"training on all {len(inputs.labels):,} non-test images"):
        head = train_final(export, inputs, plan)
    results.print(
        f"final head: {plan.epochs} epochs on {len(inputs.labels):,} images "
        f"and their views, {inputs.n_classes} classes"
    )
    worst = _write_model(export, head, opened, source, target)
    results.print(f"model written to {escape(str(target))}")
    results.print(f"  reloaded; on real files its probabilities differ by at most {worst:.4f}")
    if opens_test:
        _open_test(export, head, opened, source, results, target=target)


def _say_reproduction(export: Export, matrix: Any, results: Console, *, is_same: bool) -> None:
    found = compare_matrices(export.matrix, matrix)
    numbers = f"macro recall {found.found:.4f}, recorded {found.recorded:.4f}"
    if not is_same:
        results.print(f"other images or folds than the export's: {numbers}")
    elif found.is_exact:
        results.print(f"reproduced: the out-of-fold confusion matrix is the same; {numbers}")
    else:
        results.print(
            f"not bit for bit (another machine, backend or version): {numbers}, "
            f"difference {found.found - found.recorded:+.4f}, "
            f"standard error {found.standard_error:.4f}"
        )
        if found.is_suspicious:
            results.print("[yellow]! the difference is above three standard errors[/yellow]")


def _open_data(export: Export, home: Home, console: Console) -> tuple[Opened, bool]:
    """The images and folds to train on, and whether they are those of the export."""
    from tuner.data.split import split_fingerprint

    with console.status("reading images"):
        index = read_images(export.config, home)
    check_classes(export, index)
    print_problems(index.problems, console)
    split = split_images(export.config, index)
    is_same = same_data(export, index, split_fingerprint(split, index.sha256))
    folder = StudyFolder(home.studies / export.config.name)
    if not (is_same and folder.exists):
        # The seal lives with the study; on another machine or other images it needs a place.
        suffix = "" if is_same else f"@{index.fingerprint[:12]}"
        folder = StudyFolder(home.studies / f"{export.config.name}{suffix}")
        if not folder.exists:
            create_study_folder(folder, export.config, index, split, about={})
    return Opened(export.config, folder, index, is_new=False), is_same


def _write_model(
    export: Export, head: Any, opened: Opened, source: FeatureSource, target: Path
) -> float:
    """Write the model, read it back, and compare it on real files."""
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
    save_model(model, target, card=card)
    rows = images.search_rows
    chosen = rows[np.linspace(0, len(rows) - 1, min(16, len(rows))).astype(int)]
    keys = [view_key(images.sha256[i], 0, augmentation=config.augmentation) for i in chosen]
    return check_model(
        keras.saving.load_model(target),
        head_probabilities(head, source.bank.read(keys)),
        [opened.index.root / images.paths[i] for i in chosen],
    )


def _open_test(
    export: Export,
    head: Any,
    opened: Opened,
    source: FeatureSource,
    results: Console,
    *,
    target: Path,
) -> None:
    """Record the opening, then score the sealed test."""
    from tuner.features.extract import ViewOf
    from tuner.features.views import view_key
    from tuner.retrain import test_matrix

    images = opened.folder.images
    times = opened.folder.open_seal(command=command("tuner", "train", "--open-test", target))
    rows = np.flatnonzero(images.fold < 0)
    root, augmentation = opened.index.root, export.config.augmentation
    source.fill([ViewOf(root / images.paths[i], images.sha256[i], 0) for i in rows])
    keys = [view_key(images.sha256[i], 0, augmentation=augmentation) for i in rows]
    names = opened.index.class_names
    matrix = test_matrix(head, source.bank.read(keys), images.labels[rows], n_classes=len(names))
    results.print(test_table(matrix, names))
    results.print(f"sealed test, opened {times} time{'s' if times > 1 else ''}; recorded")


def test_table(matrix: Any, class_names: Any) -> Table:
    """Recall of each class on the sealed test, as k of n."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("class")
    table.add_column("recall", justify="right")
    table.add_column("found", justify="right")
    support = matrix.sum(axis=1)
    for k, name in enumerate(class_names):
        table.add_row(
            escape(name), f"{matrix[k, k] / support[k]:.2f}", f"{matrix[k, k]} of {support[k]}"
        )
    recall = float((np.diag(matrix) / support).mean())
    table.add_row("macro recall", f"{recall:.3f}", "", style="bold")
    return table
