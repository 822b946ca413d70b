#!/usr/bin/env bash
# One would expect Ctrl-C to end a Python program wherever it is in Python code. JAX registers a
# callback of the garbage collector when it is imported (`_xla_gc_callback`, in
# jax/_src/lib/__init__.py), and Python can raise nothing out of such a callback: an interrupt that
# is delivered while it runs is printed as "Exception ignored in …" and forgotten, and the program
# goes on to its end. JAX need not be used for that: Keras on the TensorFlow backend is enough
# where JAX is installed and some library imports it. Met with jax 0.10.2 in a study that was sent
# SIGTERM, taken for an interrupt; seen with Python 3.11. Who must stop when asked to has to
# remember the signal in the handler and look again later.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet jax==0.10.2
cat > "$place/see.py" <<'PY'
import gc
import signal
import sys

lost = []
sys.unraisablehook = lambda unraisable: lost.append(unraisable)


def interrupts_lost(n):
    """How many of n interrupts, each at some moment of collections in a row, raise nothing."""
    lost.clear()
    for i in range(n):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.00001 * (i % 97))
            while not lost:
                gc.collect(0)
        except KeyboardInterrupt:
            continue
        return True
    return False


signal.signal(signal.SIGALRM, signal.default_int_handler)
before = interrupts_lost(3000)
import jax  # noqa: E402

after = interrupts_lost(3000)
where = lost[0].object.__name__ if lost else "nowhere"
print("python", sys.version.split()[0], "jax", jax.__version__)
print("an interrupt lost before JAX is imported:", before)
print("an interrupt lost afterwards:", after, "in", where)
sys.exit((before, after, where) != (False, True, "_xla_gc_callback"))
PY
"$place/venv/bin/python" "$place/see.py"
