"""What views did in a study is paired, on the same images, and says how sure it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.report.made_study import make_study
from tuner.home.records import load_log_prob, save_record
from tuner.home.study_folder import StudyFolder
from tuner.report.views import views_effect, views_sentence
from tuner.setting import Setting

CLASSES = ("a", "b", "c")


def study_of(home, *, harm: float) -> StudyFolder:
    """Five settings with views beside five without; views miss so many more images.

    Args:
        home: Where it lies.
        harm: Share of all images that settings with views take for another class.
    """
    folder = make_study(home, CLASSES, trials=1, largest=120, rarest=60)
    labels = folder.images.labels[folder.images.search]
    rng = np.random.default_rng(0)
    template = folder.records()[-1]
    for number in range(4, 14):
        has_views = number % 2 == 1
        hit = rng.random(len(labels)) < 0.9 - (harm if has_views else 0)
        answer = np.where(hit, labels, (labels + 1) % 3)
        log_prob = np.log(np.where(np.arange(3) == answer[:, None], 0.8, 0.1))
        params = Setting(0.3 * number, 0.5, 3 * has_views, "none")
        name = f"trial-{number:05d}"
        record = replace(
            template, name=name, number=number, state="complete", reason=None, params=params
        )
        save_record(folder.records_path, record, log_prob=log_prob)
    return StudyFolder(folder.path)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (0.2, "Views cost "),
        (-0.09, "Views gain "),
        (0.0, "no clear difference"),
    ],
)
def test_the_sentence_is_what_the_pairs_say(tmp_path, harm, said):
    """Cost, gain or neither, with its interval and the settings that it rests on."""
    folder = study_of(tmp_path, harm=harm)
    records = [r for r in folder.records() if r.number is not None and r.number > 3]
    found = views_effect(folder, records)
    assert found.n_pairs == 5
    labels = folder.images.labels[folder.images.search]
    recall = {True: [], False: []}
    for record in records:
        hit = load_log_prob(folder.records_path, record.name).argmax(axis=1) == labels
        by_class = [hit[labels == k].mean() for k in range(3)]
        recall[record.params.augmentation_multiplier > 0].append(np.mean(by_class))
    # Pairs may share a setting without views, so its mean is not theirs.
    expected = np.mean(recall[True]) - np.mean(recall[False])
    assert found.gain.gain == pytest.approx(expected, abs=0.03)
    sentence = views_sentence(folder, records)
    assert said in sentence
    assert "at strength 1" in sentence
    assert f"{100 * found.gain.low:+.1f} to {100 * found.gain.high:+.1f}, 5 pairs" in sentence


def test_too_few_settings_say_nothing(tmp_path):
    """Baselines alone make no pair: the recipe's views are of another policy."""
    folder = make_study(tmp_path, CLASSES, trials=0)
    assert views_effect(folder, folder.records()) is None
    assert views_sentence(folder, folder.records()) == ""


def test_damaged_predictions_say_nothing(tmp_path):
    """Whoever shows them names the file; here no sentence is made of them."""
    folder = study_of(tmp_path, harm=0.1)
    (folder.records_path / "trial-00005.npz").write_bytes(b"x")
    assert views_sentence(folder, folder.records()) == ""
