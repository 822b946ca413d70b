"""``tuner export`` and ``tuner train``."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich.console import Console

from tuner.cli.commands.model_files import Trained, hand_over, write_trained
from tuner.cli.commands.run import (
    fill_features,
    find_weights,
    home_words,
    live_source,
    print_problems,
    start_device,
)
from tuner.cli.commands.studies import find_named
from tuner.cli.show.tables import openings, sealed_table, title
from tuner.cli.show.terminal import command, make_console, say, say_step, warn
from tuner.errors import DataError, ExportError, UsageError
from tuner.home import Home
from tuner.home.founding import (
    NEAR_DUPLICATES,
    Opened,
    is_grouped,
    read_images,
    split_images,
    with_groups,
)
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder, create_study_folder
from tuner.model.export import (
    Export,
    build_export,
    check_classes,
    choose_record,
    compare_matrices,
    load_export,
    same_data,
    write_export,
)
from tuner.training.adjusted import tau_of

_LARGEST_TAU = 10

if TYPE_CHECKING:
    from tuner.features.source import FeatureSource
    from tuner.training.bank.steps import HeadWeights
    from tuner.training.inputs import Inputs
    from tuner.training.plan import Plan


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


@dataclass(frozen=True)
class TrainOptions:
    """What the user wrote after ``tuner train``.

    Attributes:
        is_live: On images or on the bank; None for what the study did.
        stage: First stage of the backbone to fine-tune.
        register: Name in MLflow's registry.
        form: "keras" or, beside that file, "saved_model".
    """

    config: Path
    data: str | None = None
    output: Path | None = None
    opens_test: bool = False
    is_live: bool | None = None
    stage: str | None = None
    register: str | None = None
    tracking_uri: str | None = None
    form: str = "keras"
    home: Path | None = None

    @property
    def target(self) -> Path:
        """Where the model is written."""
        return self.output or self.config.with_suffix(".keras")


def train_export(options: TrainOptions) -> None:
    """Train an exported configuration again, check it, and write the model."""
    at, path = Home.find(options.home), options.config
    if options.form not in ("keras", "saved_model"):
        do = "write keras or saved_model"
        raise UsageError(f"--format '{options.form}' is no format of a model", do=do)
    export = _with_images(_load(path, at), options.data)
    recorded_mode = export.config.training.mode
    export = _with_mode(export, options.is_live)
    _check_target(options.target)
    console = make_console(is_result=False)
    device = start_device(console, export.config)
    _, weights = find_weights(export.config, console)

    from tuner.features.source import open_features
    from tuner.model.fine_tune import check_stage
    from tuner.training.inputs import load_inputs

    check_stage(options.stage)

    source = open_features(export.config, at, weights=weights, device=device)
    opened, is_same = _open_data(export, at, console, source=source)
    fill_features(source, opened, console)
    inputs = load_inputs(
        export.config,
        opened.folder.images,
        source.bank,
        class_names=opened.index.class_names,
        live=live_source(source, opened, console),
    )
    unlike = "" if is_same else "other images or folds than the export's"
    if recorded_mode != export.config.training.mode:
        unlike = f"trained otherwise than the study ({recorded_mode})"
    _train(export, inputs, opened, source, options, unlike=unlike)


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


def _with_mode(export: Export, is_live: bool | None) -> Export:
    """The export with another way of training than its study's, when the user names one."""
    if is_live is None:
        return export
    mode: Literal["bank", "live"] = "live" if is_live else "bank"
    training = export.config.training.model_copy(update={"mode": mode})
    config = export.config.model_copy(update={"training": training})
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
    inputs: Inputs,
    opened: Opened,
    source: FeatureSource,
    options: TrainOptions,
    *,
    unlike: str,
) -> None:
    """The folds as a check, the final head, the model, and the test only when asked."""
    from tuner.model.reproduce import (
        adjusted_head,
        adjusted_matrix,
        fresh_plan,
        recorded_plan,
        train_folds_again,
    )

    console, results = make_console(is_result=False), make_console(is_result=True)
    with console.status("training the folds again"):
        folds = train_folds_again(export, inputs)
    _say_reproduction(export, np.array(folds.matrix), results, unlike=unlike)
    plan = fresh_plan(folds) if unlike else recorded_plan(export)
    with console.status(f"training on all {len(inputs.labels):,} non-test images"):
        trained, backbone = _train_final(export, inputs, plan, source, opened, options)
    head = adjusted_head(trained, export.adjustment)
    matrix = adjusted_matrix(folds, inputs.labels, export.adjustment)
    model = Trained(head, backbone, matrix, options.stage)
    views = " and views of them" if export.params.augmentation_multiplier else ""
    images = f"{len(inputs.labels):,} images{views}, {inputs.n_classes} classes"
    say(results, f"final head: {plan.epochs} epochs on {images}")
    if options.stage:
        from tuner.model.fine_tune import FINE_TUNE_EPOCHS

        say(results, f"backbone fine-tuned from {options.stage} on, {FINE_TUNE_EPOCHS} epochs")
    with console.status("writing the model and reading it back"):
        worst = write_trained(export, model, opened, source, options.target)
    say(results, f"model written to {options.target}")
    say(results, f"  read back; on real files its probabilities differ by at most {worst:.4f}")
    hand_over(
        options.target,
        opened,
        results,
        form=options.form,
        register=options.register,
        tracking_uri=Home.find(options.home).resolve_tracking_uri(options.tracking_uri),
        artifacts=Home.find(options.home).artifacts,
    )
    if options.opens_test:
        _open_test(export, model, opened, source, results)


def _train_final(
    export: Export,
    inputs: Inputs,
    plan: Plan,
    source: FeatureSource,
    opened: Opened,
    options: TrainOptions,
) -> tuple[HeadWeights, Any]:
    """The final head, and the backbone where it is another than its weights'."""
    from tuner.features.backbone import build_backbone
    from tuner.model.fine_tune import train_final_live
    from tuner.model.reproduce import train_final
    from tuner.training.inputs import LiveSource, with_live

    if options.stage is None:
        train = train_final if inputs.live is None else train_final_live
        return train(export, inputs, plan), None
    head = None
    if inputs.live is None:
        head = train_final(export, inputs, plan)
        backbone = build_backbone(source.weights, precision=export.config.backbone.precision)
        place = LiveSource(opened.index.root, backbone)
        inputs = with_live(inputs, place, opened.folder.images, config=export.config)
    head = train_final_live(export, inputs, plan, head=head, stage=options.stage)
    return head, inputs.live.backbone if inputs.live else None


def _say_reproduction(export: Export, matrix: Any, results: Console, *, unlike: str) -> None:
    found = compare_matrices(export.matrix, matrix)
    numbers = f"macro recall {found.found:.4f}, recorded {found.recorded:.4f}"
    if unlike:
        say(results, f"{unlike}: {numbers}")
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
    from tuner.cli.commands.twins import group_near_duplicates
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


def _open_test(
    export: Export,
    model: Trained,
    opened: Opened,
    source: FeatureSource,
    results: Console,
) -> None:
    """Record the opening, then score the sealed test."""
    from tuner.features.extract import ViewOf
    from tuner.model.reproduce import test_matrix

    images = opened.folder.images
    times = opened.folder.open_seal(command=command("tuner", *sys.argv[1:]))
    rows = np.flatnonzero(images.fold < 0)
    root, names = opened.index.root, opened.index.class_names
    if model.backbone is None:
        source.fill([ViewOf(root / images.paths[i], images.sha256[i], 0) for i in rows])
    features = model.features(export.config, opened, source, rows)
    matrix = test_matrix(model.head, features, images.labels[rows], n_classes=len(names))
    results.print(sealed_table(matrix, names))
    say(results, f"sealed test, {openings(times)}; recorded")
    if times > 1:
        warn(results, "numbers of a test that is opened again and again grow too good")
