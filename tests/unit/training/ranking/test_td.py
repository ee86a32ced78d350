"""TD(lambda): returns are those of a brute-force sum, both views agree, and values of a known chain are found."""

import numpy as np
import pytest

from training.ranking.td import (
    Sequences,
    TDConfig,
    backward_step,
    fit,
    forward_step,
    lambda_returns,
    td_errors,
    unpadded,
)


def some(seed: int, lengths: tuple[int, ...], ended: bool = False) -> tuple[np.ndarray, Sequences]:
    """Values and sequences of random rewards."""
    rng = np.random.default_rng(seed)
    starts = np.cumsum(lengths) - lengths
    after = np.zeros(len(lengths)) if ended else rng.normal(size=len(lengths))
    return rng.normal(size=sum(lengths)), Sequences(rng.normal(size=sum(lengths)), starts, after)


def brute_force(values: np.ndarray, sequences: Sequences, gamma: float, lambda_: float) -> list[float]:
    """Each lambda-return as the weighted mean of all n-step returns (Sutton and Barto, 2018, eq. 12.2)."""
    found = []
    ends = [*sequences.starts[1:], len(sequences.rewards)]
    for start, end, after in zip(sequences.starts, ends, sequences.after, strict=True):
        states = [*values[start:end], after]
        rewards = sequences.rewards[start:end]
        for step in range(end - start):
            left = end - start - step
            returns = [
                sum(gamma**k * rewards[step + k] for k in range(n)) + gamma**n * states[step + n]
                for n in range(1, left + 1)
            ]
            mixed = sum((1 - lambda_) * lambda_ ** (n - 1) * returns[n - 1] for n in range(1, left))
            found.append(mixed + lambda_ ** (left - 1) * returns[-1])
    return found


@pytest.mark.parametrize("lambda_", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("lengths", [(1,), (6,), (3, 1, 7, 7, 2), (1, 1, 1), (4, 4)])
def test_returns_are_weighted_means_of_all_returns_of_n_steps(lengths: tuple[int, ...], lambda_: float) -> None:
    values, sequences = some(0, lengths)
    found = lambda_returns(values, sequences, 0.9, lambda_)
    np.testing.assert_allclose(found, brute_force(values, sequences, 0.9, lambda_), atol=1e-12)


def test_with_lambda_0_a_return_looks_one_step_ahead_and_with_1_to_the_end() -> None:
    values, sequences = some(1, (5, 2), ended=True)
    np.testing.assert_allclose(lambda_returns(values, sequences, 0.9, 0.0) - values, td_errors(values, sequences, 0.9))
    whole = lambda_returns(values, sequences, 0.9, 1.0)
    assert whole[0] == pytest.approx(sum(0.9**k * reward for k, reward in enumerate(sequences.rewards[:5])))
    np.testing.assert_allclose(whole, lambda_returns(np.zeros(7), sequences, 0.9, 1.0))  # whatever the values are


@pytest.mark.parametrize("seed", range(5))
def test_both_views_change_weights_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = tuple(int(length) for length in rng.integers(1, 12, 9))
    _, sequences = some(seed, lengths)
    features, weights = rng.normal(size=(sum(lengths), 4)), rng.normal(size=4)
    forward = forward_step(features, weights, sequences, 0.99, 0.95)
    np.testing.assert_allclose(forward, backward_step(features, weights, sequences, 0.99, 0.95), rtol=1e-9)
    assert not np.allclose(forward, backward_step(features, weights, sequences, 0.99, 0.5))


def test_a_sequence_learns_nothing_from_another() -> None:
    values, sequences = some(3, (4, 6, 3))
    apart = [
        lambda_returns(
            values[a:b], Sequences(sequences.rewards[a:b], np.array([0]), sequences.after[n : n + 1]), 0.9, 0.8
        )
        for n, (a, b) in enumerate([(0, 4), (4, 10), (10, 13)])
    ]
    np.testing.assert_allclose(lambda_returns(values, sequences, 0.9, 0.8), np.concatenate(apart))


def test_a_table_that_is_filled_up_gives_the_same_sequences() -> None:
    table = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan], [4.0, 5.0, 6.0]])
    made = unpadded(table, np.array([2, 1, 3]))
    assert made.rewards.tolist() == [1, 2, 3, 4, 5, 6] and made.starts.tolist() == [0, 2, 3]
    assert made.after.tolist() == [0, 0, 0] and made.lengths.tolist() == [2, 1, 3]
    for lengths in ([0, 1, 3], [2, 1, 4]):
        with pytest.raises(ValueError, match="lengths from 1 to 3"):
            unpadded(table, np.array(lengths))


@pytest.mark.parametrize(("starts", "after"), [([], 0), ([1], 1), ([0, 0], 2), ([0, 3], 2), ([0], 2)])
def test_sequences_that_are_none_are_refused(starts: list[int], after: int) -> None:
    with pytest.raises(ValueError, match="starts rise"):
        Sequences(np.zeros(3), np.array(starts, np.int64), np.zeros(after))


def test_values_of_a_random_walk_are_found() -> None:
    """Five states in a row, walks from the middle, a reward of 1 at the right end: values k / 6 (Sutton, 1988)."""
    rng, states, rewards, lengths = np.random.default_rng(0), list[int](), list[float](), list[int]()
    for _ in range(3000):
        state, steps = 2, 0
        while 0 <= state < 5:
            states.append(state)
            state += int(rng.integers(0, 2)) * 2 - 1
            rewards.append(float(state == 5))
            steps += 1
        lengths.append(steps)
    starts = np.cumsum(lengths) - lengths
    sequences = Sequences(np.array(rewards), starts, np.zeros(len(lengths)))
    for decay in (0.5, 0.95):
        values = fit(np.eye(5)[states], sequences, TDConfig(gamma=1.0, trace_decay=decay, sweeps=400))
        np.testing.assert_allclose(values, np.arange(1, 6) / 6, atol=0.03)
