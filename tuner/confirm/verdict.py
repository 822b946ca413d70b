"""What a confirmation found, in words, for people who are no statisticians."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tuner.confirm.decision import Judgement
from tuner.evaluation.comparison import RecallDifference, images_needed
from tuner.home.baselines import BALANCED, PLAIN, RECIPE, TITLES
from tuner.home.confirmation import Verdict
from tuner.home.free import FREE_TITLES
from tuner.text import minus

_CLASSES_NAMED = 3

Comparisons = Mapping[str, RecallDifference]


def give_verdict(
    judgement: Judgement,
    *,
    chosen: str,
    best_free: str,
    n_settings: int,
    class_names: Sequence[str],
    support: Sequence[int],
) -> Verdict:
    """The verdict on the chosen setting.

    Args:
        judgement: What the sealed test says.
        chosen: Key of the setting that the retest chose.
        best_free: Key of the best free baseline.
        n_settings: Settings that the search had tried.
        class_names: In class order.
        support: Test images per class.
    """
    told = judgement.comparisons
    if chosen == PLAIN:
        parts = _of_cross_entropy(told, best_free, n_settings=n_settings)
        return Verdict(sentence=" ".join(parts), is_better=False)
    name, gains = name_of(chosen), _gains(told, best_free)
    over_plain, over_free = told[PLAIN], told[best_free]
    if judgement.is_better:
        parts = [f"Better than plain cross-entropy: {name}.", gains, _no_better_than(told)]
    elif over_plain.high < 0:
        parts = [f"Worse than plain cross-entropy: {name}.", gains]
    elif over_plain.low <= 0:
        n = f"{sum(support):,}"
        parts = [
            f"{name[0].upper()}{name[1:]} is no better than plain cross-entropy, as far as {n} "
            "test images can tell.",
            gains,
            _needed(over_plain, support=support, class_names=class_names),
        ]
    else:
        rival = name_of(best_free)
        parts = [
            f"{name[0].upper()}{name[1:]} is better than plain cross-entropy, but no better than "
            f"{rival}, which needs no search.",
            gains,
            _needed(over_free, support=support, class_names=class_names)
            if over_free.high > 0
            else "",
        ]
    sentence = " ".join(part for part in parts if part)
    return Verdict(sentence=sentence, is_better=judgement.is_better)


def name_of(key: str) -> str:
    """How a sentence calls a setting or a free baseline."""
    if key.startswith("trial-"):
        return f"trial #{int(key.removeprefix('trial-'))}"
    names = {PLAIN: "plain cross-entropy", BALANCED: "cross-entropy with balanced weights"}
    baseline = key.removeprefix("baseline-")
    return names.get(key) or f"the {TITLES[baseline]}" if baseline in TITLES else FREE_TITLES[key]


def points(x: float) -> str:
    """A difference of recalls in points, with its sign."""
    return minus(f"{100 * x:+.1f}")


def gain_in_words(gain: float, low: float, high: float) -> str:
    """Gain with its interval, ``+3.1 points (+0.4 to +5.8)``."""
    return f"{points(gain)} points ({points(low)} to {points(high)})"


def _told(difference: RecallDifference) -> str:
    return gain_in_words(difference.gain, difference.low, difference.high)


def _gains(told: Comparisons, best_free: str) -> str:
    """Gains over cross-entropy, the published recipe and the best free baseline, a sentence."""
    recipe = f"{_told(told[RECIPE])} over the published recipe, " if RECIPE in told else ""
    return (
        "Gain in macro recall on the sealed test, with its 95 % interval: "
        f"{_told(told[PLAIN])} over plain cross-entropy, {recipe}"
        f"{_told(told[best_free])} over the best free baseline, {name_of(best_free)}."
    )


def _of_cross_entropy(told: Comparisons, best_free: str, *, n_settings: int) -> list[str]:
    """Plain cross-entropy was chosen; a free baseline may still beat it."""
    rival, gain = name_of(best_free), told[best_free]
    parts = [
        f"No better than plain cross-entropy: on fresh splits none of {n_settings} settings did "
        "better by more than one standard error.",
        f"On the sealed test its gain in macro recall over the best free baseline, {rival}, is "
        f"{_told(gain)}, 95 % interval.",
    ]
    return parts + ([f"Use {rival}."] if gain.high < 0 else [])


def _no_better_than(told: Comparisons) -> str:
    """What else would have done, beside a setting that is better than cross-entropy."""
    if BALANCED not in told or told[BALANCED].low > 0:
        return ""
    return f"But it is no better than balanced weights: {_told(told[BALANCED])}."


def _needed(
    difference: RecallDifference, *, support: Sequence[int], class_names: Sequence[str]
) -> str:
    """How many more images would tell, if more are needed, as a sentence."""
    needed = images_needed(difference, support)
    if needed.times <= 1:
        return f"The test is large enough to tell a gain of {100 * needed.gain:.1f} points."
    gain = f"To tell a gain of {100 * needed.gain:.1f} points"
    if math.isinf(needed.times):
        return f"{gain}, more training seeds are needed."
    wanted = [
        f"{images} of {class_names[k]} instead of {support[k]}"
        for k, images in zip(needed.classes, needed.images, strict=True)
    ]
    n_more = len(wanted) - _CLASSES_NAMED
    more = f" and so on for {n_more} more classes" if n_more > 0 else ""
    return (
        f"{gain} the test would need about {needed.times:g} times as many images: "
        f"{', '.join(wanted[:_CLASSES_NAMED])}{more}."
    )
