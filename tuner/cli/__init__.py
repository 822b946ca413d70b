"""The command line."""

from __future__ import annotations

import os
import sys

from tuner.cli.interrupts import leave, was_interrupted, watch
from tuner.text import NOT_POSIX


def main() -> None:
    """Run the command line; an interrupt while it is still being loaded is one, too."""
    if os.name == "nt":
        sys.stderr.write(f"usage: {NOT_POSIX}\n")
        sys.exit(2)
    watch()
    try:
        from tuner.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit:
        if was_interrupted():
            leave()
        raise
    except Exception:
        if was_interrupted():
            leave()
        raise


__all__ = ["main"]
