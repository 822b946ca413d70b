"""The commands: help at once, one message for an error, truthful exit codes."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import COMMANDS, parse
from tuner.errors import StudyError

README = Path(__file__).parents[2] / "README.md"
HEAVY = ("keras", "tensorflow", "jax", "mlflow", "optuna", "sklearn", "pandas", "matplotlib")
# Python itself starts in this time on an idle machine of today; help may take longer in
# proportion where it does not, as on a machine that others load.
PYTHON_START_S, HELP_S = 0.03, 0.5


def seconds(*words: str) -> float:
    """Processor time that a Python process takes; it waits for nobody but other processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_answers_in_half_a_second():
    """The median of five helps is under 0.5 s, in proportion to how fast Python starts."""
    program = "import sys; sys.argv = ['tuner', '--help']; from tuner.cli import main; main()"
    times = [(seconds("-c", "pass"), seconds("-c", program)) for _ in range(5)]
    python_s, help_s = (statistics.median(part) for part in zip(*times, strict=True))
    slowness = max(1.0, python_s / PYTHON_START_S)
    assert help_s < HELP_S * slowness, f"help {help_s:.2f} s, Python alone {python_s:.3f} s"


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_no_heavy_library(words):
    """Help and version load neither a backend nor a store nor a plotting library."""
    program = (
        "import json, sys\n"
        f"sys.argv = ['tuner', *{words}]\n"
        "from tuner.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(); print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "tuner.cli.app" in loaded
    assert set(loaded).isdisjoint(HEAVY)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_an_imperative_sentence_and_an_example(name):
    """Each help says what to do with the command, and shows a line that the program takes."""
    sentence, *rest = COMMANDS[name].help.split("\n\n")
    first = sentence.split()[0]
    assert re.fullmatch(r"[A-Z][a-z]+", first)
    assert not re.search(r"(s|ing|ed)$", first)
    assert sentence.endswith(".")
    (example,) = re.findall(r"Example: +(tuner .*)", "\n".join(rest))
    assert parse(example) == name


def test_every_option_has_a_help_text():
    """No option has to be guessed."""
    silent = [
        f"{name} {option.opts[0]}"
        for name, command in COMMANDS.items()
        for option in command.params
        if not getattr(option, "help", None) and not getattr(option, "hidden", False)
    ]
    assert silent == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name):
    """A reader of the README meets every command."""
    assert re.search(rf"`tuner {name}\b|^\$ tuner {name}\b", README.read_text("utf-8"), re.M)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["ini", "data"], "init"),
        (["init"], "data"),
        (["run", "x.yaml", "--trails", "3"], "--trials"),
        (["run", "x.yaml", "--trials", "0"], "--trials"),
        (["run", "x.yaml", "--trials", "many"], "--trials"),
        (["ui", "--port", "99999"], "--port"),
        (["export", "made", "--trial", "best"], "--trial"),
    ],
)
def test_a_mistyped_command_line_exits_with_2_and_names_the_word(tuner, words, hint):
    """Wrong usage is code 2, on stderr, with the word that is wrong or meant."""
    done = tuner(*words)
    assert done.code == 2
    assert hint in done.err
    assert done.out == ""


@pytest.mark.parametrize("command", ["check", "run", "status", "export", "sync", "ui"])
def test_an_unknown_study_is_named_with_its_home(tuner, tmp_path, command):
    """A name that the home does not hold is code 1 and says which home was searched."""
    if command == "ui":
        (tmp_path / "mlruns").mkdir()
        (tmp_path / "mlruns" / "mlflow.db").touch()
    done = tuner(command, "nope")
    assert done.code == 1
    assert "no study 'nope' in this home" in done.err
    assert str(tmp_path / "mlruns" / "studies") in done.err


@pytest.mark.parametrize("command", ["check", "run", "status", "export", "sync"])
def test_a_missing_study_file_is_wrong_usage(tuner, command):
    """A path that does not exist is code 2 and is not taken for a study's name."""
    done = tuner(command, "studies/nope.yaml")
    assert done.code == 2
    assert "study file 'studies/nope.yaml' does not exist" in done.err


def test_an_unexpected_system_error_is_one_message(tuner, tmp_path):
    """A home that cannot be made is code 1, without a traceback, with the place and a remedy."""
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "x.yaml").write_text("{name: x, data: {source: digits}}")
    done = tuner("run", "x.yaml", "--home", tmp_path / "file" / "home")
    assert done.code == 1
    assert "Traceback" not in done.err
    assert str(tmp_path / "file") in done.err
    assert "--home" in done.err


def test_debug_shows_where_an_error_arose(tuner):
    """`--debug`, anywhere, adds the traceback and changes neither message nor exit code."""
    plain = tuner("status", "nope")
    for words in (["--debug", "status", "nope"], ["status", "nope", "--debug"]):
        done = tuner(*words)
        assert done.code == plain.code == 1
        assert "Traceback" in done.err
        assert done.err.endswith(plain.err)
    assert "Traceback" not in plain.err


def test_control_characters_in_an_error_are_not_obeyed(tuner, monkeypatch):
    """A class name with an escape sequence cannot colour or clear the terminal."""

    def fail(*arguments, **options):
        raise StudyError("class '\x1b[2Jx'", where="a\rb", do="mend it")

    monkeypatch.setattr("tuner.cli.show.status.print_status", fail)
    done = tuner("status")
    assert done.err == "error: class '�[2Jx'\n  a�b\n  mend it\n"


def test_an_interrupt_is_code_130(tuner, monkeypatch):
    """Ctrl-C in a command that only looks ends quietly with 130."""

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("tuner.cli.show.status.print_status", interrupt)
    assert tuner("status") == (130, "", "")


def test_an_interrupt_that_python_can_raise_nowhere_is_not_lost(tmp_path):
    """One in a callback, which Python prints and forgets, ends the run a moment later."""
    program = (
        "import os, signal, sys\n"
        "sys.argv = ['tuner', 'status']\n"
        "import tuner.cli.show.status\n"
        "from tuner.cli.show.listener import TerminalListener\n"
        "class Interrupted:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "def go_on(*_, **__):\n"
        "    Interrupted()\n"
        "    TerminalListener().epoch_ended('trial-00000', None, 0.5)\n"
        "    print('went on')\n"
        "tuner.cli.show.status.print_status = go_on\n"
        "from tuner.cli import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_an_interrupt_that_a_library_turned_into_its_own_error_is_code_130(tmp_path):
    """What C code makes of Ctrl-C while it loads, ImportError or SystemError, is not shown."""
    program = (
        "import os, signal, sys\n"
        "sys.argv = ['tuner', 'status']\n"
        "import tuner.cli.show.status\n"
        "def load(*_, **__):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt as error:\n"
        "        raise eval(os.environ['KIND'])('initialization failed') from error\n"
        "tuner.cli.show.status.print_status = load\n"
        "from tuner.cli import main\n"
        "main()"
    )
    for kind in ("ImportError", "OSError"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"KIND": kind},
            cwd=tmp_path,
            capture_output=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert (done.returncode, done.stderr) == (130, b"")


def test_streams_that_the_caller_closed_take_nothing_in(tmp_path):
    """`tuner … >&- 2>&-` works as with /dev/null, and no file takes the number of a stream."""
    program = (
        "import os, sys\n"
        "sys.argv = ['tuner', 'status']\n"
        "from tuner.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "with open('found', 'w') as file:\n"
        "    file.write(f'{file.fileno()} {os.readlink(\"/proc/self/fd/1\")}')"
    )
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, program], cwd=tmp_path
    )
    assert done.returncode == 0
    number, out = (tmp_path / "found").read_text().split()
    assert int(number) > 2
    assert out == os.devnull


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["status", "--home", "file"], 2, "the home is a file"),
        (["train", "/dev/zero"], 1, "larger than 16 MiB, which no export is"),
        (["check", "/dev/zero"], 2, "larger than 256 KiB, which no study file is"),
        (["init", "/dev/zero"], 1, "neither a folder nor a label file"),
        (["predict", "nowhere.keras", "."], 2, "model 'nowhere.keras' does not exist"),
        (["predict", ".", "."], 2, "model '.' is no file"),
    ],
)
def test_what_is_no_file_of_its_kind_is_refused(tuner, tmp_path, words, code, said):
    """Devices that never end, folders and files in the place of others: one message."""
    (tmp_path / "file").write_text("")
    done = tuner(*words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_a_reader_that_goes_away_is_no_traceback():
    """`tuner … | head` ends without a word."""
    program = "import sys; sys.argv = ['tuner', '--help']; from tuner.cli import main; main()"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert b"Traceback" not in done.stderr


def test_version_is_that_of_the_package(tuner):
    """`tuner --version` says the installed version."""
    from importlib.metadata import version

    assert tuner("--version") == (0, f"tuner {version('imbalance-tuner')}\n", "")


def test_windows_is_told_of_wsl():
    """Where there are no POSIX locks, one message says where tuner runs, with exit code 2."""
    code = "import os; os.name = 'nt'; from tuner.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "WSL2" in done.stderr
    assert "Traceback" not in done.stderr
