"""How often the intervals and decisions of `tuner confirm` are right, on simulated studies.

    nice python benchmarks/coverage.py > coverage.jsonl     about six minutes on one core
    python benchmarks/coverage.py --quick                   a tenth of the repeats

An image is found when a sum of normal parts is positive: how well the setting does on its class,
the difficulty of the image (shared by all settings), how the setting takes to the image (in every
training), and luck of training for the whole class and for the single image. The true recall is
thus known. The usual sizes of the parts were set by hand; real heads agree more, and scenarios
"like real heads" have their noise (docs/notes/007-intervals.md). What judges are the package's
own functions.

`coverage` lines: share of repeats in which the interval of the package holds the true gain; beside
it `bootstrap`, the plain percentile bootstrap of images within class (whole groups where groups
exist) and of seeds, and `normal`, the same variance components with 1.96 for t and nothing
added. `decision` lines: how many whole studies, from search to test, end with "better".
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from _common import emit, say
from scipy.special import ndtri

from tuner.confirm.decision import choose, judge, mean_macro_recall
from tuner.evaluation.comparison import macro_recall_difference

REPEATS, STUDIES = 2000, 400
RESAMPLES, BOOTSTRAPPED = 1000, 500  # per repeat; repeats that are bootstrapped too
CHUNK = 50  # repeats drawn at once


class Noise(NamedTuple):
    """Standard deviations of the parts; a probability of .84 is one unit above a half."""

    image: float = 1.0
    setting: float = 0.5
    seed_of_class: float = 0.15
    seed_of_image: float = 0.5
    common: float = 0.0  # correlation, not a deviation: luck that settings of one seed share

    @property
    def total(self) -> float:
        """Of the sum of all parts."""
        return float(np.linalg.norm(self[:4]))


# What six seeds of three settings on two data sets show: two unlike settings, two alike ones.
UNLIKE = Noise(2.5, 0.5, 0.3, 0.8, 0.4)
ALIKE = Noise(3.0, 0.3, 0.3, 0.7, 0.4)


class Scenario(NamedTuple):
    """Two settings that are compared."""

    name: str
    support: tuple[int, ...]
    recall_a: tuple[float, ...]
    recall_b: tuple[float, ...]
    n_seeds: int = 6
    noise: Noise = Noise()
    groups: str = ""  # parts: five images of one class; patients: of any class, uneven
    correlation: float = 0.0  # of all parts within a group


# Supports and two sets of recalls.
TWO = ((200, 50), (0.92, 0.70), (0.90, 0.60))
SEVEN = ((400, 200, 100, 50, 50, 50, 50), (0.9,) * 3 + (0.75,) * 4, (0.92,) * 3 + (0.7,) * 4)
TWELVE = ((300,) * 4 + (50,) * 8, (0.80,) * 12, (0.78,) * 12)


def near_1(support: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    return support, (0.99,) * len(support), (0.98,) * len(support)


def scenarios() -> list[Scenario]:
    loud, still = Noise(seed_of_class=0.3), Noise(seed_of_class=0.0)
    found = [
        Scenario("2 classes", *TWO),
        Scenario("7 classes", *SEVEN),
        Scenario("12 classes", *TWELVE),
        Scenario("2 classes, recall .99 against .98", *near_1(TWO[0])),
        Scenario("7 classes, recall .99 against .98", *near_1(SEVEN[0])),
        Scenario("7 classes, equally good", SEVEN[0], SEVEN[1], SEVEN[1]),
    ]
    for n_seeds in (3, 10):
        found.append(Scenario(f"2 classes, {n_seeds} seeds", *TWO, n_seeds))
        found.append(Scenario(f"7 classes, {n_seeds} seeds", *SEVEN, n_seeds))
    found += [
        Scenario("2 classes, training twice as noisy", *TWO, 6, loud),
        Scenario("7 classes, training twice as noisy", *SEVEN, 6, loud),
        Scenario("7 classes, training twice as noisy, 3 seeds", *SEVEN, 3, loud),
        Scenario("7 classes, no noise of whole classes", *SEVEN, 6, still),
        Scenario("7 classes, 1 seed", *SEVEN, 1),
        Scenario("7 classes, deterministic", *SEVEN, 1, Noise(1.0, 0.5, 0.0, 0.0)),
    ]
    for groups, correlation in (("parts", 0.8), ("patients", 0.8), ("patients", 0.0)):
        tail = f"{groups} correlated {correlation}"
        options = {"groups": groups, "correlation": correlation}
        found.append(Scenario(f"2 classes, {tail}", *TWO, **options))
        found.append(Scenario(f"7 classes, {tail}", *SEVEN, **options))
    grouped = {"groups": "parts", "correlation": 0.8}
    for support in (TWO[0], SEVEN[0]):
        name = f"{len(support)} classes, .99 against .98, parts correlated 0.8"
        found.append(Scenario(name, *near_1(support), **grouped))
    for n in (20, 10, 6, 4):
        two, seven = (100, n), (100, 60, 30, n, n, n, n)
        found.append(Scenario(f"2 classes, {n} rare images", two, *TWO[1:]))
        found.append(Scenario(f"7 classes, {n} rare images", seven, *SEVEN[1:]))
        found.append(Scenario(f"7 classes, {n} rare images, .99 against .98", *near_1(seven)))
    # The hardest few-image case seen: the limits of the warning rest on it.
    for n in (10, 6, 5, 4, 3):
        far = (100, n), (0.95, 0.9), (0.95, 0.3)
        found.append(Scenario(f"2 classes, {n} rare images, .9 against .3", *far))
    return found + like_real_heads() + unseen()


def like_real_heads() -> list[Scenario]:
    """Noise as measured. They showed a first choice of constants to be too narrow."""
    found = []
    for kind, noise in (("unlike", UNLIKE), ("alike", ALIKE)):
        for n_seeds in (6, 3):
            tail = f"like real heads, {kind} settings" + (", 3 seeds" if n_seeds == 3 else "")
            for case in (TWO, SEVEN, TWELVE):
                found.append(Scenario(f"{len(case[0])} classes, {tail}", *case, n_seeds, noise))
            for case in (near_1(TWO[0]), near_1(SEVEN[0])):
                name = f"{len(case[0])} classes, .99 against .98, {tail}"
                found.append(Scenario(name, *case, n_seeds, noise))
        tail = f"like real heads, {kind} settings"
        for n in (20, 10, 6):
            two, seven = (100, n), (100, 60, 30, n, n, n, n)
            for case in ((two, *TWO[1:]), (seven, *SEVEN[1:]), near_1(two), near_1(seven)):
                level = ", .99 against .98" if case[1][0] == 0.99 else ""
                name = f"{len(case[0])} classes, {n} rare images{level}, {tail}"
                found.append(Scenario(name, *case, 6, noise))
        for case in (TWO, SEVEN):
            name = f"{len(case[0])} classes, patients correlated 0.8, {tail}"
            found.append(Scenario(name, *case, 6, noise, "patients", 0.8))
    return found


def unseen() -> list[Scenario]:
    """Noise, supports and recalls by which nothing was chosen; run when all was fixed."""
    noise, found = Noise(2.0, 0.4, 0.25, 0.6, 0.25), []
    for n_seeds in (6, 10):
        for support, low, high in (
            ((150, 60), (0.85, 0.62), (0.88, 0.70)),
            ((250, 120, 80, 50), (0.94, 0.9, 0.8, 0.55), (0.93, 0.9, 0.84, 0.66)),
            ((500,) + (55,) * 8, (0.9,) + (0.7,) * 8, (0.88,) + (0.78,) * 8),
            ((300, 50), (0.975, 0.97), (0.985, 0.98)),
            ((300, 150, 60, 60, 50), (0.97,) * 5, (0.98,) * 5),
            ((90, 40, 15, 15), (0.9, 0.85, 0.6, 0.6), (0.9, 0.87, 0.7, 0.7)),
            ((90, 8), (0.9, 0.6), (0.9, 0.75)),
            ((90, 40, 8, 8, 8), (0.97,) * 5, (0.98,) * 5),
        ):
            name = f"unseen, {len(support)} classes, rarest {min(support)}, recall {low[-1]}"
            found.append(Scenario(f"{name}, {n_seeds} seeds", support, high, low, n_seeds, noise))
    for groups in ("patients", "parts"):
        found.append(
            Scenario(
                f"unseen, 4 classes, {groups} correlated 0.5",
                (250, 120, 90, 70),
                (0.93, 0.9, 0.84, 0.66),
                (0.94, 0.9, 0.8, 0.55),
                6,
                noise,
                groups,
                0.5,
            )
        )
    return found


def draw_groups(kind: str, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Group of each image, or None."""
    if kind == "parts":
        place = np.concatenate([np.arange(n) // 5 for n in np.bincount(labels)])
        return np.unique(labels * len(labels) + place, return_inverse=True)[1]
    if kind == "patients":
        # A few patients bring ten times as many images as the others.
        share = rng.gamma(1.0, size=len(labels) // 6)
        drawn = rng.choice(len(share), size=len(labels), p=share / share.sum())
        return np.unique(drawn, return_inverse=True)[1]
    return None


def normal_parts(
    rng: np.random.Generator, shape: tuple[int, ...], groups: np.ndarray | None, correlation: float
) -> np.ndarray:
    """Standard normal, float32 of `shape` with images last, correlated within groups."""
    own = rng.standard_normal(shape, dtype=np.float32)
    if groups is None or correlation == 0:
        return own
    shared = rng.standard_normal((*shape[:-1], groups.max() + 1), dtype=np.float32)
    return np.sqrt(1 - correlation) * own + np.sqrt(correlation) * shared[..., groups]


def draw_hits(
    scenario: Scenario,
    labels: np.ndarray,
    groups: np.ndarray | None,
    n_repeats: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Hits of both settings, bool (n_repeats, 2, n_seeds, n_images)."""
    noise, n_images, n_seeds = scenario.noise, len(labels), scenario.n_seeds
    level = ndtri(np.array([scenario.recall_a, scenario.recall_b])) * noise.total
    parts = level[:, labels][None, :, None, :].astype(np.float32)
    each, luck = (n_repeats, 2, 1), (n_repeats, 2, n_seeds)

    def images(shape: tuple[int, ...]) -> np.ndarray:
        return normal_parts(rng, (*shape, n_images), groups, scenario.correlation)

    parts = parts + np.float32(noise.image) * images((n_repeats, 1, 1))
    parts = parts + np.float32(noise.setting) * images(each)
    own, shared = np.float32(np.sqrt([1 - noise.common, noise.common]))
    single = own * images(luck)
    whole = own * rng.standard_normal((*luck, len(level[0])), dtype=np.float32)
    if noise.common:
        alike = (n_repeats, 1, n_seeds)
        single = single + shared * images(alike)
        whole = whole + shared * rng.standard_normal((*alike, len(level[0])), dtype=np.float32)
    parts = parts + np.float32(noise.seed_of_image) * single
    return parts + np.float32(noise.seed_of_class) * whole[..., labels] > 0


def bootstrap_covers(
    difference: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None,
    truth: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Whether the percentile bootstrap of each repeat (n_repeats, n_seeds, n_images) covers."""
    n_repeats, n_seeds, n_images = difference.shape
    weights = bootstrap_weights(labels, groups, rng)
    seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=RESAMPLES) / n_seeds
    by_seed = (difference.reshape(-1, n_images).astype(np.float32) @ weights.T).reshape(
        n_repeats, n_seeds, RESAMPLES
    )
    gains = np.einsum("rsb,bs->rb", by_seed, seeds)
    low, high = np.percentile(gains, [2.5, 97.5], axis=1)
    return (low <= truth) & (truth <= high)


def bootstrap_weights(
    labels: np.ndarray, groups: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """Weight of each image in the macro recall of each resample, (RESAMPLES, n_images)."""
    support = np.bincount(labels)
    times = np.empty((RESAMPLES, len(labels)), dtype=np.float32)
    if groups is None:
        for k, n in enumerate(support):
            times[:, labels == k] = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    else:
        n = groups.max() + 1
        times[:] = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)[:, groups]
    for k in range(len(support)):
        of_class = times[:, labels == k]
        times[:, labels == k] = of_class / np.maximum(of_class.sum(axis=1, keepdims=True), 1)
    return times / np.float32(len(support))


def normal_interval_covers(difference: np.ndarray, labels: np.ndarray, truth: float) -> np.ndarray:
    """Whether gain ± 1.96 errors covers, same components, nothing added; without groups."""
    n_seeds, support = difference.shape[1], np.bincount(labels)
    by_class = [difference[..., labels == k] for k in range(len(support))]
    gain = np.stack([d.mean(axis=-1) for d in by_class]).mean(axis=0)  # (n_repeats, n_seeds)
    images = sum(d.mean(axis=1).var(axis=-1, ddof=1) / d.shape[-1] for d in by_class)
    variance = images / len(support) ** 2
    if n_seeds > 1:
        # Centred per seed, as what moves a whole class is not of single images.
        centred = [d - d.mean(axis=-1, keepdims=True) for d in by_class]
        both = sum(d.var(axis=1, ddof=1).mean(axis=-1) / (d.shape[-1] - 1) for d in centred) / (
            n_seeds * len(support) ** 2
        )
        variance = variance + np.maximum(gain.var(axis=1, ddof=1) / n_seeds - both, 0)
    return np.abs(gain.mean(axis=1) - truth) <= 1.96 * np.sqrt(variance)


def measure(scenario: Scenario, n_repeats: int) -> dict[str, object]:
    """Coverage of one scenario."""
    rng = np.random.default_rng(0)
    n_classes = len(scenario.support)
    labels = np.repeat(np.arange(n_classes), scenario.support)
    groups = draw_groups(scenario.groups, labels, rng)
    truth = float(np.mean(np.subtract(scenario.recall_a, scenario.recall_b)))
    found, bootstrap, normal = [], [], []
    for start in range(0, n_repeats, CHUNK):
        hits = draw_hits(scenario, labels, groups, CHUNK, rng)
        found += [
            macro_recall_difference(a, b, labels=labels, n_classes=n_classes, groups=groups)
            for a, b in hits
        ]
        difference = hits[:, 0].astype(np.int8) - hits[:, 1]
        if groups is None:
            normal.append(normal_interval_covers(difference, labels, truth))
        if start < BOOTSTRAPPED:
            bootstrap.append(bootstrap_covers(difference, labels, groups, truth, rng))
    quiet = [d.low <= truth <= d.high for d in found if not d.warning]
    return {
        "coverage": float(np.mean([d.low <= truth <= d.high for d in found])),
        "normal": float(np.mean(normal)) if normal else None,
        "bootstrap": float(np.mean(bootstrap)),
        "standard_error": float(np.sqrt(np.mean([d.standard_error**2 for d in found]))),
        "standard_deviation": float(np.std([d.gain for d in found])),
        "warned": float(np.mean([d.warning != "" for d in found])),
        "coverage_without_warning": float(np.mean(quiet)) if quiet else None,
    }


class Plan(NamedTuple):
    """A simulated study: what its settings are worth."""

    name: str
    support: tuple[int, ...]  # of the sealed test
    plain: tuple[float, ...]  # recalls of everything but the good trials
    good: tuple[float, ...]
    n_good: int  # of the trials
    n_trials: int = 60
    noise: Noise = Noise()


FREE = ("adjusted_1", "adjusted_tuned", "logistic", "nearest")
BASELINES = ("plain", "balanced", "recipe")
FINALISTS = 5
RETEST_TIMES = 4  # the test is a fifth of the images


def plans() -> list[Plan]:
    """With the usual noise, and the same studies with that of real heads."""
    usual = usual_plans()
    real = [p._replace(name=f"{p.name}, like real heads", noise=UNLIKE) for p in usual]
    return usual + real


def usual_plans() -> list[Plan]:
    five = (200, 100, 50, 50, 50)
    level = (0.92, 0.88, 0.70, 0.70, 0.65)
    seven = (400, 200, 100, 50, 50, 50, 50)
    return [
        Plan("all equal, 5 classes", five, level, level, 0),
        Plan("all equal, 7 classes near 1", seven, (0.97,) * 7, (0.97,) * 7, 0),
        Plan("all equal, 10 rare images", (100, 60, 10, 10), (0.9, 0.85, 0.7, 0.7), (), 0),
        Plan("10 points better, 5 classes", five, level, (0.91, 0.88, 0.87, 0.87, 0.82), 20),
        Plan(
            "10 points better, 7 classes",
            seven,
            (0.93, 0.9, 0.85) + (0.65,) * 4,
            (0.93, 0.9, 0.85) + (0.825,) * 4,
            20,
        ),
        Plan("10 points better, 2 classes", (200, 50), (0.95, 0.6), (0.92, 0.83), 20),
    ]


class Images:
    """Images of a simulated study, and how each setting takes to them."""

    def __init__(self, support: tuple[int, ...], noise: Noise, rng: np.random.Generator) -> None:
        self.noise = noise
        self.shared: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.labels = np.repeat(np.arange(len(support)), support)
        self.difficulty = rng.standard_normal(len(self.labels))
        self.rng = rng
        self.tastes: dict[str, np.ndarray] = {}

    def taste(self, key: str, like: str = "") -> np.ndarray:
        """How a setting takes to each image; post-hoc corrections nearly as what they correct."""
        if key not in self.tastes:
            own = self.rng.standard_normal(len(self.labels))
            share = 0.9 if like else 0.0
            self.tastes[key] = (
                own if not like else share * self.taste(like) + np.sqrt(1 - share**2) * own
            )
        return self.tastes[key]

    def hits(self, key: str, recall: tuple[float, ...], n_seeds: int) -> np.ndarray:
        """Found images, bool (n_seeds, n_images); free baselines on the bank are not random."""
        is_trained = key not in ("logistic", "nearest")
        noise = self.noise if is_trained else self.noise._replace(seed_of_class=0, seed_of_image=0)
        taste = self.taste(key, "plain" if key.startswith("adjusted") else "")
        level = ndtri(np.array(recall))[self.labels] * noise.total
        fixed = level + noise.image * self.difficulty + noise.setting * taste
        whole, single = self.luck(n_seeds, len(recall))
        luck = noise.seed_of_class * whole[:, self.labels] + noise.seed_of_image * single
        return fixed + luck > 0

    def luck(self, n_seeds: int, n_classes: int) -> list[np.ndarray]:
        """Luck of whole classes and of single images, in part common to settings of a seed."""
        shapes = (n_seeds, n_classes), (n_seeds, len(self.labels))
        if n_seeds not in self.shared:
            self.shared[n_seeds] = tuple(self.rng.standard_normal(shape) for shape in shapes)
        own, common = np.sqrt([1 - self.noise.common, self.noise.common])
        return [
            own * self.rng.standard_normal(shape) + common * shared
            for shape, shared in zip(shapes, self.shared[n_seeds], strict=True)
        ]


def simulate_study(plan: Plan, seed: int) -> tuple[str, bool]:
    """The setting that `confirm` chooses, and whether it says "better"."""
    rng = np.random.default_rng((1, seed))
    n_classes = len(plan.support)
    seen = Images(tuple(RETEST_TIMES * n for n in plan.support), plan.noise, rng)
    test = Images(plan.support, plan.noise, rng)
    recalls = {
        f"trial-{i}": plan.good if i < plan.n_good else plan.plain for i in range(plan.n_trials)
    }
    recalls |= dict.fromkeys((*BASELINES, *FREE), plan.plain)
    data = {"labels": seen.labels, "n_classes": n_classes}
    searched = {
        key: mean_macro_recall(seen.hits(key, recalls[key], 1), **data)
        for key in recalls
        if key.startswith("trial")
    }
    finalists = sorted(searched, key=searched.__getitem__, reverse=True)[:FINALISTS]
    retest = {key: seen.hits(key, recalls[key], 5) for key in (*BASELINES, *finalists, *FREE)}
    choice = choose(retest, candidates=(*BASELINES, *finalists), free=FREE, **data)
    to_beat = ("plain", choice.best_free)
    opened = {key: test.hits(key, recalls[key], 6) for key in {choice.chosen, *to_beat}}
    judgement = judge(
        opened, chosen=choice.chosen, to_beat=to_beat, labels=test.labels, n_classes=n_classes
    )
    return choice.chosen, judgement.is_better


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the repeats")
    parser.add_argument("--only", default="", help="scenarios whose name holds this text")
    options = parser.parse_args()
    repeats, studies = (REPEATS // 10, STUDIES // 10) if options.quick else (REPEATS, STUDIES)
    for scenario in scenarios():
        if options.only in scenario.name:
            say(f"  {scenario.name}")
            emit(
                "coverage",
                scenario=scenario.name,
                rarest=min(scenario.support),
                seeds=scenario.n_seeds,
                repeats=repeats,
                **measure(scenario, repeats),
            )
    for plan in plans():
        if options.only in plan.name:
            say(f"  {plan.name}")
            ends = [simulate_study(plan, seed) for seed in range(studies)]
            emit(
                "decision",
                study=plan.name,
                gain=float(np.mean(plan.good) - np.mean(plan.plain)) if plan.n_good else 0.0,
                studies=studies,
                better=sum(is_better for _, is_better in ends),
                plain_chosen=sum(chosen == "plain" for chosen, _ in ends),
            )


if __name__ == "__main__":
    main()
