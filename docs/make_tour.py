"""Run the notebook tour again and keep what it shows: python docs/make_tour.py.

Weights are found as in any run. What belongs to this machine is taken out.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

TOUR = Path(__file__).parent / "tour.ipynb"


def read(parameters: str = "") -> Any:
    """The tour, with other parameters if wished."""
    notebook = nbformat.read(TOUR, as_version=4)
    if parameters:
        (cell,) = [cell for cell in notebook.cells if cell.id == "parameters"]
        cell.source = parameters
    return notebook


def run(notebook: Any, *, folder: Path, timeout_s: int = 3600) -> Any:
    """Run every cell in a kernel of this environment; what they show is in the notebook then.

    Args:
        notebook: Any notebook.
        folder: Where the kernel starts.
        timeout_s: For each cell.

    Raises:
        CellExecutionError: If a cell fails.
    """
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=timeout_s,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute()


def neutral(text: str) -> str:
    """A notebook's text without the places of this machine."""
    if given := os.environ.get("TUNER_WEIGHTS"):
        text = text.replace(str(Path(given).parent), "/home/you")
    return re.sub(r"/tmp/tmp\w+", "/tmp/tour", text)


def main() -> None:
    """Write the tour over itself."""
    notebook = run(read(), folder=TOUR.parent)
    notebook.metadata["language_info"] = {"name": "python"}
    TOUR.write_text(neutral(nbformat.writes(notebook)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
