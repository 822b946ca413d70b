"""The command line."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; an interrupt while it is still being loaded is one, too."""
    try:
        from tuner.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


__all__ = ["main"]
