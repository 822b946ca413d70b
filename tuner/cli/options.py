"""Options that several commands share, and the words that repeat them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

# Typer reads annotations at run time, where `X | None` is no type that it knows.
Study = Annotated[str, typer.Argument(help="A study file, or the name of a study.")]
Home = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--home", help="Where studies live (default: $TUNER_HOME or mlruns/)."),
]
Set = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="A.B=C", help="Override a key of the study file."),
]
Cost = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--cost", help="CSV: what each confusion costs, true classes in rows."),
]
RecallFloor = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--recall-floor", metavar="CLASS=0.95", help="Least recall of a class."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.")]
Tracking = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--tracking-uri", help="An MLflow server (default: $MLFLOW_TRACKING_URI or the home)."
    ),
]


def home_words(home: Path | None) -> list[str]:
    """The option that names the home, when it was given."""
    return ["--home", str(home)] if home else []
