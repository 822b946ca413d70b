"""``tuner run``: from a study file to finished trials."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tuner.cli.commands.cluster import on_cluster, search_on_cluster, start_cluster
from tuner.cli.commands.report import keep_report
from tuner.cli.commands.studies import leading_question, load_config
from tuner.cli.interrupts import heed_termination
from tuner.cli.show.events import EventListener, ExtractionEvents, print_event, print_result_event
from tuner.cli.show.tables import class_table, result_table, title
from tuner.cli.show.terminal import (
    command,
    extraction_bar,
    make_console,
    say,
    say_fact,
    say_step,
    warn,
)
from tuner.config import StudyConfig
from tuner.errors import UsageError, WeightsError
from tuner.home import Home

if TYPE_CHECKING:
    from tuner.cli.show.lines import TrialLines
    from tuner.cluster.ray_cluster import RayCluster
    from tuner.features.device import Device
    from tuner.features.extract import Progress as Extraction
    from tuner.features.source import FeatureSource
    from tuner.features.weights.resolve import ResolvedWeights
    from tuner.home.founding import Opened
    from tuner.home.listener import Listener
    from tuner.home.records import Record
    from tuner.home.study_folder import StudyFolder
    from tuner.training.inputs import LiveSource


_NOTES_SHOWN = 8  # of a kind; a study of 200 small classes has other news, too


@dataclass(frozen=True)
class RunOptions:
    """What the user wrote after ``tuner run``."""

    study: str
    trials: int | None = None
    overrides: tuple[str, ...] = ()
    home: Path | None = None
    tracking_uri: str | None = None
    storage: str | None = None
    is_quiet: bool = False
    is_demo: bool = False
    is_live: bool = False
    as_json: bool = False
    ray: str | None = None
    workers: int = 1
    gpus_per_worker: float = 0.0

    @property
    def is_shared(self) -> bool:
        """Whether workers on other machines may take part."""
        from tuner.search.database import is_shared

        return is_shared(self.storage)

    def check(self) -> None:
        """Refuse options that cannot go together.

        Raises:
            UsageError: If so.
        """
        if self.ray is None and (self.workers > 1 or self.gpus_per_worker):
            raise UsageError(
                "--workers and --gpus-per-worker say how Ray places work, but --ray is missing",
                do="add --ray, or start the same command on each machine",
            )
        if self.ray is not None and not self.is_shared:
            raise UsageError(
                "--ray needs a database that all workers reach",
                where="--storage",
                do="--storage postgresql://USER:PASSWORD@HOST/DATABASE",
            )

    @property
    def all_overrides(self) -> list[str]:
        """Overrides of the study file, with those that have an option of their own."""
        return [*self.overrides, *(["training.mode=live"] if self.is_live else [])]

    def command(self, *, trials: int | None) -> str:
        """The command that goes on with this study, up to so many trials."""
        words: list[object] = ["tuner", "run", self.study]
        words += ["--trials", trials] if trials is not None else []
        for override in self.overrides:
            words += ["--set", override]
        words += ["--live"] if self.is_live else []
        words += home_words(self.home)
        words += ["--tracking-uri", self.tracking_uri] if self.tracking_uri else []
        words += ["--storage", self.storage] if self.storage else []
        words += [f"--ray={self.ray}"] if self.ray else []
        words += ["--workers", self.workers] if self.workers > 1 else []
        words += ["--gpus-per-worker", self.gpus_per_worker] if self.gpus_per_worker else []
        return command(*words, *(["--demo"] if self.is_demo else []))


def run_study(options: RunOptions) -> None:
    """Run a study and print its result and the commands that follow."""
    home = Home.find(options.home)
    options.check()
    trials = [] if options.trials is None else [f"search.trials={options.trials}"]
    config = load_config(options.study, [*options.all_overrides, *trials], home)
    # Lines for machines and a board for people would write over each other.
    is_quiet = options.is_quiet or (options.as_json and sys.stdout.isatty())
    console = make_console(is_result=False, is_quiet=is_quiet)
    from tuner.home.study_folder import StudyFolder, find_study

    heed_termination()
    folder = StudyFolder(home.studies / config.name)
    try:
        # What is left on the stack is done when this process has let go of the study.
        with ExitStack() as after, folder.locked(alone=not options.is_shared):
            _run(config, home, console, options, after)
    except KeyboardInterrupt:
        loud = make_console(is_result=False)
        say(loud, "")
        say(loud, "interrupted; nothing that finished is lost. Go on with:")
        say_step(loud, "go on", options.command(trials=options.trials))
        if options.as_json:
            print_event("interrupted", next={"go on": options.command(trials=options.trials)})
        raise
    except OSError as error:
        if error.filename is None:  # a full disk names no file
            error.filename = str(home.path)
        raise
    if not options.is_shared:
        keep_report(find_study(home, config.name), home, options.tracking_uri, console)
    _print_result(home, config, options)


def _run(
    config: StudyConfig, home: Home, console: Console, options: RunOptions, after: ExitStack
) -> None:
    """Images, features, search: the flow of a study from top to bottom."""
    with start_cluster(options, console) as cluster:
        device = start_device(console, config, cluster)
        from tuner.search.samplers import make_sampler
        from tuner.search.study import open_storage

        # What the search lacks is said before minutes go into features.
        make_sampler(config.search.sampler, seed=config.seed, place=0, space={})
        storage = open_storage(home, options.storage)
        config, weights = find_weights(config, console, is_demo=options.is_demo)

        from tuner.features.source import open_features

        source = open_features(config, home, weights=weights, device=device)
        if cluster is not None:
            source = on_cluster(source, cluster, home, options)
        question = leading_question(options.study, home)
        with _begun_once(home, config, options, console):
            opened = open_images(config, home, console, source=source, question=question)
            if options.as_json:
                print_event("study", **_study_facts(opened, device, question))
            _say_leaks(source, opened, console, options)
        if options.is_shared:
            _join(storage, opened, source, console)
            after.callback(_close_shared, opened, home, options, console)
        also = ExtractionEvents() if options.as_json else None
        fill_features(source, opened, console, also=also)
        lines = _trial_lines(opened, console)
        listener = EventListener(lines, lines.class_names) if options.as_json else lines
        with lines.shown():
            if cluster is not None:
                search_on_cluster(cluster, storage, opened, source, listener, home, options)
            else:
                _search_here(storage, opened, source, listener, console, home, options)


def _search_here(
    storage: Any,
    opened: Opened,
    source: FeatureSource,
    listener: Listener,
    console: Console,
    home: Home,
    options: RunOptions,
) -> None:
    """Train in this process: alone, or as one worker of many."""
    from tuner.search.study import open_search, run_search
    from tuner.search.workers.worker import run_worker
    from tuner.tracking.mirror import make_recorder
    from tuner.training.inputs import load_inputs

    search = open_search(
        storage,
        config=opened.config,
        inputs=load_inputs(
            opened.config,
            opened.folder.images,
            source.bank,
            class_names=opened.index.class_names,
            live=live_source(source, opened, console),
        ),
        folder=opened.folder,
        recorder=make_recorder(home, options.tracking_uri, on_trouble=listener.message),
        listener=listener,
        environment=source.environment,
    )
    if options.is_shared:
        run_worker(search, storage)
    else:
        run_search(search)


def _trial_lines(opened: Opened, console: Console) -> TrialLines:
    """The live part of a run, which knows what earlier starts have finished."""
    from tuner.cli.show.lines import TrialLines

    images = opened.folder.images
    return TrialLines(
        console,
        opened.index.class_names,
        _counts(images.labels[images.search]),
        n_trials=opened.config.search.trials,
        best=_say_earlier(opened, console),
        earlier=opened.folder.records(),
    )


@contextmanager
def _begun_once(
    home: Home, config: StudyConfig, options: RunOptions, console: Console
) -> Iterator[None]:
    """Let one of many workers begin a study while the others wait."""
    from tuner.files import turn
    from tuner.home.study_folder import StudyFolder

    if not options.is_shared:
        yield
        return
    path = StudyFolder(home.studies / config.name).turn_path("begin")
    with turn(path, on_wait=lambda: say(console, "another worker begins the study; waiting")):
        yield


def _join(storage: Any, opened: Opened, source: FeatureSource, console: Console) -> None:
    from tuner.search.workers.worker import join_study

    join_study(
        storage,
        opened.config,
        opened.folder,
        bank=source.bank.identity,
        on_message=lambda text: warn(console, text),
    )


def _close_shared(opened: Opened, home: Home, options: RunOptions, console: Console) -> None:
    """Let the last worker complete what MLflow has, and write the report of a finished study."""
    from tuner.tracking.mirror import complete_mirror

    folder = opened.folder
    is_last = complete_mirror(
        folder, home, options.tracking_uri, on_trouble=lambda text: warn(console, text)
    )
    n_finished = sum(r.kind == "trial" and r.state != "failed" for r in folder.records())
    if not is_last:
        say(console, "other workers go on with the study; the last one writes its report")
    elif n_finished >= opened.config.search.trials:
        keep_report(folder, home, options.tracking_uri, console)


def start_device(
    console: Console, config: StudyConfig, cluster: RayCluster | None = None
) -> Device:
    """Find the device, of a cluster that of its workers; say it, and why a card is not used."""
    with console.status("starting the backend"):
        device = find_backend()
        if cluster is not None:
            device = cluster.find_device()
    say_fact(console, "study", config.name)
    say_device(console, device, config)
    return device


def find_backend() -> Device:
    """The device of the Keras backend.

    Raises:
        UsageError: If the backend that the user chose cannot be imported.
    """
    from tuner.features.device import find_device

    try:
        return find_device()
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"the Keras backend cannot be used: {error}",
            where="KERAS_BACKEND, or 'backend' in ~/.keras/keras.json",
            do="set KERAS_BACKEND=tensorflow, or for JAX: pip install 'imbalance-tuner[jax]'",
        ) from error


def say_device(console: Console, device: Device, config: StudyConfig) -> None:
    """Print what the heavy work runs on."""
    say_fact(console, "device", f"{device}, {config.backbone.precision}")
    if device.warning:
        warn(console, device.warning)


def find_weights(
    config: StudyConfig, console: Console, *, is_demo: bool = False
) -> tuple[StudyConfig, ResolvedWeights]:
    """Resolve the backbone's weights; only the demo goes on without real ones, loudly."""
    from tuner.features.weights.resolve import resolve_weights

    try:
        weights = resolve_weights(
            config.backbone.weights,
            on_progress=lambda sentence: say_fact(console, "weights", sentence),
        )
    except WeightsError as error:
        if not is_demo:
            raise
        for line in str(error).splitlines():
            say(console, line, style="yellow")
        sentence = (
            "NO IMAGENET WEIGHTS: the demo goes on with RANDOM weights; its numbers say "
            "nothing about your data."
        )
        say(make_console(is_result=False), sentence, style="bold red")
        backbone = config.backbone.model_copy(update={"weights": "random"})
        config = config.model_copy(update={"backbone": backbone})
        weights = resolve_weights("random")
    say_fact(console, "weights", weights.source)
    return config, weights


def open_images(
    config: StudyConfig,
    home: Home,
    console: Console,
    *,
    source: FeatureSource,
    question: str = "",
) -> Opened:
    """Read the images, split them or check that nothing changed, and show the class table."""
    from tuner.cli.commands.twins import group_near_duplicates
    from tuner.data.index import label_conflicts
    from tuner.data.split import Split, small_class_warnings
    from tuner.home.founding import is_grouped, open_study, read_images, with_groups
    from tuner.home.study_folder import StudyFolder

    with console.status("reading images"):
        index = read_images(config, home)
        index = with_groups(config, index, StudyFolder(home.studies / config.name))
    if not is_grouped(config, index):
        index = group_near_duplicates(source, index, console)
    opened = open_study(config, index, home, question=question)
    index = opened.index
    images = opened.folder.images
    folds = f"{config.split.folds} folds, sealed test"
    say_fact(console, "images", f"{index.n_images:,} in {index.n_classes} classes, {folds}")
    console.print(class_table(index.class_names, images.labels, images.fold))
    print_problems(index.problems, console)
    split = Split(images.fold, config.split.folds)
    small = small_class_warnings(split, images.labels, index.class_names)
    for note in (*index.notes, *small[:_NOTES_SHOWN]):
        warn(console, note)
    if len(small) > _NOTES_SHOWN:
        more = len(small) - _NOTES_SHOWN
        warn(console, f"and {more} more classes of so few images; see: tuner check")
    if conflicts := len(label_conflicts(index)):
        sets = "set of images has" if conflicts == 1 else "sets of images have"
        warn(console, f"{conflicts} {sets} the same bytes and different labels; see: tuner check")
    return opened


def _say_leaks(
    source: FeatureSource, opened: Opened, console: Console, options: RunOptions
) -> None:
    """Warn of images whose near-twins the split parts, and name the command that shows them."""
    from tuner.cli.commands.twins import leak_sentence, study_leaks

    if source.weights.kind == "random":
        return  # features that know nothing of images find no twins among them
    sentence = leak_sentence(study_leaks(source, opened.folder, opened.index, console))
    if sentence:
        warn(console, sentence)
        words = ["tuner", "check", opened.config.name, *home_words(options.home)]
        say_step(console, "look", command(*words))


def _say_earlier(opened: Opened, console: Console) -> float | None:
    """Say what earlier starts have finished; the best feasible objective among it, if any."""
    from tuner.home.records import winner

    records = opened.folder.records()
    n_finished = sum(r.kind == "trial" and r.state != "failed" for r in records)
    if n_finished:
        say_fact(console, "trials", f"{n_finished} finished before this start")
    if seal := opened.folder.seal:
        last = seal[-1]
        warn(
            console,
            f"the sealed test was opened at {last['opened_at']} with `{last['command']}`: "
            "what is chosen from now on cannot be judged on untouched images",
        )
    best = winner(records)
    return best.value if best and best.is_feasible else None


def print_problems(problems: Sequence[Any], console: Console, *, limit: int = 20) -> None:
    """Name the files that were left out, and why."""
    for problem in problems[:limit]:
        warn(console, f"left out {problem.path}: {problem.reason}")
    if len(problems) > limit:
        warn(console, f"and {len(problems) - limit} more; see: tuner check")


def fill_features(
    source: FeatureSource,
    opened: Opened,
    console: Console,
    *,
    also: Callable[[Extraction], None] | None = None,
) -> None:
    """Fill the bank with what the search needs, with progress; `also` is told of it, too."""
    from tuner.training.inputs import rows_to_extract

    wanted = rows_to_extract(
        opened.config,
        opened.folder.images,
        opened.index.root,
        n_classes=opened.index.n_classes,
    )
    if opened.config.training.mode == "live":
        wanted = [row for row in wanted if row.view == 0]
    with extraction_bar(console, also=also) as show:
        n_new = source.fill(
            wanted,
            on_progress=show,
            on_wait=lambda: say(console, "another process fills the feature bank; waiting"),
        )
    for chunk in source.bank.damaged:
        warn(console, f"{chunk} of the feature bank was damaged; computed again")
    rows = f"{len(wanted):,} rows of images and views, {n_new:,} computed now"
    say_fact(console, "features", rows)


def live_source(source: FeatureSource, opened: Opened, console: Console) -> LiveSource | None:
    """The images and the backbone of a study that trains on images; None for the bank."""
    from tuner.training.inputs import LiveSource

    if opened.config.training.mode == "bank":
        return None
    say_fact(console, "training", "live: on images, with other views each time")
    return LiveSource(opened.index.root, source.backbone())


def home_words(home: Path | None) -> list[str]:
    """The option that names the home, when it was given."""
    return ["--home", str(home)] if home else []


def _study_facts(opened: Opened, device: Device, question: str) -> dict[str, Any]:
    """What a study is, for machines."""
    images, config = opened.folder.images, opened.config
    counts = zip(opened.index.class_names, _counts(images.labels).tolist(), strict=False)
    return {
        "study": config.name,
        "question": question,
        "folder": str(opened.folder.path),
        "device": str(device),
        "images": len(images.paths),
        "sealed": int((images.fold < 0).sum()),
        "classes": dict(counts),
        "n_trials": config.search.trials,
    }


def _counts(labels: Any) -> Any:
    import numpy as np

    return np.bincount(labels)


def _print_result(home: Home, config: StudyConfig, options: RunOptions) -> None:
    """The winner beside the baselines, what to think of it, and what to do next."""
    from tuner.home.records import winner
    from tuner.home.study_folder import find_study

    console = make_console(is_result=True)
    folder = find_study(home, config.name)
    records = folder.records()
    best = winner(records)
    steps = _next_steps(home, config, options)
    if options.as_json:
        print_result_event(records, best, folder.class_names, steps=steps)
        return
    if best is None:
        say(console, "no trial has finished; see the reasons above")
        return
    console.print()
    print_winner(folder, best, console)
    for name, line in steps.items():
        say_step(console, name, line)


def _next_steps(home: Home, config: StudyConfig, options: RunOptions) -> dict[str, str]:
    """The commands that follow a run."""
    words = home_words(options.home)
    uri = home.resolve_tracking_uri(options.tracking_uri)
    server = ["--tracking-uri", options.tracking_uri] if options.tracking_uri else []
    steps = {
        "compare": command("tuner", "ui", config.name, *words, *server),
        "or plain": command("mlflow", "ui", "--backend-store-uri", uri),
        "confirm": command("tuner", "confirm", config.name, *words),
        "export": command("tuner", "export", config.name, "-o", "best.yaml", *words),
        "train": command("tuner", "train", "best.yaml", *words),
        "go on": options.command(trials=2 * config.search.trials),
    }
    if uri.startswith(("http://", "https://")):
        del steps["or plain"]
    return steps


def print_winner(folder: StudyFolder, best: Record, console: Console) -> None:
    """The winner beside the baselines, its setting, and what to think of it."""
    from tuner.home.confirmation import load_confirmation
    from tuner.home.free import load_free

    records, free = folder.records(), load_free(folder.path)
    console.print(result_table(records, best, folder.class_names, width=console.width))
    console.print()
    say_fact(console, "setting", str(best.params))
    if free:
        values = ", ".join(f"{f.title} {f.scores['macro_recall']:.3f}" for f in free)
        say_fact(console, "free", values)
    n_settings = sum(r.kind != "confirm" for r in records)
    say(console, _caution(best, n_settings))
    if done := load_confirmation(folder):
        more = n_settings - done["n_search_settings"]
        since = f" ({more} settings have been added since)" if more else ""
        say(console, f"Confirmed{since}: {done['verdict']['sentence']}", style="bold")
    rival = max(free, key=lambda f: f.value, default=None)
    if rival and best.value is not None and rival.value >= best.value:
        metric = folder.config.objective.metric
        sentence = f"{rival.title} needs no search and does as well: {metric} {rival.value:.3f}."
        warn(console, sentence[0].upper() + sentence[1:])


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
