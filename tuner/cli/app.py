"""The commands: parse, call one library function, print.

Heavy libraries are imported inside the commands, so that ``tuner --help`` answers at once.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import traceback
from pathlib import Path
from typing import Annotated, Optional

import typer

from tuner.cli.interrupts import was_interrupted
from tuner.errors import TunerError, UsageError, without_password

app = typer.Typer(
    name="tuner",
    help="Find the treatment of class imbalance that helps your rare classes, and by how much.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with:  tuner init FOLDER   then   tuner run studies/NAME.yaml",
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        print(f"tuner {version('imbalance-tuner')}")
        raise typer.Exit


@app.callback()
def _before(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show it and end."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where in the program an error arose.")
    ] = False,
) -> None:
    """Options of every command; `main` has taken ``--debug`` out already."""


_Home = Annotated[
    Optional[Path],  # noqa: UP045  # Typer reads this annotation at run time
    typer.Option("--home", help="Where studies live (default: $TUNER_HOME or mlruns/)."),
]
_Set = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="A.B=C", help="Override a key of the study file."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
_Study = Annotated[str, typer.Argument(help="A study file, or the name of a study.")]
_Tracking = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--tracking-uri", help="An MLflow server (default: $MLFLOW_TRACKING_URI or the home)."
    ),
]


@app.command()
def init(
    data: Annotated[str, typer.Argument(help="Folder per class, manifest .csv, or digits.")],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="Where to write (default: studies/NAME.yaml)."),
    ] = None,
    root: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--root", help="Folder that a manifest's paths start from."),
    ] = None,
    group_by: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--group-by", help="Column of a manifest: images that belong together."),
    ] = None,
    home: _Home = None,
) -> None:
    """Look at the images and write a commented study file.

    Example:  tuner init data/steel -o studies/steel.yaml
    """
    from tuner.cli.commands.look import init_study

    init_study(data, output=output, root=root, group_by=group_by, home=home)


@app.command()
def check(
    study: _Study,
    features: Annotated[
        bool, typer.Option("--features", help="Extract features and list near-duplicates.")
    ] = False,
    overrides: _Set = None,
    home: _Home = None,
    as_json: _Json = False,
) -> None:
    """List classes, counts, unreadable files, duplicates and label conflicts; train nothing.

    Example:  tuner check studies/steel.yaml
    """
    from tuner.cli.commands.look import check_study

    check_study(
        study,
        overrides=overrides or [],
        home=home,
        as_json=as_json,
        extracts_features=features,
    )


@app.command()
def run(
    study: _Study,
    trials: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--trials", min=1, help="Finished trials in all, over every start."),
    ] = None,
    overrides: _Set = None,
    home: _Home = None,
    tracking_uri: _Tracking = None,
    storage: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--storage", help="Optuna store by URL (default: the home's journal)."),
    ] = None,
    ray: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--ray",
            metavar="[ADDRESS]",
            help="Workers on a Ray cluster (without an address: $RAY_ADDRESS, or one made here).",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="With --ray: tasks that train at once.")
    ] = 1,
    gpus_per_worker: Annotated[
        float,
        typer.Option("--gpus-per-worker", min=0, help="With --ray: share of a card of each."),
    ] = 0.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.")] = False,
    live: Annotated[
        bool,
        typer.Option("--live", help="Train on images with fresh views, not on cached features."),
    ] = False,
    demo: Annotated[bool, typer.Option("--demo", hidden=True)] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print events and the result as JSON, one a line.")
    ] = False,
) -> None:
    """Start a study or go on with it, up to its number of trials.

    Example:  tuner run studies/steel.yaml --trials 60
    """
    from tuner.cli.commands.run import RunOptions, run_study

    options = RunOptions(
        study,
        trials,
        tuple(overrides or ()),
        home,
        tracking_uri,
        storage,
        quiet,
        demo,
        live,
        as_json,
        ray,
        workers,
        gpus_per_worker,
    )
    run_study(options)


@app.command()
def status(
    study: Annotated[Optional[str], typer.Argument(help="A study; all without.")] = None,  # noqa: UP045
    home: _Home = None,
    as_json: _Json = False,
) -> None:
    """Show what is there, what runs, and the best so far.

    Example:  tuner status steel
    """
    from tuner.cli.commands.look import show_status

    show_status(study, home=home, as_json=as_json)


@app.command()
def ui(
    study: Annotated[Optional[str], typer.Argument(help="A study to open at.")] = None,  # noqa: UP045
    home: _Home = None,
    tracking_uri: _Tracking = None,
    port: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--port", min=1, max=65535, help="On this machine (default: 5000; 8080 with --optuna)."
        ),
    ] = None,
    optuna: Annotated[
        bool, typer.Option("--optuna", help="optuna-dashboard on the home's journal instead.")
    ] = False,
    host: Annotated[
        str,
        typer.Option(
            "--host", help="Address to listen at; any but 127.0.0.1 lets others in, unasked."
        ),
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
) -> None:
    """Open MLflow's UI on the home, at the comparison of the study's runs.

    Example:  tuner ui steel
    """
    if optuna:
        from tuner.cli.commands.dashboard import open_dashboard

        open_dashboard(study, home=home, host=host, port=port or 8080, opens_browser=browser)
        return
    from tuner.cli.commands.ui import open_ui

    open_ui(
        study,
        home=home,
        tracking_uri=tracking_uri,
        host=host,
        port=port or 5000,
        opens_browser=browser,
    )


@app.command()
def confirm(
    study: _Study,
    seeds: Annotated[
        int,
        typer.Option("--seeds", min=2, help="Fresh seeds and splits, 5 or more for a verdict."),
    ] = 5,
    top: Annotated[int, typer.Option("--top", min=1, help="Trials to train again.")] = 5,
    again: Annotated[
        bool, typer.Option("--again", help="Open a test that was opened before; recorded.")
    ] = False,
    home: _Home = None,
    tracking_uri: _Tracking = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.")] = False,
    as_json: _Json = False,
) -> None:
    """Train the best again on fresh splits, then open the sealed test and give a verdict.

    Example:  tuner confirm steel
    """
    from tuner.cli.commands.confirm import ConfirmOptions, confirm_study

    confirm_study(ConfirmOptions(study, seeds, top, again, home, tracking_uri, quiet, as_json))


@app.command()
def report(
    study: _Study,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write.")] = Path(
        "report.html"
    ),
    home: _Home = None,
    tracking_uri: _Tracking = None,
) -> None:
    """Write one self-contained page about a study, and keep it in MLflow.

    Example:  tuner report steel -o report.html
    """
    from tuner.cli.commands.report import report_study

    report_study(study, output=output, home=home, tracking_uri=tracking_uri)


@app.command()
def export(
    study: _Study,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write.")] = Path(
        "best.yaml"
    ),
    trial: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--trial", help="Another trial than the chosen one, by its number."),
    ] = None,
    tau: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--tau", help="Logit adjustment in the model: a strength, or 'tuned'."),
    ] = None,
    home: _Home = None,
) -> None:
    """Write the best configuration, complete enough to train again.

    Example:  tuner export steel -o best.yaml
    """
    from tuner.cli.commands.train import export_study

    export_study(study, output=output, trial=trial, tau=tau, home=home)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A file that `tuner export` wrote.")],
    data: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--data", help="Images to train on (default: those of the export)."),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="Where to write (default: CONFIG.keras)."),
    ] = None,
    open_test: Annotated[
        bool, typer.Option("--open-test", help="Score the sealed test; this is recorded.")
    ] = False,
    live: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option("--live/--bank", help="On images or cached views (default: as the study)."),
    ] = None,
    fine_tune: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--fine-tune", help="Then train ResNet50 from conv5, conv4, … on, too."),
    ] = None,
    register: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--register", metavar="NAME", help="Into MLflow's registry, as champion."),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="keras, or saved_model beside it.")
    ] = "keras",
    home: _Home = None,
    tracking_uri: _Tracking = None,
) -> None:
    """Train an exported configuration again, to a model with its card.

    Example:  tuner train best.yaml -o best.keras
    """
    from tuner.cli.commands.train import TrainOptions, train_export

    train_export(
        TrainOptions(
            config, data, output, open_test, live, fine_tune, register, tracking_uri, form, home
        )
    )


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A .keras file that `tuner train` wrote.")],
    images: Annotated[list[str], typer.Argument(help="Files, folders, or patterns in quotes.")],
    as_json: _Json = False,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="Where to write (default: stdout)."),
    ] = None,
) -> None:
    """Classify images: class and probabilities of each, as CSV or JSON.

    Example:  tuner predict best.keras photos/ > classes.csv
    """
    from tuner.cli.commands.predict import predict_images

    predict_images(model, images, as_json=as_json, output=output)


@app.command()
def sync(study: _Study, home: _Home = None, tracking_uri: _Tracking = None) -> None:
    """Rebuild the MLflow mirror from the study's records.

    Example:  tuner sync steel
    """
    from tuner.cli.commands.ui import sync_mirror

    sync_mirror(study, home=home, tracking_uri=tracking_uri)


def main() -> None:
    """Run the command line; expected errors are one message and an exit code."""
    _open_closed_streams()
    shows_traceback = "--debug" in sys.argv
    sys.argv = with_ray_address([a for a in sys.argv if a != "--debug"])
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter of a class name shows a mark instead of a traceback.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; nobody is left to tell
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except (TunerError, OSError) as error:
        if was_interrupted():
            raise  # what it says is what the interrupt broke
        if shows_traceback:
            sys.stderr.write(without_password(traceback.format_exc()))
        known = error if isinstance(error, TunerError) else _system_error(error)
        _print_error(known)
        sys.exit(known.exit_code)


def with_ray_address(words: list[str]) -> list[str]:
    """The same words with an address after ``--ray``, which may stand alone.

    Example:
        >>> with_ray_address(["run", "--ray", "x.yaml"])
        ['run', '--ray=local', 'x.yaml']
        >>> with_ray_address(["run", "x.yaml", "--ray", "10.0.0.1:6379"])
        ['run', 'x.yaml', '--ray', '10.0.0.1:6379']
    """
    out = list(words)
    for i, word in enumerate(words):
        follows = words[i + 1] if i + 1 < len(words) else ""
        if word == "--ray" and not re.fullmatch(r"(ray://\S+|\S+:\d+|auto|local)", follows):
            out[i] = f"--ray={os.environ.get('RAY_ADDRESS') or 'local'}"
    return out


def _open_closed_streams() -> None:
    """Give streams that the caller has closed a place to write to.

    Else the next file that is opened takes the number, and what libraries print goes into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115


def _system_error(error: OSError) -> TunerError:
    """A full disk or a missing permission, wherever it was met."""
    do = (
        "mend permissions or free disk space and start the same command again; studies can live"
        " elsewhere: --home FOLDER"
    )
    where = "" if error.filename is None else str(error.filename)
    return TunerError(f"the system refuses: {error.strerror or error}", where=where, do=do)


def _print_error(error: TunerError) -> None:
    """Print an error on stderr; a terminal gets it broken between words."""
    kind = "usage" if isinstance(error, UsageError) else "error"
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else 10**9
    for line in f"{kind}: {error}".split("\n"):
        shown = "".join(c if c.isprintable() else "�" for c in line)
        indent = " " * (len(shown) - len(shown.lstrip()) + 2)
        parts = textwrap.wrap(
            shown,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        print("\n".join(parts), file=sys.stderr)
