"""Is one model better than another, on the same images and training seeds?

A difference of macro recalls varies with the images drawn and with the training seeds.
`macro_recall_difference` measures both from the paired hits; docs/notes/007-intervals.md shows
its coverage beside that of other methods.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr, stdtrit

from tuner.arrays import Bool, Float64, Int64

# With fewer, 95 % intervals were seen to cover too little (docs/notes/007-intervals.md).
FEW_IMAGES = 5
FEW_GROUPS = 12
FEW_SEEDS = 5
FEW_TOLD_APART = 15
# Added to every class, so that one on which two models happen to agree does not claim certainty.
_ADDED_GROUPS = 2


@dataclass(frozen=True)
class RecallDifference:
    """Macro recall of one model minus that of another, and how far chance could carry it.

    Attributes:
        gain: Mean over training seeds, in the unit of recall.
        low: Lower limit of the interval of the expected gain over images and training seeds.
        high: Upper limit.
        standard_error: Of `gain`; ``class_variances`` and ``seed_variance`` add to its square.
        degrees_of_freedom: Of the t distribution behind the interval.
        class_variances: What the images of each class add, in class order. Where groups hold
            several classes, a class may take away.
        seed_variance: What training adds beyond single images; 0 for deterministic models.
        warning: Why the interval may be too narrow, as a sentence; empty when nothing is known.
    """

    gain: float
    low: float
    high: float
    standard_error: float
    degrees_of_freedom: float
    class_variances: tuple[float, ...]
    seed_variance: float
    warning: str = ""

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def macro_recall_difference(
    hits_a: Bool,
    hits_b: Bool,
    *,
    labels: Int64,
    n_classes: int,
    groups: Int64 | None = None,
    confidence: float = 0.95,
) -> RecallDifference:
    """Gain in macro recall of model a over model b, with a t interval.

    The variance of the gain has two crossed sources, images (or groups) and training seeds. With
    ``z[s, g]`` what group g adds to the gain of seed s, each class centred on its mean::

        images = sum_g mean_s(z)**2      seeds = var_s(gain of seed s) / S
        both   = sum_g var_s(z) / S      is in either, so it is taken off once
        variance = images + max(seeds - both, 0)

    Leverage is corrected as in CR2: without groups ``images`` is exactly the sum of the classes'
    unbiased variances. Degrees of freedom are Satterthwaite's, from the fourth powers of z, so a
    gain that rests on few images gets a wide interval. Each class has two groups added, of its
    usual size and with the squared difference that groups have over all classes, so that a class
    on which the models happen to agree does not claim certainty. Models that never disagree have
    a gain of 0 within limits that shrink with the number of images, not the interval [0, 0].

    Args:
        hits_a: Whether model a finds image i when trained with seed s, bool of shape
            (n_seeds, n_images). A deterministic model is repeated.
        hits_b: The same of model b, same images and seeds.
        labels: True classes, int64 of shape (n_images,), each in 0..n_classes-1.
        n_classes: Each needs at least one image.
        groups: Which images come together, int64 of shape (n_images,); a group may hold several
            classes. None: every image alone.
        confidence: In (0, 1).

    Returns:
        Gain, interval and what they rest on.

    Raises:
        ValueError: If shapes disagree or a class has no image.

    References:
        Searle, Casella & McCulloch, Variance Components, 1992, chapter 4 (crossed sources).
        Bell & McCaffrey, Bias reduction in standard errors for linear regression with
        multi-stage samples, Survey Methodology 2002 (CR2, Satterthwaite).
        Bonett & Price, Adjusted Wald confidence interval for a difference of binomial
        proportions based on paired data, 2012 (observations added to a sample).
    """
    support = _support(hits_a, hits_b, labels, n_classes)
    difference = hits_a.astype(np.float64) - hits_b.astype(np.float64)
    recall_gain = _class_means(difference, labels, support)
    cells = _cells(labels, groups, n_classes)
    z = _contributions(difference - recall_gain[:, labels], cells, support)
    added = _added_variance(difference - recall_gain[:, labels], cells, support)
    parts = _variance(z, recall_gain.mean(axis=1), cells, added)
    gain, error = float(recall_gain.mean()), math.sqrt(parts.total)
    half = float(stdtrit(parts.degrees_of_freedom, (1 + confidence) / 2)) * error
    return RecallDifference(
        gain=gain,
        low=max(gain - half, -1.0),
        high=min(gain + half, 1.0),
        standard_error=error,
        degrees_of_freedom=parts.degrees_of_freedom,
        class_variances=tuple(parts.classes.tolist()),
        seed_variance=parts.seeds,
        warning=_warning(
            support,
            cells,
            n_told_apart=len(
                np.unique(cells.group[cells.of_image[(difference != 0).any(axis=0)]])
            ),
            noun="image" if groups is None else "group",
            n_seeds=len(difference),
        ),
    )


class _Cells(NamedTuple):
    """Images of one group and class."""

    of_image: Int64  # (n_images,)
    group: Int64  # (n_cells,)
    label: Int64  # (n_cells,)
    size: Int64  # (n_cells,)
    groups_of_class: Int64  # (n_classes,)


class _Variance(NamedTuple):
    classes: Float64
    seeds: float
    total: float
    degrees_of_freedom: float


def _support(hits_a: Bool, hits_b: Bool, labels: Int64, n_classes: int) -> Int64:
    if hits_a.ndim != 2 or hits_a.shape != hits_b.shape or hits_a.shape[1:] != labels.shape:
        raise ValueError(
            "hits need the shape (n_seeds, n_images) of labels (n_images,), "
            f"but have {hits_a.shape}, {hits_b.shape} and {labels.shape}"
        )
    support = np.bincount(labels, minlength=n_classes)
    if len(support) > n_classes or (support == 0).any():
        raise ValueError(f"each of {n_classes} classes needs an image, counts are {support}")
    return support


def _class_means(x: Float64, labels: Int64, support: Int64) -> Float64:
    """(n_seeds, n_classes) from (n_seeds, n_images)."""
    return np.stack([np.bincount(labels, weights=row, minlength=len(support)) for row in x]) / (
        support
    )


def _cells(labels: Int64, groups: Int64 | None, n_classes: int) -> _Cells:
    group = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    pairs, of_image, size = np.unique(
        group * n_classes + labels, return_inverse=True, return_counts=True
    )
    label = pairs % n_classes
    return _Cells(of_image, pairs // n_classes, label, size, np.bincount(label))


def _contributions(residual: Float64, cells: _Cells, support: Int64) -> Float64:
    """What each cell adds to the gain of each seed, (n_seeds, n_cells), leverage corrected."""
    sums = np.stack(
        [np.bincount(cells.of_image, weights=row, minlength=len(cells.size)) for row in residual]
    )
    n = support[cells.label]
    # A class within one group has residuals of 0 and nothing to correct: it carries a warning.
    leverage = np.where(cells.size < n, cells.size / n, 0.0)
    return np.asarray(sums / (len(support) * n * np.sqrt(1 - leverage)))


def _added_variance(residual: Float64, cells: _Cells, support: Int64) -> Float64:
    """What the added groups add to the variance of each class, (n_classes,)."""
    sums = np.bincount(cells.of_image, weights=residual.mean(axis=0))
    squares = cells.size.astype(np.float64) ** 2
    # Half an image keeps complete agreement in every class from claiming certainty.
    disagreement = (sums**2).sum() + 0.5
    pooled = disagreement / (squares.sum() * (1 - (len(support) - 1) / support.sum()))
    typical = np.bincount(cells.label, weights=squares) / support  # seen by a random image
    return np.asarray(_ADDED_GROUPS * pooled * (typical / (len(support) * support)) ** 2)


def _variance(z: Float64, gain_of_seed: Float64, cells: _Cells, added: Float64) -> _Variance:
    n_seeds = len(z)
    in_group = np.stack([np.bincount(cells.group, weights=row) for row in z])
    of_group = in_group.mean(axis=0)
    # Covariance with the whole group, so that the classes' parts add to the sum over groups.
    share = z.mean(axis=0) * of_group[cells.group]
    classes = np.bincount(cells.label, weights=share) + added
    images = float(classes.sum())
    fourth = (of_group**4).sum() + (added**2).sum() / _ADDED_GROUPS
    noise = fourth / 2  # images**2 / degrees of freedom
    seeds = 0.0
    if n_seeds > 1:
        between = gain_of_seed.var(ddof=1) / n_seeds
        both = in_group.var(axis=0, ddof=1).sum() / n_seeds
        if between > both:
            seeds = float(between - both)
            noise += between**2 / (n_seeds - 1)
    total = images + seeds
    return _Variance(classes, seeds, total, max(float(total**2 / noise), 1.0))


def _warning(support: Int64, cells: _Cells, *, n_told_apart: int, noun: str, n_seeds: int) -> str:
    n_images, n_groups = int(support.min()), int(cells.groups_of_class.min())
    reasons = []
    if n_images < FEW_IMAGES:
        reasons.append(f"the rarest class has {_count(n_images, 'image')}")
    elif noun == "group" and n_groups < FEW_GROUPS:
        reasons.append(f"one class comes from {_count(n_groups, 'group')}")
    if n_told_apart < FEW_TOLD_APART:
        reasons.append(f"the models differ on {_count(n_told_apart, noun)}")
    if n_seeds < FEW_SEEDS:
        reasons.append(
            f"there {'is' if n_seeds == 1 else 'are'} {_count(n_seeds, 'training seed')}"
        )
    return f"The interval may be too narrow: {' and '.join(reasons)}." if reasons else ""


def _count(n: int, noun: str) -> str:
    return f"only {n} {noun}" if n == 1 else f"only {n} {noun}s"


@dataclass(frozen=True)
class ImagesNeeded:
    """How much larger a test would have to be to tell a gain from none.

    Attributes:
        gain: The gain to be told, in the unit of recall.
        times: How many times as many test images; infinite when seeds alone take nine tenths of
            the variance that may be left, so that more training seeds help first. Rounded up to
            two digits.
        classes: Those whose images make up most of the noise, most first.
        images: Test images of each of `classes` that would be needed; empty when `times` is
            infinite.
    """

    gain: float
    times: float
    classes: tuple[int, ...]
    images: tuple[int, ...]


def images_needed(
    difference: RecallDifference,
    support: Sequence[int] | Int64,
    *,
    resolution: float = 0.02,
    confidence: float = 0.95,
    share: float = 0.8,
) -> ImagesNeeded:
    """How many test images would let the interval leave out 0.

    Holds the observed gain (or `resolution` when that is larger), the disagreement per image and
    the number of seeds as they are. At this size the interval of a true gain of that height
    leaves out 0 in about half of all tests.

    Args:
        difference: What was measured.
        support: Test images per class, of shape (n_classes,).
        resolution: Smallest gain worth telling, in the unit of recall.
        confidence: Of the interval, in (0, 1).
        share: `classes` are the fewest that hold this share of the images' variance.

    Returns:
        Small numbers for a sentence. `times` is 1 when the gain is clear already.
    """
    gain = max(abs(difference.gain), resolution)
    quantile = float(stdtrit(difference.degrees_of_freedom, (1 + confidence) / 2))
    allowed = (gain / quantile) ** 2
    room = allowed - difference.seed_variance
    variances = np.array(difference.class_variances)
    has_room = room > min(allowed / 10, variances.sum())
    times = _round_up(max(variances.sum() / room, 1.0)) if has_room else math.inf
    order = np.argsort(-variances, kind="stable")
    held = np.cumsum(variances[order])
    n_needed = int(np.searchsorted(held, share * held[-1])) + 1
    classes = tuple(int(k) for k in order[:n_needed])
    images = tuple(math.ceil(support[k] * times) for k in classes) if has_room else ()
    return ImagesNeeded(gain=gain, times=times, classes=classes, images=images)


def _round_up(x: float) -> float:
    """Two significant digits, upwards."""
    unit = 10.0 ** (math.floor(math.log10(x)) - 1)
    # A hair less, so that 1.2 / 0.1 = 12.000000000000002 stays 12.
    return round(math.ceil(x / unit - 1e-9) * unit, 10)


def exact_mcnemar(gained: Int64 | int, lost: Int64 | int) -> Float64:
    """Two-sided p value that gained and lost images are equally likely, exact.

    Args:
        gained: Images that only the first model finds, int64 of any shape.
        lost: Images that only the second finds, of the same shape.

    Returns:
        float64 of that shape; 1 where the models never disagree.

    Example:
        >>> exact_mcnemar(np.array([3, 8]), np.array([1, 0])).round(4)
        array([0.625 , 0.0078])

    References:
        McNemar, Psychometrika 1947; the binomial test on the images told apart.
    """
    fewer, disagreements = np.minimum(gained, lost), np.add(gained, lost)
    return np.minimum(2 * np.asarray(bdtr(fewer, disagreements, 0.5), dtype=np.float64), 1.0)


def holm(p: Float64) -> Float64:
    """P values adjusted for their number, Holm's step-down.

    Args:
        p: P values, float64 of shape (n_tests,).

    Returns:
        float64 in the order of `p`; one below 0.05 is a finding at that error rate of the whole
        family.

    References:
        Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 1979.
    """
    order = np.argsort(p, kind="stable")
    stepped = np.asarray(p, dtype=np.float64)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p), dtype=np.float64)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted
