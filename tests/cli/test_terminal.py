"""What is printed fits the terminal, lines up, and shows names as they are."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from tests.cli.made import HOSTILE, make_baseline, make_matrix, make_record
from tuner.cli.show.board import LeaderBoard
from tuner.cli.show.lines import TrialLines, fit
from tuner.cli.show.listener import TerminalListener
from tuner.cli.show.tables import class_table, openings, rarest, result_table, sealed_table
from tuner.cli.show.terminal import (
    make_console,
    pad_left,
    pad_right,
    say,
    say_step,
    short,
    short_names,
    warn,
)
from tuner.data.image_table import ImageTable
from tuner.home.listener import Epoch
from tuner.setting import Setting
from tuner.text import printable

SUPPORT = [40, 35, 30, 25, 20, 15, 12, 10, 9, 8]
MATRIX = make_matrix(SUPPORT, [1, 2, 3, 4, 5, 6, 7, 8, 9, 0])
WIDTHS = (80, 100, 120, 200)


def console(width: int = 80, *, is_terminal: bool = False) -> Console:
    """A console that remembers what it prints."""
    return Console(
        file=io.StringIO(),
        width=width,
        force_terminal=is_terminal,
        highlight=False,
        emoji=False,
        color_system=None,
    )


def printed(on: Console) -> list[str]:
    """Lines that were printed, without what fills them up to the right."""
    return [line.rstrip() for line in on.file.getvalue().splitlines()]


def lines_of(records, *, width: int = 80, earlier=()) -> list[str]:
    """Header and line of each record, as `tuner run` prints them into a pipe."""
    on = console(width)
    lines = TrialLines(on, HOSTILE, np.array(SUPPORT), n_trials=2, earlier=earlier)
    with lines.shown():
        for record in records:
            lines.trial_started(record.name, record.params)
            lines.trial_ended(record, n_finished=1, n_trials=2)
    return printed(on)


@given(name=st.text(), width=st.integers(2, 40))
def test_a_short_name_fits_and_stays_on_one_line(name, width):
    """Any text is cut to the cells allowed; a name that fits keeps every letter."""
    shown = short(name, width)
    assert cell_len(shown) <= width
    assert shown.isprintable()
    if cell_len(printable(name)) <= width:
        assert shown == printable(name)


@given(text=st.text(alphabet="ab漢é", max_size=10), width=st.integers(20, 30))
def test_padding_counts_cells_not_letters(text, width):
    """A Chinese letter takes two cells, and columns still line up."""
    assert cell_len(pad_left(text, width)) == cell_len(pad_right(text, width)) == width
    assert pad_left(text, width).strip() == pad_right(text, width).strip() == text


@pytest.mark.parametrize("width", [6, 10, 16, 28])
def test_names_that_share_their_beginning_are_told_apart(width):
    """Classes that would be cut to the same text lose what they share instead."""
    names = [*HOSTILE, *(f"defect_of_the_surface_number_{k}" for k in range(12))]
    shown = short_names(names, width)
    assert len(set(shown)) == len(names)
    assert max(map(cell_len, shown)) <= width


def test_names_that_differ_only_in_what_cannot_be_shown_get_a_number():
    """Two control characters look alike; the classes do not."""
    assert len(set(short_names(["a\n", "a\t", "b"], 8))) == 3


@pytest.mark.parametrize("name", HOSTILE)
def test_users_words_are_no_markup(name):
    """Brackets, emoji codes and escapes in names are shown and obeyed by nothing."""
    on = console(300)
    say(on, name)
    warn(on, name)
    say_step(on, "look", name.split("\n")[0])
    assert printed(on)[:2] == [printable(name), f"! {printable(name)}"]
    assert printed(on)[2].endswith(name.split("\n")[0])


def test_a_pipe_gets_long_lines_whole():
    """What greps read is not broken at a width that nobody has."""
    text = " ".join(["word"] * 100)
    on = console(80)
    say(on, text)
    assert printed(on) == [text]
    on = console(80, is_terminal=True)
    say(on, text)
    assert max(map(len, printed(on))) <= 80


def test_results_go_to_stdout_and_progress_to_stderr(capsys):
    """A quiet console says nothing at all."""
    make_console(is_result=True).print("result")
    make_console(is_result=False).print("progress")
    make_console(is_result=False, is_quiet=True).print("nothing")
    assert capsys.readouterr() == ("result\n", "progress\n")


@pytest.mark.parametrize("width", WIDTHS)
def test_trial_lines_fit_and_line_up(width):
    """Header and trials end in the same cells, whatever the classes are called."""
    first = make_record(MATRIX)
    pruned = make_record(MATRIX, number=12, state="pruned", ended_s=9999.9)
    header, *rows = lines_of([make_baseline(MATRIX, "balanced"), first, pruned], width=width)
    assert max(cell_len(line) for line in [header, *rows]) <= width
    layout = fit(width)
    end = cell_len(header)
    last = f"{first.recall[rarest(np.array(SUPPORT))[layout.n_classes - 1]]:.2f}"
    if layout.has_times:
        assert header.endswith("epochs     time")
        assert [row[:end].rstrip()[-2:] for row in rows] == [" s"] * 3
    else:
        assert [row[:end].rstrip()[-4:] for row in rows] == [last] * 3


@pytest.mark.parametrize(("width", "n_classes"), [(40, 0), (72, 1), (80, 2), (112, 3), (300, 3)])
def test_narrow_terminals_show_fewer_of_the_rarest_classes(width, n_classes):
    """The rarest come first, and as many as fit."""
    header = lines_of([], width=width)[0]
    assert fit(width).n_classes == n_classes
    shown = ["…temperature", "…plate", "�[31m"][:n_classes]
    assert all(short(name, 5)[:4] in header for name in shown)


def test_the_objective_decides_the_best_so_far():
    """Complete feasible trials above all before them, in earlier starts too, are noted."""
    better = make_matrix(SUPPORT, [0] * 10)
    worse, best = make_record(MATRIX, number=1), make_record(better, number=2)
    pruned = make_record(better, number=3, state="pruned")
    barred = make_record(better, number=4, constraints={"recall_floor": 0.1})
    notes = [" best" in line for line in lines_of([pruned, barred, worse, worse, best])[1:]]
    assert notes == [False, False, True, False, True]
    later = [" best" in line for line in lines_of([worse, best], earlier=[worse])[1:]]
    assert later == [False, True]
    assert " floor" in lines_of([barred])[1]


def test_a_failed_trial_shows_its_reason_in_full():
    """The reason is not cut, and what it quotes is no markup."""
    reason = "training loss is nan at step 12 of class [bold] " + "x" * 100
    failed = make_record([], state="failed", value=None, reason=reason)
    assert lines_of([failed])[1].endswith(f"failed: {reason}")


def epoch_of(matrix, number: int) -> Epoch:
    """An epoch as training reports it."""
    return Epoch(number, np.array(matrix), 0.5, 0.4, 1e-4)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_board_fits_and_shows_best_baselines_and_what_trains(width):
    """Best first, then baselines, then the running setting with its recalls, each on a line."""
    board = LeaderBoard(HOSTILE, np.array(SUPPORT), n_trials=10)
    better = make_matrix(SUPPORT, [0] * 10)
    for record in (
        make_record(MATRIX, number=1),
        make_record(better, number=2),
        make_baseline(MATRIX, "cross_entropy"),
    ):
        board.end(record, n_finished=2, n_trials=10)
    board.start("trial-00003", Setting(1.8, 0.4, 3, "balanced"))
    board.epoch("trial-00003", epoch_of(better, 6))
    on = console(width, is_terminal=True)
    on.print(board.drawn(width=width, height=40))
    shown = printed(on)[2:]
    assert max(map(cell_len, shown)) <= width
    assert [line.split()[0] for line in shown[:4]] == ["#2", "#1", "base", "#3"]
    assert "γ1.80 α0.40 ×3 balanced" in shown[3]
    assert "1.000" in shown[3]
    assert "2 of 10 trials" in shown[4]
    assert "left" in shown[4]


@pytest.mark.parametrize(("is_feasible", "n_green"), [(True, 1), (False, 0)])
def test_the_board_marks_the_best_of_trials_and_baselines(is_feasible, n_green):
    """A baseline that no trial beats is the green line; without a feasible one there is none."""
    board = LeaderBoard(HOSTILE, np.array(SUPPORT), n_trials=10)
    missed = {} if is_feasible else {"recall_floor": 0.1}
    better = make_matrix(SUPPORT, [0] * 10)
    for record in (make_record(MATRIX, number=1), make_baseline(better, "balanced")):
        board.end(replace(record, constraints=missed), n_finished=1, n_trials=10)
    on = Console(file=io.StringIO(), width=100, force_terminal=True, color_system="standard")
    on.print(board.drawn(width=100, height=40))
    green = [line for line in on.file.getvalue().splitlines() if "\x1b[1;32m" in line]
    assert len(green) == n_green
    assert all("base" in line for line in green)


def test_nothing_of_the_board_stays():
    """A terminal is left with the lines of the trials, after an interrupt too."""
    on = console(100, is_terminal=True)
    lines = TrialLines(on, HOSTILE, np.array(SUPPORT), n_trials=2)

    def interrupted():
        with lines.shown():
            lines.trial_started("trial-00003", Setting(1.8, 0.4, 3, "balanced"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    erased = on.file.getvalue().rsplit("trials", 1)[1]
    assert "\x1b[2K" in erased
    assert "\x1b[?25h" in erased


def test_a_warning_of_several_lines_is_one_mark_a_line(capsys):
    """What MLflow says is not swallowed, and what it quotes is no markup."""
    TerminalListener().warning("MLflow [x]\n  is down")
    assert capsys.readouterr().err == "! MLflow [x]\n! is down\n"


def test_a_note_is_a_line_in_a_pipe_and_a_word_on_the_board():
    """What goes on is said once, where there is room for it."""
    piped, shown = console(100), console(100, is_terminal=True)
    for on in (piped, shown):
        lines = TrialLines(on, HOSTILE, np.array(SUPPORT), n_trials=2)
        with lines.shown():
            lines.note("free [baselines]")
    assert printed(piped)[-1] == "free [baselines]"
    assert "0 of 2 trials" in shown.file.getvalue()
    assert shown.file.getvalue().count("free [baselines]") == 1


def test_every_command_that_listens_names_what_can_be_done(capsys, tmp_path):
    """A leak, a report that failed and a demo without weights come with the next command."""
    listener = TerminalListener(home=tmp_path / "my home")
    listener.fact("study", "cells")
    capsys.readouterr()
    listener.warning("copies are parted", about="leak")
    listener.warning("MLflow has no report", about="report")
    listener.warning("no weights\n  anywhere", about="weights")
    err = capsys.readouterr().err
    assert f"tuner check cells --home '{tmp_path}/my home'" in err
    assert "tuner report cells" in err
    assert "RANDOM weights" in err


@pytest.mark.parametrize("width", WIDTHS)
def test_the_result_shows_k_of_n_of_the_rarest_classes(width):
    """Each class of the result has the counts of the confusion matrix, winner first."""
    best = make_record(make_matrix(SUPPORT, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]), number=7)
    others = [make_baseline(MATRIX, name) for name in ("cross_entropy", "balanced")]
    on = console(width)
    on.print(result_table([*others, best], best, HOSTILE, width=width))
    lines = printed(on)
    assert max(map(cell_len, lines)) <= width
    (row,) = [line for line in lines if "_temp" in line.replace("…", "_") and " of " in line]
    assert " ".join(row.split()[-9:]) == "7 of 8 8 of 8 8 of 8"
    (row,) = [line for line in lines if line.startswith("macro recall")]
    assert row.split()[2::2] == [f"{r.scores['macro_recall']:.3f}" for r in (best, *others)]
    assert "#7" in "".join(lines)
    assert "winner" in "".join(lines)


def test_a_failed_baseline_is_said_in_the_result():
    """A baseline without a matrix keeps its column."""
    best = make_record(MATRIX)
    failed = make_baseline([], "balanced")
    on = console(120)
    on.print(result_table([failed, best], best, HOSTILE, width=120))
    (row,) = [line for line in printed(on) if line.startswith("macro recall")]
    assert row.split()[-1] == "failed"


def test_a_winning_baseline_has_one_column():
    """The winner does not stand beside itself."""
    base = make_baseline(MATRIX, "cross_entropy")
    on = console(120)
    on.print(result_table([base], base, HOSTILE, width=120))
    assert "".join(printed(on)).count("cross-entropy") == 1


def test_the_class_table_counts_every_image_once():
    """Search and test images add up to the images of each class, largest class first."""
    labels = np.repeat([0, 1, 2], [4, 9, 6])
    fold = np.tile([-1, 0, 1, 0], 5)[: len(labels)]
    on = console()
    names = tuple(f"{i}.png" for i in range(len(labels)))
    images = ImageTable(names, names, labels, tuple(HOSTILE[:3]), fold=fold)
    on.print(class_table(images))
    rows = [line.split()[-4:-1] for line in printed(on)[1:]]
    expected = [
        [str(n), str(images.search_counts[k]), str(images.test_counts[k])]
        for k, n in ((1, 9), (2, 6), (0, 4))
    ]
    assert rows == expected


def test_the_sealed_table_is_k_of_n_rarest_first():
    """Counts are those of the matrix, and macro recall their mean."""
    matrix = np.array(make_matrix([10, 4, 2], [1, 2, 0]))
    on = console()
    on.print(sealed_table(matrix, ["many", "some", "few"]))
    assert [line.split() for line in printed(on)[1:4]] == [
        ["few", "1.00", "2", "of", "2"],
        ["some", "0.50", "2", "of", "4"],
        ["many", "0.90", "9", "of", "10"],
    ]
    assert printed(on)[4].split()[:3] == ["macro", "recall", "0.800"]


def test_titles_and_openings_are_words():
    """Baselines go by name, trials by number; a seal says how often it was broken."""
    assert make_baseline(MATRIX, "published_recipe").title == "published recipe"
    assert make_record(number=12).title == "#12"
    said = [openings(n) for n in (0, 1, 2)]
    assert said == ["still sealed", "opened 1 time", "opened 2 times"]
