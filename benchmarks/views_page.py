"""Tables and plot of `views.py`'s results, into the page that tells them.

    python benchmarks/views_page.py benchmarks/results/views.json

Writes ``docs/images/views.png`` and the tables between the marks of ``docs/views.md``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

DOCS = Path(__file__).parents[1] / "docs"
MARKS = "<!-- views -->\n", "<!-- end of views -->\n"
COLOURS = {"minority": "#b2182b", "shared": "#2166ac"}
WORDS = {"balanced": "balanced weights", "none": "no weights"}

Line = dict[str, Any]


def main() -> None:
    """Read the lines, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    path = parser.parse_args().results
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    scores = [line for line in lines if line["benchmark"] == "views"]
    probes = [line for line in lines if line["benchmark"] == "views_probe"]
    tables = [recipe(scores), *map(table_of, by_data(scores)), mean_table(scores)]
    usual = [line for line in probes if line["fill"] == "nearest"]
    tables += [probe_table(usual), fill_table(probes)]
    plot(scores, DOCS / "images" / "views.png")
    page = DOCS / "views.md"
    before, rest = page.read_text("utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    text = "\n".join(tables)
    page.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", "utf-8")


def by_data(lines: Sequence[Line]) -> Iterator[tuple[str, list[Line]]]:
    """Lines of each data set, as they come."""
    for name in dict.fromkeys(line["data"] for line in lines):
        yield name, [line for line in lines if line["data"] == name]


def recipe(lines: Sequence[Line]) -> str:
    """What was trained, by data set."""
    rows = [
        "| set | images | classes | px | units | rate | seeds |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, mine in by_data(lines):
        first, seeds = mine[0], {line["seed"] for line in mine}
        keys = ("images", "classes", "image_px", "hidden_units", "learning_rate")
        cells = [name, *(first[k] for k in keys)]
        rows.append("| " + " | ".join(map(str, [*cells, len(seeds)])) + " |")
    machines = " and ".join(dict.fromkeys(line["machine"] for line in lines))
    return "\n".join([*rows, "", f"Images outside the sealed test; on {machines}.", ""])


def values(lines: Sequence[Line], key: str, **which: Any) -> dict[int, float]:
    """A score by seed."""
    chosen = [line for line in lines if all(line[k] == v for k, v in which.items())]
    return {line["seed"]: line[key] for line in chosen}


def gains(lines: Sequence[Line], key: str, **which: Any) -> np.ndarray:
    """`shared` minus `minority`, by seed."""
    shared, minority = (values(lines, key, policy=p, **which) for p in ("shared", "minority"))
    return np.array([shared[seed] - minority[seed] for seed in shared if seed in minority])


def table_of(found: tuple[str, Sequence[Line]]) -> str:
    """Both policies of a data set by multiplier and weights."""
    name, lines = found
    rows = [
        f"**{name}**",
        "",
        "| weights | multiplier | macro recall: minority | shared | gain | three rarest: minority "
        "| shared | gain |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for mode, multiplier in dict.fromkeys((line["weights"], line["multiplier"]) for line in lines):
        cells = [WORDS[mode], str(multiplier)]
        for key in ("macro_recall", "rarest_recall"):
            which = {"weights": mode, "multiplier": multiplier}
            minority, shared = (
                list(values(lines, key, policy=p, **which).values())
                for p in ("minority", "shared")
            )
            cells.append(f"{np.mean(minority):.3f}")
            gain = gains(lines, key, **which)
            cells.append(f"{np.mean(shared):.3f}" if shared else "")
            cells.append(f"{gain.mean():+.3f}" if len(gain) else "")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join([*rows, ""])


def mean_table(lines: Sequence[Line]) -> str:
    """The gain on average over the data sets, each of which counts alike."""
    rows = [
        "**Gain of `shared` in macro recall, mean over the sets with turned and mirrored views "
        "that keep the class**",
        "",
        "| weights | multiplier | " + " | ".join(n for n, _ in by_data(lines)) + " | mean |",
        "|---|--:|" + "--:|" * (len(list(by_data(lines))) + 1),
    ]
    for mode, multiplier in dict.fromkeys((line["weights"], line["multiplier"]) for line in lines):
        if not multiplier:
            continue
        which = {"weights": mode, "multiplier": multiplier}
        of_data = {n: gains(mine, "macro_recall", **which) for n, mine in by_data(lines)}
        cells = [f"{g.mean():+.3f}" if len(g) else "" for g in of_data.values()]
        kept = [g.mean() for n, g in of_data.items() if len(g) and not n.startswith("digits")]
        mean = f"{np.mean(kept):+.3f}" if kept else ""
        rows.append("| " + " | ".join([WORDS[mode], str(multiplier), *cells, mean]) + " |")
    return "\n".join([*rows, ""])


def probe_table(lines: Sequence[Line]) -> str:
    """What a probe knows of views, and what that says about the class."""
    rows = [
        "**What views give away**: accuracy of a linear probe at telling views from images, and "
        "of what it says at telling rows of the three rarest classes from those of the largest "
        "(a coin: 0.5)",
        "",
        "| set | tells views | multiplier | rare classes told: minority | shared |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, mine in by_data(lines):
        for multiplier in dict.fromkeys(line["multiplier"] for line in mine):
            told = {
                line["policy"]: line["tells_rare_by_views"]
                for line in mine
                if line["multiplier"] == multiplier
            }
            cells = [name, f"{mine[0]['tells_views']:.2f}", str(multiplier)]
            cells += [f"{told[policy]:.2f}" for policy in ("minority", "shared")]
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join([*rows, ""])


def fill_table(lines: Sequence[Line]) -> str:
    """How well views are told from images by what lies beyond the border."""
    rows = [
        "**What lies beyond the border**: accuracy of the same probe (a coin: 0.5)",
        "",
        "| set | nearest | reflect |",
        "|---|--:|--:|",
    ]
    for name, mine in by_data(lines):
        told = {line["fill"]: line["tells_views"] for line in mine}
        if len(told) == 2:
            rows.append(f"| {name} | {told['nearest']:.3f} | {told['reflect']:.3f} |")
    return "\n".join([*rows, ""])


def plot(lines: Sequence[Line], path: Path) -> None:
    """Macro recall against the multiplier, a panel a data set, a line a policy."""
    sets = list(by_data(lines))
    figure = Figure(figsize=(3.4 * len(sets) + 0.6, 6.2), layout="constrained")
    panels = figure.subplots(2, len(sets), squeeze=False)
    for column, (name, mine) in enumerate(sets):
        for ax, mode in zip(panels[:, column], WORDS, strict=True):
            plain = list(values(mine, "macro_recall", multiplier=0, weights=mode).values())
            for policy, colour in COLOURS.items():
                xs, ys = [0], [plain]
                for multiplier in sorted({line["multiplier"] for line in mine} - {0}):
                    which = {"policy": policy, "multiplier": multiplier, "weights": mode}
                    if found := list(values(mine, "macro_recall", **which).values()):
                        xs.append(multiplier)
                        ys.append(found)
                mean = [np.mean(y) if y else np.nan for y in ys]
                ax.plot(xs, mean, color=colour, marker="o", ms=4, label=policy)
                for x, y in zip(xs, ys, strict=True):
                    ax.plot([x] * len(y), y, ".", color=colour, alpha=0.35, ms=4)
            ax.set_title(f"{name}, {WORDS[mode]}", fontsize=9)
            ax.set(xlabel="multiplier", ylabel="macro recall" if not column else "")
    panels[0, 0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
