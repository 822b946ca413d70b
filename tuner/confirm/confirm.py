"""Confirm a study: retest the best on fresh splits, choose, then open the sealed test once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tuner.arrays import Float64, Int64
from tuner.config import StudyConfig
from tuner.confirm.decided import judge_rule, rule_of
from tuner.confirm.decision import Choice, choose, judge
from tuner.confirm.findings import comparison_table, model_table, optimism, retest_table
from tuner.confirm.retest import (
    Confirming,
    Retest,
    adjusted_predictions,
    candidates,
    predictions_of,
    retest,
)
from tuner.confirm.sealed import (
    SealedImages,
    score_adjusted,
    score_free,
    score_settings,
    sealed_record,
)
from tuner.confirm.twins import distrusted, without_twins
from tuner.confirm.verdict import give_verdict
from tuner.decision.fit import demands_as_plain
from tuner.decision.rule import DecisionRule
from tuner.errors import StudyError
from tuner.home.baselines import PLAIN
from tuner.home.confirmation import (
    Confirmation,
    SealedTest,
    load_confirmation,
    save_confirmation,
)
from tuner.home.free import FREE_TITLES, rule_key
from tuner.home.records import Record, save_record, winner
from tuner.home.study_folder import StudyFolder
from tuner.search.importance import importances


@dataclass(frozen=True)
class Opening:
    """How the sealed test is opened.

    Attributes:
        read: Returns the sealed images; called once the opening is on record.
        leaking: Images with a near-duplicate on another side of the split, by their number in
            the table of images, int64.
        command: What the user wrote, for the record.
        is_again: Whether a test that was opened before may be opened again.
    """

    read: Callable[[], SealedImages]
    leaking: Int64
    command: str
    is_again: bool


def check_seal(folder: StudyFolder, *, is_again: bool) -> None:
    """Refuse early what the seal would refuse after the retest.

    Raises:
        StudyError: If the test has been opened, not by a confirmation that was interrupted.
    """
    if folder.seal and not is_again and not _is_interrupted(folder, is_again=is_again):
        raise _opened_before(folder)


def confirm(confirming: Confirming, *, top: int, opening: Opening) -> Confirmation:
    """Retest, choose, open the test, judge; safe to repeat after a kill.

    Args:
        confirming: The study.
        top: How many of the best trials to retest.
        opening: How the test is opened.

    Returns:
        What was found; it is on disk.

    Raises:
        StudyError: If there is nothing to confirm, or the test has been opened before.
    """
    folder = confirming.folder
    records = folder.records()
    check_seal(folder, is_again=opening.is_again)
    fresh = retest(confirming, candidates(records, top=top))
    choice, predicted, taus, rule = _choose(confirming, fresh)
    searched = [r for r in records if r.kind != "confirm"]
    best = winner(searched)
    decided: dict[str, Any] = {
        "seeds": [confirming.config.seed, *confirming.folds],
        "n_search_settings": len(searched),
        "search_winner": best.name if best else None,
        "chosen": choice.chosen,
        "best_free": choice.best_free,
        "taus": taus,
    }
    names = folder.class_names
    demanded = {} if rule is None else demands_as_plain(confirming.demands, names)
    table = retest_table(fresh, choice, predicted, confirming.inputs.labels, taus=taus)
    facts = _open_seal(folder, decided | demanded, opening)
    test = opening.read()
    log_prob = _score(confirming, fresh, test, taus=taus, also=[choice.chosen, best])
    judged = None
    if rule is not None:
        log_prob[rule_key(choice.chosen)] = rule.scores(log_prob[choice.chosen])
        judged = judge_rule(
            rule, confirming.demands, log_prob, test, setting=choice.chosen, class_names=names
        )
    judgement = judge(
        {key: table.argmax(axis=2) == test.labels for key, table in log_prob.items()},
        chosen=choice.chosen,
        to_beat=(PLAIN, choice.best_free),
        labels=test.labels,
        n_classes=confirming.inputs.n_classes,
        groups=test.groups,
    )
    support = np.bincount(test.labels, minlength=confirming.inputs.n_classes).tolist()
    verdict = give_verdict(
        judgement,
        chosen=choice.chosen,
        best_free=choice.best_free,
        n_settings=len(searched),
        class_names=confirming.inputs.class_names,
        support=support,
    )
    models = model_table(fresh, log_prob, test.labels, taus=taus)
    left = without_twins(log_prob, test, opening.leaking, chosen=choice.chosen)
    if left is not None:
        of_all = next(model.macro_recall for model in models if model.key == choice.chosen)
        verdict = distrusted(verdict, left, macro_recall=of_all)
    found = Confirmation(
        **facts,
        **decided,
        retest=table,
        test=SealedTest(
            support=support,
            has_groups=test.groups is not None,
            models=models,
            comparisons=comparison_table(judgement, choice.chosen, log_prob, test.labels),
            without_twins=left,
        ),
        optimism=optimism(best, table, models),
        importances=_importances(searched, confirming.config),
        verdict=verdict,
        decision=judged,
    )
    _keep_records(confirming, fresh, log_prob, test.labels)
    save_confirmation(folder, found, rows=test.images, labels=test.labels, log_prob=log_prob)
    return found


def _importances(records: Sequence[Record], config: StudyConfig) -> dict[str, Any] | None:
    found = importances(records, config)
    return asdict(found) if found else None


def _choose(
    confirming: Confirming, fresh: Retest
) -> tuple[Choice, dict[str, Int64], dict[str, float], DecisionRule | None]:
    """The choice, every prediction that its table shows, strengths of adjustments, the rule."""
    labels, n_classes = confirming.inputs.labels, confirming.inputs.n_classes
    images = confirming.folder.images
    groups = None if images.groups is None else images.groups[images.search]

    def chosen_of(predicted: Mapping[str, Int64]) -> Choice:
        return choose(
            {key: table == labels for key, table in predicted.items()},
            candidates=[setting.name for setting in fresh.settings],
            free=list(FREE_TITLES),
            labels=labels,
            n_classes=n_classes,
            groups=groups,
        )

    choice, predicted, own = chosen_of(fresh.predicted), dict(fresh.predicted), {}
    setting = next(s for s in fresh.settings if s.name == choice.chosen)
    if choice.chosen != PLAIN:  # whose own adjustments are free baselines
        found, taus = adjusted_predictions(confirming, setting, fresh.records[setting.name])
        # Balanced weights leave nothing to adjust.
        changed = [k for k, p in found.items() if (p != fresh.predicted[setting.name]).any()]
        predicted |= {f"{setting.name}+{k}": found[k] for k in changed}
        own = {f"{setting.name}+{key}": taus[key] for key in changed}
    rule = None
    if not confirming.demands.is_empty:
        rule = rule_of(confirming.folder, setting, confirming.demands)
        by_seed = fresh.records[setting.name].values()
        decided = [rule.decide(predictions_of(confirming, record)) for record in by_seed]
        predicted[rule_key(setting.name)] = np.stack(decided)
    return chosen_of(predicted), predicted, fresh.taus | own, rule


def _open_seal(
    folder: StudyFolder, decided: Mapping[str, Any], opening: Opening
) -> dict[str, Any]:
    """Record the opening, or go on with an interrupted one that had decided the same."""
    fingerprint = hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()
    goes_on = _is_interrupted(folder, is_again=opening.is_again)
    if not (goes_on and folder.seal[-1]["plan"] == fingerprint):
        if folder.seal and not opening.is_again:
            raise _opened_before(folder)
        folder.open_seal(command=opening.command, plan=fingerprint)
    last = folder.seal[-1]
    return {
        "opening": len(folder.seal),
        "opened_at": last["opened_at"],
        "opened_by": last["user"],
        "command": last["command"],
    }


def _is_interrupted(folder: StudyFolder, *, is_again: bool) -> bool:
    """Whether the last opening was a confirmation that has left no result.

    A damaged result is one: it is no obstacle to opening the test again, but a reason to ask.
    """
    if not folder.seal or "plan" not in folder.seal[-1]:
        return False
    try:
        done = load_confirmation(folder)
    except StudyError:
        if is_again:
            return False
        raise
    return done is None or done.opening < len(folder.seal)


def _opened_before(folder: StudyFolder) -> StudyError:
    last = folder.seal[-1]
    return StudyError(
        f"the sealed test of study '{folder.name}' has been opened already: "
        f"{last['opened_at']} by {last['user']} with `{last['command']}`",
        where=str(folder.path / "seal.json"),
        do="a second look makes its numbers too good; --again opens it and records that it did",
    )


def _score(
    confirming: Confirming,
    fresh: Retest,
    test: SealedImages,
    *,
    taus: Mapping[str, float],
    also: Sequence[str | Record | None],
) -> dict[str, Float64]:
    """Log probabilities of the test by model, baselines first, (n_seeds, n_test, n_classes)."""
    wanted = {item if isinstance(item, str) else item.name for item in also if item}
    settings = [s for s in fresh.settings if s.kind == "baseline" or s.name in wanted]
    log_prob = score_settings(confirming, fresh, settings, test)
    free = score_free(confirming, log_prob[PLAIN], test, taus=fresh.taus)
    for setting in settings:
        own = {key: tau for key, tau in taus.items() if key.startswith(f"{setting.name}+")}
        free |= score_adjusted(confirming, setting, log_prob[setting.name], taus=own)
    return log_prob | free


def _keep_records(
    confirming: Confirming, fresh: Retest, log_prob: Mapping[str, Float64], labels: Int64
) -> None:
    """One record per trained setting, of its model of the study seed."""
    for setting in fresh.settings:
        if setting.name in log_prob:
            own = log_prob[setting.name][0]
            record = sealed_record(setting, own, labels)
            table = own.astype(np.float32)
            save_record(confirming.folder.records_path, record, log_prob=table)
            confirming.recorder.record(confirming.folder, record)
