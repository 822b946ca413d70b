"""From a study file to finished trials: images, features, search, report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.config import StudyConfig
from tuner.errors import StudyError
from tuner.files import turn
from tuner.ground import Ground, find_weights, open_ground, say_leaks, start_device
from tuner.home import Home
from tuner.home.founding import as_begun, data_root
from tuner.home.listener import Listener
from tuner.home.records import finished_trials
from tuner.home.study_folder import StudyFolder, find_study
from tuner.study.verbs.report import keep_report
from tuner.study.where import Job, Where, make_job

if TYPE_CHECKING:
    from tuner.features.source import FeatureSource
    from tuner.home.recorder import Recorder
    from tuner.training.trial import Trainer


def run_study(
    config: StudyConfig,
    home: Home,
    listener: Listener,
    *,
    tracking_uri: str | None = None,
    storage_url: str | None = None,
    where: Where | None = None,
    question: str = "",
    or_random: bool = False,
    trainer: Trainer | None = None,
) -> None:
    """Start a study or go on with it, up to its number of trials.

    Args:
        config: The resolved study file.
        home: Where it lives.
        listener: Told what happens.
        tracking_uri: MLflow's server; None for the environment or the home.
        storage_url: Optuna's database; None for the home's journal.
        where: Who computes; None for this process.
        question: What the study is to answer.
        or_random: Whether to go on without real weights, as the demo does.
        trainer: What trains the settings in this process; None for what every study has.
    """
    from tuner.search.database import is_shared

    folder, has_others = StudyFolder(home.studies / config.name), is_shared(storage_url)
    # What is left on the stack is done when this process has let go of the study.
    with _naming(home), ExitStack() as after, folder.locked(alone=not has_others):
        config = as_begun(config, folder)
        device = start_device(config, listener, find=where.find_device if where else None)
        from tuner.features.source import open_features
        from tuner.search.journal import open_storage
        from tuner.search.samplers import make_sampler, unfit_pruner

        # What the search lacks is said before minutes go into features.
        make_sampler(config.search.sampler, seed=config.seed, place=0, space={})
        if sentence := unfit_pruner(config.search.sampler, config.search.pruner):
            listener.warning(sentence)
        storage = open_storage(home, storage_url)
        config, weights = find_weights(config, listener, or_random=or_random)
        source = open_features(config, home, weights=weights, device=device)
        job = make_job(source, home, storage=str(storage_url), tracking_uri=tracking_uri)
        if where is not None:
            source = replace(source, fill_with=partial(where.extract, job))
        with _begun_once(folder, listener, has_others=has_others):
            ground = open_ground(source, home, listener, question=question)
            say_leaks(ground, listener)
        if has_others:
            join(storage, ground, listener)
            after.callback(_leave, folder, home, tracking_uri, listener)
        _check_backbone(folder, source)
        ground.fill(listener)
        _say_earlier(folder, source, listener)
        with listener.training(folder, n_trials=config.search.trials, earlier=folder.records()):
            if where is not None:
                _search_there(where, job, storage, folder, listener)
            else:
                search(
                    storage,
                    ground,
                    listener,
                    home=home,
                    tracking_uri=tracking_uri,
                    has_others=has_others,
                    trainer=trainer,
                )
    if not has_others:
        keep_report(folder, home, tracking_uri, listener)


@contextmanager
def _naming(home: Home) -> Iterator[None]:
    """Let an error of the system say where: a full disk names no file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(home.path)
        raise


def search(
    storage: Any,
    ground: Ground,
    listener: Listener,
    *,
    home: Home,
    tracking_uri: str | None,
    has_others: bool,
    trainer: Trainer | None = None,
    recorder: Recorder | None = None,
) -> None:
    """Train in this process: alone, or as one worker of many.

    Args:
        storage: Optuna's store.
        ground: The study; its bank must hold what trials need.
        listener: Told what happens.
        home: Where the study lives.
        tracking_uri: MLflow's server; None for the environment or the home.
        has_others: Whether other workers may join.
        trainer: What trains the settings; None for what every study has.
        recorder: What keeps results beside the records; None for MLflow.
    """
    from tuner.search.study import open_search, run_search
    from tuner.search.workers.worker import run_worker

    if recorder is None:
        from tuner.tracking.mirror import make_recorder

        recorder = make_recorder(home, tracking_uri, on_trouble=listener.warning)
    found = open_search(
        storage,
        config=ground.config,
        inputs=ground.inputs(listener),
        folder=ground.folder,
        recorder=recorder,
        listener=listener,
        environment=ground.source.environment,
        **({} if trainer is None else {"trainer": trainer}),
    )
    if has_others:
        run_worker(found, storage)
    else:
        run_search(found)


def join(storage: Any, ground: Ground, listener: Listener) -> None:
    """Begin the study in the database or join it, before any work goes into it."""
    from tuner.search.workers.worker import join_study

    identity = ground.source.bank.identity
    join_study(storage, ground.config, ground.folder, bank=identity, on_message=listener.warning)


def _search_there(
    where: Where, job: Job, storage: Any, folder: StudyFolder, listener: Listener
) -> None:
    """Let the workers of a cluster search, and show what they do."""
    from tuner.search.study import open_optuna_study
    from tuner.search.workers.watch import Watch

    study = open_optuna_study(storage, job.config)
    watch = Watch(study, folder, n_trials=job.config.search.trials, listener=listener)
    where.search(job, watch.look)


def work_on(job: Job, source: FeatureSource, listener: Listener) -> None:
    """What a worker elsewhere does: train until all workers together have met the budget.

    Args:
        job: What it was sent.
        source: The feature bank, as it is found from there.
        listener: Told what happens.
    """
    from tuner.search.journal import open_storage

    home, config = Home(job.home), job.config
    folder = find_study(home, config.name)
    # The images were read where the study was started; here they are only found again.
    table = replace(folder.images, root=data_root(config, home) or Path())
    ground = Ground(config=config, folder=folder, table=table, source=source)
    storage = open_storage(home, job.storage)
    join(storage, ground, listener)
    with folder.locked(alone=False):
        search(
            storage,
            ground,
            listener,
            home=home,
            tracking_uri=job.tracking_uri,
            has_others=True,
        )


@contextmanager
def _begun_once(folder: StudyFolder, listener: Listener, *, has_others: bool) -> Iterator[None]:
    """Let one of many workers begin a study while the others wait."""
    if not has_others:
        yield
        return
    wait = partial(listener.note, "another worker begins the study; waiting")
    with turn(folder.turn_path("begin"), on_wait=wait):
        yield


def _leave(folder: StudyFolder, home: Home, tracking_uri: str | None, listener: Listener) -> None:
    """Let the last worker complete what MLflow has, and write the report of a finished study."""
    from tuner.tracking.mirror import complete_mirror

    is_last = complete_mirror(folder, home, tracking_uri, on_trouble=listener.warning)
    if not is_last:
        listener.note("other workers go on with the study; the last one writes its report")
    elif len(finished_trials(folder.records())) >= folder.config.search.trials:
        keep_report(folder, home, tracking_uri, listener)


def _check_backbone(folder: StudyFolder, source: FeatureSource) -> None:
    """Refuse another file in the place of a study's own backbone.

    Raises:
        StudyError: If so.
    """
    then = {record.environment.get("weights_sha256") for record in folder.records()}
    if source.weights.kind == "model" and then - {source.weights.sha256}:
        raise StudyError(
            f"study '{folder.name}' has another backbone than the one it began with",
            where=f"backbone.model: {source.config.backbone.model}",
            do="put the file that it had into its place, or give the study another name",
        )


def _say_earlier(folder: StudyFolder, source: FeatureSource, listener: Listener) -> None:
    """Say what earlier starts have finished, on what, and whether the test is still sealed."""
    records, now = folder.records(), source.environment.get("engine")
    if n_finished := len(finished_trials(records)):
        listener.fact("trials", f"{n_finished} finished before this start")
    then = sorted({str(record.environment.get("engine")) for record in records} - {str(now)})
    if then:
        listener.warning(
            f"earlier trials stand on features of another engine ({', '.join(then)}) than those "
            f"from now on ({now}): the same but for the last digits"
        )
    if seal := folder.seal:
        last = seal[-1]
        listener.warning(
            f"the sealed test was opened at {last['opened_at']} with `{last['command']}`: "
            "what is chosen from now on cannot be judged on untouched images"
        )
