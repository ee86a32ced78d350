"""What a trace is trained with was known without it: by time where it has one, else by other intents."""

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from data.capabilities.features import NAMES, features_at, features_of
from data.capabilities.traces import Traces
from evaluation.capability_split import PARTS
from tests.unit.data.capabilities.catalogues import catalogue_of, trace, traces_of
from training.ranking.config import Feature, LearnConfig, NetworkConfig
from training.ranking.experience import Experience
from training.ranking.network import CapabilityNetwork
from training.ranking.past import FOLDS, MOMENTS, Past

CATALOGUE = catalogue_of({"a": ["t1"], "b": ["t1", "t2"], "c": ["t3"]})
COUNT = 300
RUNS, SUCCESS = NAMES.index("log_runs_all"), NAMES.index("success_all")


def traces(timed: float = 1.0, seed: int = 0) -> Traces:
    rng = np.random.default_rng(seed)
    rows = [
        trace(
            number,
            str(rng.choice(CATALOGUE.capabilities)),
            intent=f"do {number % 120}",
            outcome=str(rng.choice(["success", "failure"])),
            **({"time": 1_000_000 + int(rng.integers(0, 5000))} if rng.random() < timed else {}),
        )
        for number in range(COUNT)
    ]
    return traces_of(CATALOGUE, rows)


def parts(of: Traces) -> np.ndarray:
    """Every fourth intent is held out."""
    return np.where(np.arange(len(of.intents)) % 4 == 0, PARTS.index("test"), PARTS.index("train"))


def flipped(of: Traces, row: int) -> Traces:
    reward = of.reward.copy()
    reward[row] = 1 - reward[row]
    return replace(of, reward=reward)


@pytest.mark.parametrize("timed", [1.0, 0.5, 0.0])
def test_no_trace_is_trained_with_its_own_outcome(timed: float) -> None:
    made = traces(timed)
    part = parts(made)
    before = Past.of(CATALOGUE, made, part, NAMES)
    learned = np.flatnonzero(part[made.intent] == PARTS.index("train"))
    for row in learned[:: len(learned) // 25]:
        changed = Past.of(CATALOGUE, flipped(made, int(row)), part, NAMES)
        assert (changed.views[changed.view[row]] == before.views[before.view[row]]).all()
        assert (changed.now != before.now).any(), "what is served knows it"


def test_with_times_a_view_is_what_had_ended_at_a_moment_not_after_the_trace() -> None:
    made = traces()
    part = parts(made)
    past = Past.of(CATALOGUE, made, part, NAMES)
    seen = made.take(np.flatnonzero(part[made.intent] == PARTS.index("train")))
    assert past.views.shape == (MOMENTS + 1, 3, len(NAMES)) and past.views.dtype == np.float32
    everyone = np.arange(3)
    for row in np.flatnonzero(part[made.intent] == PARTS.index("train"))[::20]:
        exact = features_at(CATALOGUE, seen, everyone, np.full(3, made.time[row]))
        view = past.views[past.view[row]]
        lag = np.expm1(exact[:, RUNS]) - np.expm1(view[:, RUNS])
        assert (lag >= -1e-3).all() and lag.sum() <= 2 * len(seen) / MOMENTS, "never the future, and not long ago"
    assert (past.views[1][:, RUNS] == 0).all(), "before the first trace nothing was known"


def test_without_times_a_view_leaves_out_all_traces_of_the_intent() -> None:
    made = traces(timed=0.0)
    past = Past.of(CATALOGUE, made, np.full(len(made.intents), PARTS.index("train")), NAMES)
    assert len(past.views) == FOLDS + 1 and len(np.unique(past.view)) == FOLDS
    for intent in range(0, 120, 7):
        of_intent = np.flatnonzero(made.intent == intent)
        assert len(np.unique(past.view[of_intent])) == 1
    left = np.expm1(past.views[1:, :, RUNS]).sum()
    assert left == pytest.approx((FOLDS - 1) * COUNT, rel=1e-4), "each trace is in all views but one"


def test_held_out_intents_do_not_count_and_features_are_those_asked_for() -> None:
    made = traces()
    part = parts(made)
    past = Past.of(CATALOGUE, made, part, ("success_all", "log_runs_all"))
    seen = made.take(np.flatnonzero(part[made.intent] == PARTS.index("train")))
    expected = features_of(CATALOGUE, seen, int(seen.time.max()) + 1).of(CATALOGUE.capabilities, past.names)
    np.testing.assert_array_equal(past.now, expected)
    held = np.flatnonzero(part[made.intent] == PARTS.index("test"))
    changed = Past.of(CATALOGUE, flipped(made, int(held[0])), part, past.names)
    assert (changed.now == past.now).all() and (changed.views == past.views).all()


def test_without_features_there_is_one_empty_view() -> None:
    made = traces()
    past = Past.of(CATALOGUE, made, parts(made), ())
    assert past.now.shape == (3, 0) and past.views.shape == (1, 3, 0) and (past.view == 0).all()


def test_a_trace_is_scored_with_its_own_view_and_what_is_served_with_now(
    make: Callable[..., Experience],
) -> None:
    experience = make(count=120)
    traces = replace(experience.traces, time=np.arange(120, dtype=np.int64) * 10**6)
    experience = replace(experience, past=Past.of(experience.catalogue, traces, experience.part, NAMES))
    network = CapabilityNetwork(experience, NetworkConfig(dropout=0.0)).eval()
    with torch.no_grad():
        network.feature_weights.fill_(0.5)
        asked = torch.from_numpy(experience.intents[:4])
        now, viewed = network(asked), network(asked, view_B=torch.tensor([0, 1, 5, 9]))
        some = network(asked, wanted_K=torch.tensor([3, 7]), view_B=torch.tensor([0, 1, 5, 9]))
        features = torch.from_numpy(experience.past.views[[0, 1, 5, 9]] - experience.past.now)
    torch.testing.assert_close(viewed[0], now[0])
    assert not torch.allclose(viewed[1], now[1])
    torch.testing.assert_close(some, viewed[:, [3, 7]])
    deviations = torch.from_numpy(np.maximum(experience.past.now.std(axis=0), 0.1))
    shift = (features / deviations).sum(dim=2) * 0.5
    torch.testing.assert_close(viewed - now, shift, atol=1e-3, rtol=1e-3)


def test_a_feature_that_hardly_varied_is_not_blown_up(make: Callable[..., Experience]) -> None:
    """Nothing has failed while it was trained: the first failure on line is no outlier without bounds."""
    experience = make(count=400)
    past = Past.of(experience.catalogue, experience.traces, experience.part, ("success_all",))
    experience = replace(experience, past=past)
    assert past.now.std() < 0.05
    network = CapabilityNetwork(experience, NetworkConfig())
    with torch.no_grad():
        network.feature_weights.fill_(1.0)
    ranker = network.ranker(experience, "1", {})
    before, after = (ranker.prior(np.full((20, 1), rate, np.float32))[0] for rate in (0.95, 0.5))
    assert before - after == pytest.approx(0.45 / 0.1, rel=1e-4)


def test_a_run_may_name_every_feature_and_no_other() -> None:
    assert get_args(Feature) == NAMES and LearnConfig().features == ()
    with pytest.raises(ValidationError, match="features"):
        LearnConfig.model_validate({"features": ["clicks"]})
