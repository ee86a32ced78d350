"""Probabilities stay calibrated whatever few failures come in; what was run counts only where it says something."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.ranking import baselines
from training.ranking.centroid import Move, moved
from training.ranking.champion import Champion
from training.ranking.config import LearnConfig
from training.ranking.driver import learn, train_here
from training.ranking.experience import Experience
from training.ranking.judging import counterfactual
from training.ranking.outcomes import CALIBRATES, FEWEST_OF_EACH, JUDGES, basis_of, outcomes
from training.ranking.probabilities import calibrated, promised, reliability_of, told
from training.ranking.served import CapabilityRanker

Make = Callable[..., Experience]
WITHOUT_NETWORK = LearnConfig(network=None)


@pytest.fixture(scope="module")
def right(make: Make) -> Experience:
    """A log of right answers: nothing has failed."""
    return make(count=1500, seed=3)


def failing(experience: Experience, **by_part: int) -> Experience:
    """The same, where so many of each part's traces have failed, whatever they are."""
    rng, reward = np.random.default_rng(1), experience.reward.copy()
    for part, count in by_part.items():
        numbers = np.flatnonzero(experience.intents_in(part)[experience.traces.intent])  # type: ignore[arg-type]
        reward[rng.choice(numbers, min(count, len(numbers)), replace=False)] = 0.0
    return replace(experience, reward=reward)


def scores(experience: Experience) -> Callable[[np.ndarray], np.ndarray]:
    return baselines.cosine(experience)


FEW = [
    {"train": 1},
    {"test": 1},
    {"judge": 1},
    {"valid": 3, "judge": 3, "test": 3},
    {"judge": FEWEST_OF_EACH, "test": FEWEST_OF_EACH - 1},
    {"judge": 19, "test": 40},
    {"valid": 25, "judge": 25, "test": 50},  # enough by number, and little by share
]


@pytest.mark.parametrize("few", FEW, ids=str)
def test_a_few_failures_change_no_promise_by_much(right: Experience, few: dict[str, int]) -> None:
    experience = failing(right, **few)
    score = scores(experience)
    basis, without = basis_of(score, experience), basis_of(scores(right), right)
    assert not basis.of_run and not without.of_run
    calibrator, before = calibrated(score, experience, basis), calibrated(score, right, without)
    assert calibrator is not None and before is not None
    asked = outcomes(score, right, JUDGES, without)
    first = asked.first_P
    now, then = (promised(one, score, asked)[first] for one in (calibrator, before))
    assert abs(now - then).mean() < 0.15 and now.mean() < then.mean() + 0.02
    figures = told(calibrator, score, outcomes(score, experience, JUDGES, basis))
    assert figures["ece"] < 0.05 and figures["ece@1"] < 0.15
    assert set(reliability_of(score, experience, calibrator, basis)) == {"before", "after"}


def test_an_intent_unlike_all_others_is_promised_little_after_a_failure(right: Experience) -> None:
    experience = failing(right, judge=1, test=1)
    nonsense = np.random.default_rng(0).normal(size=experience.intents.shape[1]).astype(np.float32)
    asked = replace(experience, intents=np.vstack([experience.intents, nonsense / np.linalg.norm(nonsense)]))
    score = scores(experience)
    calibrator = calibrated(score, experience, basis_of(score, experience))
    assert calibrator is not None
    row = np.asarray(scores(asked)(np.array([len(experience.intents)])))
    assert calibrator(row, calibrator.levels(row)[:, None]).max() < 0.7


def test_without_failures_outcomes_are_first_places_and_nothing_else(right: Experience) -> None:
    score = scores(right)
    basis = basis_of(score, right)
    found = outcomes(score, right, CALIBRATES, basis)
    successes = right.successes(*CALIBRATES)
    assert "known failures" not in basis.sentence and "first 10 places" in basis.sentence
    assert found.first_P.sum() == len(successes) and found.labels_P.sum() <= len(successes.item_E)


def test_failures_and_successes_enough_are_what_counts(make: Make) -> None:
    experience = make(count=1500, failures=0.5, seed=2)
    score = baselines.by_keys(experience, moved(experience, experience.traces_in("train"), Move()))
    basis = basis_of(score, experience)
    assert basis.of_run and "% failed" in basis.sentence
    calibrator = calibrated(score, experience, basis)
    assert calibrator is not None
    figures = told(calibrator, score, outcomes(score, experience, JUDGES, basis))
    assert figures["ece"] < 0.12 and figures["ece"] == figures["ece@1"]


def test_whoever_chose_better_than_the_ranker_says_nothing_of_its_first_places(right: Experience) -> None:
    """A tenth of all fails, by chance; the ranker's first places are wrong more often."""
    experience = failing(right, valid=20, judge=25, test=35)
    score = baselines.popularity(experience, experience.traces_in("train"))
    basis = basis_of(score, experience)
    assert not basis.of_run and "of successes that first places miss" in basis.sentence


def test_what_was_drawn_counts_though_little_of_it_failed(make: Make) -> None:
    """Drawn by a policy that is known, what was run tells of first places, however seldom it fails."""
    logged = make(count=1500, logged=True)
    rng = np.random.default_rng(0)
    reward = np.where(rng.random(len(logged.reward)) < 0.12, 0.0, 1.0)
    experience = replace(logged, reward=reward)
    score = baselines.random_projection(experience)
    assert basis_of(score, experience).of_run
    passed = replace(experience, traces=replace(experience.traces, passed_over=np.ones(len(reward), bool)))
    assert not basis_of(score, passed).of_run, "what the caller chose is of no known policy"


def test_an_intent_that_only_failed_counts_where_what_failed_is_first(right: Experience) -> None:
    experience = failing(right, test=30)
    score = scores(experience)
    basis = basis_of(score, experience)
    found = outcomes(score, experience, JUDGES, basis)
    only = np.setdiff1d(found.intent_P, experience.successes(*JUDGES).intents)
    assert 0 < len(only) <= 30 and not found.labels_P[np.isin(found.intent_P, only)].any()
    best = np.asarray(score(only)).argmax(axis=1)
    numbers = np.isin(experience.traces.intent, only)
    chosen = dict(zip(experience.traces.intent[numbers], experience.traces.chosen[numbers], strict=True))
    assert [chosen[intent] for intent in only] == best.tolist()


@pytest.mark.parametrize("successes", [0, 1], ids=["all failures", "one success"])
def test_failures_alone_are_nothing_to_learn_from_and_no_calibrated_champion_is_replaced(
    right: Experience, successes: int, tmp_path: Path
) -> None:
    reward = np.zeros(len(right.reward))
    reward[:successes] = 1.0
    result = learn(replace(right, reward=reward), WITHOUT_NETWORK, tmp_path, None, "1", train_here)
    assert result["kind"] == "cosine" and result["calibrated_by"] == "nothing"
    assert "not calibrated" in result["calibration"] and result["reliability"] == {}
    assert sum(result["with_success"].values()) == successes
    assert not CapabilityRanker.open(tmp_path / "model").calibrated


def test_after_one_failure_the_next_turn_is_calibrated_as_the_first_was(right: Experience, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    before = learn(right, WITHOUT_NETWORK, first, None, "1", train_here)
    champion = Champion(1, first / "model", CapabilityRanker.open(first / "model"))
    after = learn(failing(right, judge=1), WITHOUT_NETWORK, second, champion, "2", train_here)
    assert before["calibrated_by"] == after["calibrated_by"] == "places" and not after["lost"]
    assert "known failures are 1 to calibrate by and 0 to judge by" in after["calibration"]
    for name, figures in after["table"].items():
        assert {"ece", "ece@1", "brier"} <= set(figures), name
    served = after["table"][after["kind"]]
    assert abs(served["ece@1"] - before["table"][before["kind"]]["ece@1"]) < 0.05


def test_an_uncalibrated_ranker_never_replaces_a_calibrated_one(make: Make, tmp_path: Path) -> None:
    """Of one capability nothing ever fails, so nothing can be promised."""
    alone = make(count=300, there=1)
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
    learn(alone, WITHOUT_NETWORK, tmp_path / "first", None, "1", train_here)
    ranker = CapabilityRanker.open(tmp_path / "first" / "model")
    assert not ranker.calibrated
    uncalibrated = Champion(1, tmp_path, ranker)
    again = learn(alone, WITHOUT_NETWORK, tmp_path / "second", uncalibrated, "2", train_here)
    assert (again["lost"], again["lost_by"]) == (False, None)
    fitted = replace(ranker.calibrator, calibrator=replace(ranker.calibrator.calibrator, slope=3.0))
    calibrated_one = Champion(1, tmp_path, replace(ranker, calibrator=fitted))
    third = learn(alone, WITHOUT_NETWORK, tmp_path / "third", calibrated_one, "3", train_here)
    assert (third["lost"], third["lost_by"], third["calibrated_by"]) == (True, "calibration", "nothing")


def test_propensities_of_other_parts_are_not_called_missing(make: Make) -> None:
    logged = make(count=600, logged=True)
    held = np.isin(logged.traces.intent, np.flatnonzero(logged.intents_in("test")))
    owner = np.repeat(np.arange(len(logged.traces)), np.diff(logged.traces.propensities.indptr))
    values = logged.traces.propensities.values.copy()
    values[held[owner]] = np.nan
    given = replace(logged.traces.propensities, values=values)
    experience = replace(logged, traces=replace(logged.traces, propensities=given))
    refused = counterfactual(scores(experience), None, experience)["ips"]["refused"]
    assert refused == f"of {int((~held).sum())} traces with propensities none is of a test intent with an outcome"
