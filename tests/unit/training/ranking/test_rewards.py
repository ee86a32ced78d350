"""What a trace of several steps is worth."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from data.capabilities.traces import Ragged
from training.ranking.experience import Experience
from training.ranking.rewards import rewards_of
from training.ranking.td import TDConfig


def test_steps_count_where_there_are_several_and_outcomes_alone_elsewhere(make: Callable[..., Experience]) -> None:
    traces = make(count=6).traces
    steps = [[1.0, 1.0], [0.0, 0.0], [0.0, 1.0], [1.0], [np.nan, 1.0], []]
    lengths = [len(one) for one in steps]
    ragged = Ragged(np.concatenate([[0], np.cumsum(lengths)]), np.concatenate([np.array(one) for one in steps]))
    traces = replace(traces, steps=ragged, reward=np.array([1.0, 0.0, 1.0, 0.5, 0.5, 1.0]))
    assert rewards_of(traces, None).tolist() == traces.reward.tolist()
    found = rewards_of(traces, TDConfig())
    assert found[3:].tolist() == [0.5, 0.5, 1.0], "one step, an unknown one, none: a bandit's reward is its return"
    assert found[0] > found[2] > found[1] >= 0 and found[0] <= 1


def test_without_discount_and_with_all_of_the_future_it_is_the_share_of_successes(
    make: Callable[..., Experience],
) -> None:
    traces = make(count=2).traces
    traces = replace(traces, steps=Ragged(np.array([0, 2, 4]), np.array([1.0, 0.0, 0.0, 0.0])), reward=np.ones(2))
    np.testing.assert_allclose(rewards_of(traces, TDConfig(gamma=1.0, trace_decay=1.0)), [2 / 3, 1 / 3])


def test_an_unknown_outcome_stays_unknown(make: Callable[..., Experience]) -> None:
    traces = make(count=2).traces
    traces = replace(traces, steps=Ragged(np.array([0, 2, 4]), np.ones(4)), reward=np.array([np.nan, 1.0]))
    assert np.isnan(rewards_of(traces, TDConfig())[0])
