"""``tuner confirm``: is the winner really better, on images that the search never saw?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tuner.cli.commands.report import keep_report
from tuner.cli.commands.run import find_weights, home_words, start_device
from tuner.cli.commands.studies import find_named
from tuner.cli.interrupts import heed_termination
from tuner.cli.show.confirmation import (
    calibration_table,
    class_comparison,
    retest_table,
    test_table,
)
from tuner.cli.show.tables import openings
from tuner.cli.show.terminal import (
    command,
    extraction_bar,
    make_console,
    say,
    say_fact,
    say_step,
    warn,
)
from tuner.home import Home
from tuner.home.confirmation import load_confirmation
from tuner.home.founding import open_study, read_images
from tuner.home.study_folder import StudyFolder


@dataclass(frozen=True)
class ConfirmOptions:
    """What the user wrote after ``tuner confirm``."""

    study: str
    n_seeds: int = 5
    top: int = 5
    is_again: bool = False
    home: Path | None = None
    tracking_uri: str | None = None
    is_quiet: bool = False
    as_json: bool = False


def confirm_study(options: ConfirmOptions) -> None:
    """Confirm a study, or show what was confirmed, and say what to believe."""
    home = Home.find(options.home)
    folder = find_named(options.study, home)
    done = load_confirmation(folder)
    if done is None or options.is_again or not _is_current(done, folder, options):
        console = make_console(is_result=False, is_quiet=options.is_quiet)
        heed_termination()
        try:
            with folder.locked():
                done = _confirm(folder, home, console, options)
            keep_report(folder, home, options.tracking_uri, console)
        except KeyboardInterrupt:
            say(make_console(is_result=False), "interrupted; the same command goes on")
            raise
    if options.as_json:
        import json

        print(json.dumps(done, indent=1))
        return
    print_confirmation(done, folder, make_console(is_result=True))
    console = make_console(is_result=True)
    words = home_words(options.home)
    say_step(console, "look", command("tuner", "report", folder.name, *words))
    chosen = done["chosen"]
    trial = ["--trial", int(chosen.removeprefix("trial-"))] if chosen.startswith("trial-") else []
    export = command("tuner", "export", folder.name, "-o", "best.yaml", *trial, *words)
    say_step(console, "export", export)


def _is_current(done: Mapping[str, Any], folder: StudyFolder, options: ConfirmOptions) -> bool:
    """Whether the study and the question are those that were confirmed."""
    n_settings = sum(record.kind != "confirm" for record in folder.records())
    return bool(
        done["n_search_settings"] == n_settings
        and len(done["seeds"]) == options.n_seeds + 1
        and done["opening"] == len(folder.seal)
    )


def _confirm(
    folder: StudyFolder, home: Home, console: Console, options: ConfirmOptions
) -> dict[str, Any]:
    """Images, features, retest, test: the flow of a confirmation from top to bottom."""
    config = folder.config
    device = start_device(console, config)
    from tuner.confirm.confirm import Opening, check_seal, confirm
    from tuner.confirm.retest import Confirming, candidates, fresh_folds

    check_seal(folder, is_again=options.is_again)
    candidates(folder.records(), top=options.top)  # said before minutes go into features
    _, weights = find_weights(config, console)
    with console.status("reading images"):
        index = read_images(config, home)
        open_study(config, index, home)

    from tuner.cli.show.lines import TrialLines
    from tuner.confirm.sealed import SealedImages, read_test
    from tuner.features.extract import ViewOf
    from tuner.features.source import open_features
    from tuner.training.inputs import load_inputs, rows_to_extract

    source = open_features(config, home, weights=weights, device=device)
    folds = fresh_folds(folder, n_seeds=options.n_seeds)
    images, class_names = folder.images, tuple(folder.class_names)
    others = list(folds.values())

    def fill(wanted: list[ViewOf]) -> None:
        with extraction_bar(console) as show:
            source.fill(wanted, on_progress=show)

    fill(
        rows_to_extract(config, images, index.root, n_classes=len(class_names), other_folds=others)
    )
    inputs = load_inputs(config, images, source.bank, class_names=class_names, other_folds=others)
    counts = np.bincount(inputs.labels, minlength=len(class_names))
    lines = TrialLines(console, class_names, counts, n_trials=1, unit="trainings")
    from tuner.tracking.mirror import make_recorder

    recorder = make_recorder(home, options.tracking_uri, on_trouble=lines.message)

    def read() -> SealedImages:
        test = images.test
        fill([ViewOf(index.root / images.paths[i], images.sha256[i], 0) for i in test])
        return read_test(folder, source.bank)

    recorder.open_study(folder)
    is_finished = False
    try:
        with lines.shown():
            found = confirm(
                Confirming(config, inputs, folds, folder, recorder, lines, source.environment),
                top=options.top,
                opening=Opening(read, command("tuner", *sys.argv[1:]), options.is_again),
            )
        is_finished = True
    finally:
        recorder.close_study(folder, is_finished=is_finished)
    return found


def print_confirmation(done: Mapping[str, Any], folder: StudyFolder, console: Console) -> None:
    """The retest, the sealed test, and the verdict in words."""
    n_fresh = len(done["seeds"]) - 1
    say(console, f"Retest: {n_fresh} fresh seeds and splits of the non-test images, macro recall")
    console.print(retest_table(done))
    console.print()
    n_test = sum(done["test"]["support"])
    say(console, f"Sealed test: {n_test:,} images, mean macro recall of {n_fresh + 1} seeds")
    console.print(test_table(done))
    console.print()
    say(console, "Found by the models of the study seed")
    console.print(class_comparison(done, folder.class_names))
    if done["test"]["has_groups"]:
        say(
            console,
            "Wilson intervals and p values take images as independent: groups are not in them.",
        )
    console.print()
    say(console, "Calibration on the sealed test, smaller is better")
    console.print(calibration_table(done))
    console.print()
    if optimism := done["optimism"]:
        say_fact(
            console,
            "optimism",
            f"the search's winner: {optimism['validation']:.3f} in the search, "
            f"{optimism['retest']:.3f} on fresh splits, {optimism['test']:.3f} on the test",
        )
    say_fact(console, "test", f"{openings(done['opening'])}, {done['opened_at']}")
    for text in sorted({c["warning"] for c in done["test"]["comparisons"]} - {""}):
        warn(console, text)
    if done["opening"] > 1:
        warn(console, "numbers of a test that is opened again and again grow too good")
    console.print()
    say(
        console,
        done["verdict"]["sentence"],
        style="bold green" if done["verdict"]["is_better"] else "bold",
    )
