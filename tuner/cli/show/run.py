"""What ``tuner run`` prints: an interrupt, the result, the commands that follow."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tuner.cli.interrupts import heed_termination
from tuner.cli.options import home_words
from tuner.cli.show.events import EventListener, print_event, print_result_event
from tuner.cli.show.listener import TerminalListener
from tuner.cli.show.terminal import make_console, say, say_step
from tuner.cli.show.winner import print_winner
from tuner.errors import UsageError
from tuner.study import Listener, Study, is_shared, winner
from tuner.text import command

Params = Mapping[str, Any]  # what the user wrote after ``tuner run``, by the names of `run`


def refuse_unfit(params: Params) -> None:
    """Refuse options that cannot go together.

    Raises:
        UsageError: If so.
    """
    if params["ray"] is None and (params["workers"] > 1 or params["gpus_per_worker"]):
        raise UsageError(
            "--workers and --gpus-per-worker say how Ray places work, but --ray is missing",
            do="add --ray, or start the same command on each machine",
        )
    if params["ray"] is not None and not is_shared(params["storage"]):
        raise UsageError(
            "--ray needs a database that all workers reach",
            where="--storage",
            do="--storage postgresql://USER:PASSWORD@HOST/DATABASE",
        )


def overrides_of(params: Params) -> list[str]:
    """Overrides of the study file, with those that have an option of their own."""
    live = ["training.mode=live"] if params["live"] else []
    trials = params["trials"]
    return [
        *(params["overrides"] or ()),
        *live,
        *([] if trials is None else [f"search.trials={trials}"]),
    ]


def run_command(params: Params, *, trials: int | None) -> str:
    """The command that goes on with a study, up to so many trials."""
    words: list[object] = ["tuner", "run", params["study"]]
    words += ["--trials", trials] if trials is not None else []
    for override in params["overrides"] or ():
        if trials is None or not override.startswith("search.trials="):  # said just before
            words += ["--set", override]
    words += ["--live"] if params["live"] else []
    words += home_words(params["home"])
    words += ["--tracking-uri", params["tracking_uri"]] if params["tracking_uri"] else []
    words += ["--storage", params["storage"]] if params["storage"] else []
    words += [f"--ray={params['ray']}"] if params["ray"] else []
    words += ["--workers", params["workers"]] if params["workers"] > 1 else []
    gpus = params["gpus_per_worker"]
    words += ["--gpus-per-worker", gpus] if gpus else []
    return command(*words, *(["--demo"] if params["demo"] else []))


@contextmanager
def run_listener(params: Params) -> Iterator[Listener]:
    """Who shows a run; an interrupt is answered with the command that goes on."""
    # Lines for machines and a board for people would write over each other.
    is_quiet = params["quiet"] or (params["as_json"] and sys.stdout.isatty())
    heed_termination()
    with TerminalListener(home=params["home"], is_quiet=is_quiet) as shown:
        try:
            yield EventListener(shown) if params["as_json"] else shown
        except KeyboardInterrupt:
            _say_interrupted(params)
            raise


def _say_interrupted(params: Params) -> None:
    loud, again = make_console(is_result=False), run_command(params, trials=params["trials"])
    say(loud, "")
    say(loud, "interrupted; nothing that finished is lost. Go on with:")
    say_step(loud, "go on", again)
    if params["as_json"]:
        print_event("interrupted", next={"go on": again})


def print_result(study: Study, params: Params) -> None:
    """The winner beside the baselines, what to think of it, and what to do next."""
    console, folder = make_console(is_result=True), study.folder
    records = folder.records()
    best, steps = winner(records), _next_steps(study, params)
    if params["as_json"]:
        print_result_event(records, best, folder.class_names, leak=study.leak, steps=steps)
        return
    if best is None:
        say(console, "no trial has finished; see the reasons above")
        return
    console.print()
    print_winner(study, console)
    for name, line in steps.items():
        say_step(console, name, line)


def _next_steps(study: Study, params: Params) -> dict[str, str]:
    """The commands that follow a run."""
    words, uri, name = home_words(params["home"]), study.mlflow_uri, study.name
    server = ["--tracking-uri", params["tracking_uri"]] if params["tracking_uri"] else []
    steps = {
        "compare": command("tuner", "ui", name, *words, *server),
        "or plain": command("mlflow", "ui", "--backend-store-uri", uri),
        "confirm": command("tuner", "confirm", name, *words),
        "export": command("tuner", "export", name, "-o", "best.yaml", *words),
        "train": command("tuner", "train", "best.yaml", *words),
        "go on": run_command(params, trials=2 * study.config.search.trials),
    }
    if uri.startswith(("http://", "https://")):
        del steps["or plain"]
    return steps
