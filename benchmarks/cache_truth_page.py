"""Table and plot of `cache_truth.py`'s results, into the page that tells them.

    python benchmarks/cache_truth_page.py benchmarks/results/cache_truth-amd-epyc-x2.json

Writes ``docs/images/cache-truth.png`` and the tables between the marks of ``docs/cache.md``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

DOCS = Path(__file__).parents[1] / "docs"
MARKS = "<!-- cache_truth -->\n", "<!-- end of cache_truth -->\n"
WAYS = {
    "repeats": "images repeated, no view",
    "one_view": "one view of each image",
    "bank": "**the bank of `tuner run`**",
    "second": "a second bank, other views",
    "two_sets": "two banks in turn",
    "four_sets": "four banks in turn",
    "ten_sets": "ten banks in turn",
    "live": "fresh views, `--live`",
    "bank, other seeds": "the bank, other seeds",
}

Line = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    lines = [json.loads(line) for line in options.results.read_text().splitlines()]
    names = [line["data"] for line in lines if line["benchmark"] == "cache_truth"]
    against = next(line["against"] for line in lines if "against" in line)
    settings = {name: of(lines, "cache_truth_setting", name) for name in names}
    summaries = {line["data"]: line for line in lines if line["benchmark"] == "cache_truth"}
    tables = [recipe(summaries)]
    tables += [way_table(name, of(lines, "cache_truth_way", name)) for name in names]
    tables += [setting_table(name, found, against) for name, found in settings.items()]
    plot(settings, against, DOCS / "images" / "cache-truth.png")
    page = DOCS / "cache.md"
    before, rest = page.read_text("utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    page.write_text(
        before + MARKS[0] + "\n" + "\n".join(tables) + "\n" + MARKS[1] + after, "utf-8"
    )


def recipe(summaries: dict[str, Line]) -> str:
    """What was trained, and the noise to hold the tables against."""
    first = next(iter(summaries.values()))
    seeds = f"{first['seeds']} seed{'s' if first['seeds'] > 1 else ''}"
    noise = ", ".join(f"{line['seed_noise']:.3f} on {name}" for name, line in summaries.items())
    return (
        f"{first['settings']} settings, {seeds}, {first['epochs']} epochs, "
        f"{first['image_px']} px, on {first['backend']}.\n"
        f"With as many other seeds a setting moves by (one standard deviation): {noise}.\n"
    )


def of(lines: list[Line], benchmark: str, name: str) -> list[Line]:
    """Lines of one kind and data set."""
    return [line for line in lines if (line["benchmark"], line["data"]) == (benchmark, name)]


def way_table(name: str, lines: list[Line]) -> str:
    """Each way of training against fresh views."""
    rows = [
        f"**{name}**",
        "",
        "| trained on | fresh views are better by | spread | rank correlation | best setting |",
        "|---|--:|--:|--:|---|",
    ]
    for line in sorted(lines, key=lambda line: list(WAYS).index(line["way"])):
        better = f"{line['difference_mean']:+.3f} ± {line['difference_standard_error']:.3f}"
        lost = f"another, {line['lost_by_choosing_here']:.4f} lower"
        best = "the same" if line["same_winner"] else lost
        cells = WAYS[line["way"]], better, f"{line['difference_spread']:.3f}"
        rows.append("| " + " | ".join([*cells, f"{line['rank_correlation']:.2f}", best]) + " |")
    return "\n".join([*rows, ""])


def setting_table(name: str, lines: list[Line], against: str) -> str:
    """Macro recall of each setting, the best on the bank first."""
    rows = [
        f"**{name}**",
        "",
        f"| setting | bank | second bank | {WAYS[against]} | difference |",
        "|---|--:|--:|--:|--:|",
    ]
    for line in sorted(lines, key=lambda line: -line["bank"]):
        p = line["params"]
        setting = (
            f"γ{p['gamma']:.2f} α{p['alpha']:.2f} ×{p['augmentation_multiplier']} "
            f"{p['class_weight_mode']}"
        )
        values = f"{line['bank']:.3f}", f"{line['second']:.3f}", f"{line[against]:.3f}"
        difference = f"{line[against] - line['bank']:+.3f}"
        rows.append("| " + " | ".join([setting, *values, difference]) + " |")
    return "\n".join([*rows, ""])


def plot(settings: dict[str, list[Line]], against: str, path: Path) -> None:
    """Fresh against cached views, each setting a point with its seeds, a panel a data set."""
    figure = Figure(figsize=(4.6 * len(settings) + 0.8, 4.4), layout="constrained")
    panels = figure.subplots(1, len(settings), squeeze=False)[0]
    for ax, (name, lines) in zip(panels, settings.items(), strict=True):
        cached, fresh = (
            np.array([line["seeds"][way] for line in lines]) for way in ("bank", against)
        )
        x, y = cached.mean(axis=1), fresh.mean(axis=1)
        low, high = min(cached.min(), fresh.min()) - 0.02, max(cached.max(), fresh.max()) + 0.03
        ax.plot([low, high], [low, high], color="0.7", lw=1, zorder=0)
        bars = {"xerr": np.ptp(cached, axis=1) / 2, "yerr": np.ptp(fresh, axis=1) / 2}
        ax.errorbar(x, y, **bars, fmt="none", ecolor="0.75", lw=1, zorder=1)
        colour = [line["params"]["augmentation_multiplier"] for line in lines]
        dots = ax.scatter(
            x, y, c=colour, vmin=0, vmax=8, cmap="viridis", s=42, edgecolors="0.25", linewidths=0.6
        )
        best = {"cached": int(x.argmax()), "fresh": int(y.argmax())}
        is_same = best["cached"] == best["fresh"]
        for side, where in [("both ways", best["fresh"])] if is_same else best.items():
            ax.annotate(
                f"best {side}",
                (x[where], y[where]),
                xytext=(0, 20) if side == "cached" else (-16, 14),
                textcoords="offset points",
                ha="center" if side == "cached" else "right",
                fontsize=8,
                arrowprops={"arrowstyle": "-", "color": "0.4", "lw": 0.7},
            )
        ax.set(xlim=(low, high), ylim=(low, high), aspect="equal", title=name)
        ax.set(xlabel="macro recall, cached views", ylabel="macro recall, fresh views")
    figure.colorbar(dots, ax=list(panels), label="augmentation multiplier")
    figure.savefig(path, dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    main()
