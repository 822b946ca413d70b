"""``tuner run``: from a study file to finished trials."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from tuner.cli.terminal import (
    TrialLines,
    class_table,
    command,
    extraction_bar,
    make_console,
    result_table,
    title,
)
from tuner.config import StudyConfig, dump_study, load_study, parse_study
from tuner.errors import WeightsError
from tuner.home import Home

if TYPE_CHECKING:
    from tuner.features.device import Device
    from tuner.features.source import FeatureSource
    from tuner.features.weights_source import ResolvedWeights
    from tuner.search.recorder import Recorder
    from tuner.search.records import Record
    from tuner.search.session import Opened
    from tuner.tracking.mlflow_recorder import MlflowRecorder


def load_config(study: str, overrides: Sequence[str], home: Home) -> StudyConfig:
    """The study in a file, or the stored one of that name."""
    path = Path(study)
    if path.suffix in (".yaml", ".yml") or path.exists() or "/" in study:
        return load_study(path, overrides=overrides)
    from tuner.search.folder import find_study

    stored = find_study(home, study).config
    return parse_study(dump_study(stored), source=f"study '{study}'", overrides=overrides)


def run_study(
    study: str,
    *,
    overrides: Sequence[str],
    home: Path | None,
    tracking_uri: str | None,
    storage: str | None,
    is_quiet: bool,
    is_demo: bool,
) -> None:
    """Run a study and print its result and the commands that follow."""
    at = Home.find(home)
    config = load_config(study, overrides, at)
    console = make_console(is_result=False, is_quiet=is_quiet)
    from tuner.search.folder import StudyFolder

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with StudyFolder(at.studies / config.name).locked():
            _run(config, at, console, tracking_uri=tracking_uri, storage=storage, is_demo=is_demo)
    except KeyboardInterrupt:
        console.print(
            "\ninterrupted; nothing finished is lost. Go on with:\n  "
            + command("tuner", "run", study, *_home_words(home))
        )
        raise
    uri = resolve_tracking_uri(at, tracking_uri)
    _print_result(at, config, study=study, home_option=home, uri=uri)


def _run(
    config: StudyConfig,
    home: Home,
    console: Console,
    *,
    tracking_uri: str | None,
    storage: str | None,
    is_demo: bool,
) -> None:
    """Images, features, search: the flow of a study from top to bottom."""
    device = start_device(console, config)
    config, weights = find_weights(config, console, is_demo=is_demo)
    opened = open_images(config, home, console)
    config = opened.config

    from tuner.features.source import open_features
    from tuner.search.inputs import load_inputs
    from tuner.search.study import open_search, open_storage, run_search

    source = open_features(config, home, weights=weights, device=device)
    fill_features(source, opened, console)
    class_names = opened.index.class_names
    inputs = load_inputs(config, opened.folder.images, source.bank, class_names=class_names)
    lines = TrialLines(
        console, class_names, _search_counts(inputs.labels), n_trials=config.search.trials
    )
    search = open_search(
        open_storage(home, storage),
        config=config,
        inputs=inputs,
        folder=opened.folder,
        recorder=make_recorder(home, tracking_uri, on_trouble=lines.message),
        listener=lines,
        environment={
            "backend": device.backend,
            "device": device.name,
            "precision": config.backbone.precision,
            "weights": weights.source,
        },
    )
    with lines.shown():
        run_search(search)


def start_device(console: Console, config: StudyConfig) -> Device:
    """Find the device, say it, and why a card is not used."""
    from tuner.features.device import find_device

    with console.status("starting the backend"):
        device = find_device()
    console.print(f"[dim]study  [/dim] {escape(config.name)}")
    console.print(f"[dim]device [/dim] {escape(str(device))}, {config.backbone.precision}")
    if device.warning:
        console.print(f"[yellow]! {escape(device.warning)}[/yellow]")
    return device


def find_weights(
    config: StudyConfig, console: Console, *, is_demo: bool = False
) -> tuple[StudyConfig, ResolvedWeights]:
    """Resolve the backbone's weights; only the demo goes on without real ones, loudly."""
    from tuner.features.weights_source import resolve_weights

    def say(sentence: str) -> None:
        console.print(f"[dim]weights[/dim] {escape(sentence)}")

    try:
        weights = resolve_weights(config.backbone.weights, on_progress=say)
    except WeightsError as error:
        if not is_demo:
            raise
        console.print(f"[yellow]{escape(str(error))}[/yellow]")
        console.print(
            "[bold red]NO IMAGENET WEIGHTS: the demo goes on with RANDOM weights; "
            "its numbers say nothing about your data.[/bold red]"
        )
        backbone = config.backbone.model_copy(update={"weights": "random"})
        config = config.model_copy(update={"backbone": backbone})
        weights = resolve_weights("random")
    say(weights.source)
    return config, weights


def open_images(config: StudyConfig, home: Home, console: Console) -> Opened:
    """Read the images, split them or check that nothing changed, and show the class table."""
    from tuner.data.split import Split, small_class_warnings
    from tuner.search.session import open_study, read_images

    with console.status("reading images"):
        index = read_images(config, home)
        opened = open_study(config, index, home)
    images = opened.folder.images
    console.print(
        f"[dim]images [/dim] {index.n_images:,} in {index.n_classes} classes, "
        f"{config.split.folds} folds, sealed test"
    )
    console.print(class_table(index.class_names, images.labels, images.fold))
    print_problems(index.problems, console)
    split = Split(images.fold, config.split.folds)
    for note in (*index.notes, *small_class_warnings(split, images.labels, index.class_names)):
        console.print(f"[yellow]! {escape(note)}[/yellow]")
    return opened


def print_problems(problems: Sequence[Any], console: Console, *, limit: int = 20) -> None:
    """Name the files that were left out, and why."""
    for problem in problems[:limit]:
        console.print(f"[yellow]! left out {escape(problem.path)}: {escape(problem.reason)}")
    if len(problems) > limit:
        console.print(f"[yellow]! and {len(problems) - limit} more; see: tuner check[/yellow]")


def fill_features(source: FeatureSource, opened: Opened, console: Console) -> None:
    """Fill the bank with what the search needs, with progress."""
    from tuner.search.inputs import rows_to_extract

    wanted = rows_to_extract(
        opened.config,
        opened.folder.images,
        opened.index.root,
        n_classes=opened.index.n_classes,
    )
    with extraction_bar(console) as show:
        n_new = source.fill(wanted, on_progress=show)
    for chunk in source.bank.damaged:
        console.print(
            f"[yellow]! {chunk} of the feature bank was damaged; computed again[/yellow]"
        )
    console.print(
        f"[dim]features[/dim] {len(wanted):,} rows of images and views, {n_new:,} computed now"
    )


def make_mirror(home: Home, uri: str, *, on_trouble: Callable[[str], None]) -> MlflowRecorder:
    """The MLflow mirror at a tracking URI; artifacts lie in the home unless a server has them."""
    from tuner.report.figures import confusion_matrix_image
    from tuner.tracking.mlflow_recorder import MlflowRecorder

    return MlflowRecorder(
        uri,
        artifacts=home.artifacts if uri == home.tracking_uri else None,
        draw_confusion_matrix=confusion_matrix_image,
        on_trouble=on_trouble,
    )


def make_recorder(
    home: Home, tracking_uri: str | None, *, on_trouble: Callable[[str], None]
) -> Recorder:
    """The MLflow mirror, kept off the hot path."""
    from tuner.tracking.background import BackgroundRecorder

    uri = resolve_tracking_uri(home, tracking_uri)
    mirror = make_mirror(home, uri, on_trouble=on_trouble)
    return BackgroundRecorder(mirror, on_trouble=on_trouble)


def resolve_tracking_uri(home: Home, given: str | None) -> str:
    """The given server, else ``$MLFLOW_TRACKING_URI``, else the home's own database."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or home.tracking_uri


def _search_counts(labels: Any) -> Any:
    import numpy as np

    return np.bincount(labels)


def _home_words(home: Path | None) -> list[str]:
    return ["--home", str(home)] if home else []


def _print_result(
    home: Home, config: StudyConfig, *, study: str, home_option: Path | None, uri: str
) -> None:
    """The winner beside the baselines, what to think of it, and what to do next."""
    from tuner.search.folder import find_study
    from tuner.search.records import winner

    console = make_console(is_result=True)
    folder = find_study(home, config.name)
    records = folder.records()
    best = winner(records)
    if best is None:
        console.print("no trial has finished; see the reasons above")
        return
    console.print()
    console.print(result_table(records, best, folder.class_names))
    console.print()
    console.print(_caution(best, len([r for r in records if r.kind != "confirm"])))
    words = _home_words(home_option)
    steps = {
        "compare": command("tuner", "ui", config.name, *words),
        "or plain": command("mlflow", "ui", "--backend-store-uri", uri),
        "export": command("tuner", "export", config.name, "-o", "best.yaml", *words),
        "train": command("tuner", "train", "best.yaml", *words),
        "go on": command("tuner", "run", study, "--trials", 2 * config.search.trials, *words),
    }
    for name, line in steps.items():
        console.print(f"  [dim]{name:<9}[/dim] {escape(line)}", soft_wrap=True)


def _caution(best: Record, n_settings: int) -> str:
    """The winner was chosen on the numbers shown; say so beside them."""
    if best.violation:
        return "No setting meets objective.recall_floor; the least violating one is shown."
    if best.kind == "baseline":
        return (
            f"The winner is a baseline: none of the trials did better than {title(best)} "
            "on the validation folds."
        )
    return (
        f"Validation folds, best of {n_settings} settings: the winner's number is optimistic, "
        "± is one standard error of the images alone."
    )
