"""Prioritised replay: draws follow priorities, old rows give way, and a restored buffer goes on as the first would."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from data.errors import InputError
from training.ranking.replay import ReplayBuffer, ReplayConfig
from training.ranking.sum_tree import SumTree

EXAMPLE = {"state": np.zeros(3, np.float32), "reward": 0.0}


def rows(first: int, count: int) -> dict[str, np.ndarray]:
    """Rows whose columns say their numbers."""
    numbers = np.arange(first, first + count)
    return {"state": np.repeat(numbers, 3).reshape(-1, 3).astype(np.float32), "reward": numbers.astype(np.float64)}


def filled(count: int = 50, added: int = 0, **config: float) -> ReplayBuffer:
    """A buffer of so many rows with priorities of their own."""
    buffer = ReplayBuffer(ReplayConfig.model_validate({"capacity": count, **config}), EXAMPLE)
    numbers = buffer.add(rows(0, added or count))
    buffer.update(numbers, np.random.default_rng(1).exponential(size=len(numbers)) + 0.05)
    return buffer


@pytest.mark.parametrize("size", [1, 2, 3, 64, 100])
def test_sums_and_places_are_those_of_the_running_sum(size: int) -> None:
    rng, tree, weights = np.random.default_rng(0), SumTree(size), np.zeros(size)
    for _ in range(50):
        places = rng.integers(0, size, 7)
        changed = rng.random(7) * rng.integers(0, 2, 7)  # many are 0
        tree.change(places, changed)
        for place, weight in zip(places, changed, strict=True):  # in order: of a place named twice the last one counts
            weights[place] = weight
        np.testing.assert_array_equal(tree.weights, weights)
        assert tree.total == pytest.approx(weights.sum())
        if tree.total:
            targets = rng.random(40) * tree.total * (1 - 1e-9)
            found = tree.find(targets)
            expected = np.searchsorted(np.cumsum(weights), targets, side="right")
            assert np.array_equal(found, expected) and (weights[found] > 0).all()


def test_a_target_beyond_the_sum_by_rounding_finds_no_place_of_weight_0() -> None:
    tree = SumTree(8)
    tree.change(np.array([1, 3, 4]), np.array([0.1, 0.2, 0.3]))
    assert tree.find(np.array([tree.total, np.nextafter(tree.total, 0.0)])).tolist() == [4, 4]


def test_draws_follow_priorities() -> None:
    buffer = filled()
    counts = np.bincount(np.concatenate([buffer.draw(64).numbers for _ in range(1500)]), minlength=50)
    expected = buffer.probabilities() * counts.sum()
    assert expected.min() > 20
    assert stats.chisquare(counts, expected).pvalue > 0.01
    assert stats.chisquare(counts, np.full(50, counts.sum() / 50)).pvalue < 1e-9  # and no other


def test_priorities_are_errors_raised_to_alpha() -> None:
    buffer = ReplayBuffer(ReplayConfig(capacity=4, alpha=0.5, epsilon=0.25), EXAMPLE)
    buffer.update(buffer.add(rows(0, 3)), [-2.0, 0.0, 3.75])
    weights = np.sqrt([2.25, 0.25, 4.0])
    np.testing.assert_allclose(buffer.probabilities(), weights / weights.sum())
    buffer.add(rows(3, 1))  # as likely as the likeliest
    assert buffer.probabilities()[3] == buffer.probabilities()[2]


def test_one_row_is_drawn_from_each_stretch() -> None:
    buffer = ReplayBuffer(ReplayConfig(capacity=16), EXAMPLE)
    buffer.add(rows(0, 16))
    for _ in range(20):
        assert buffer.draw(16).numbers.tolist() == list(range(16))


def test_weights_make_up_for_how_likely_a_row_is() -> None:
    buffer = filled(beta=1.0)
    chances = buffer.probabilities()
    for _ in range(5):
        drawn = buffer.draw(32)
        expected = 1 / (50 * chances[drawn.numbers])
        np.testing.assert_allclose(drawn.weights, expected / expected.max())
        assert drawn.weights.max() == 1.0


def test_beta_rises_to_1() -> None:
    buffer = filled(beta=0.4, annealed_after=4)
    seen = []
    for _ in range(6):
        seen.append(buffer.beta)
        chances, drawn = buffer.probabilities(), buffer.draw(8)
        expected = (50 * chances[drawn.numbers]) ** -seen[-1]
        np.testing.assert_allclose(drawn.weights, expected / expected.max())
    np.testing.assert_allclose(seen, [0.4, 0.55, 0.7, 0.85, 1.0, 1.0])


def test_the_oldest_rows_give_way_and_columns_stay_with_their_numbers() -> None:
    buffer = ReplayBuffer(ReplayConfig(capacity=10), EXAMPLE)
    assert [len(buffer)] + [len(buffer) for first in range(0, 28, 7) if len(buffer.add(rows(first, 7)))] == [
        0,
        7,
        10,
        10,
        10,
    ]
    drawn = buffer.draw(200)
    assert set(drawn.numbers) == set(range(18, 28))
    np.testing.assert_array_equal(drawn.rows["reward"], drawn.numbers)
    np.testing.assert_array_equal(drawn.rows["state"][:, 2], drawn.numbers)
    assert buffer.add(rows(28, 25)).tolist() == list(range(28, 53))  # more than there is room for
    assert set(buffer.draw(200).numbers) == set(range(43, 53))


def test_the_error_of_a_row_that_gave_way_is_not_put_on_another() -> None:
    buffer = ReplayBuffer(ReplayConfig(capacity=4), EXAMPLE)
    numbers = buffer.add(rows(0, 4))
    buffer.add(rows(4, 2))
    before = buffer.probabilities()
    buffer.update(numbers[:2], [1e6, 1e6])
    np.testing.assert_array_equal(buffer.probabilities(), before)
    buffer.update(numbers[2:], [1e6, 1e6])
    assert buffer.probabilities()[:2].sum() > 0.99


@pytest.mark.parametrize("added", [30, 50, 173])
def test_a_restored_buffer_goes_on_as_the_first_would(tmp_path: Path, added: int) -> None:
    buffer = filled(added=added)
    buffer.draw(16)
    np.savez(tmp_path / "replay.npz", **buffer.state())
    with np.load(tmp_path / "replay.npz") as state:
        again = ReplayBuffer.restored(buffer.config, state)
    for turn in range(40):
        one, other = buffer.draw(16), again.draw(16)
        np.testing.assert_array_equal(one.numbers, other.numbers)
        np.testing.assert_array_equal(one.weights, other.weights)
        np.testing.assert_array_equal(one.rows["state"], other.rows["state"])
        for each in (buffer, again):
            each.update(one.numbers, np.full(16, turn))
            each.add(rows(added + 3 * turn, 3))
    assert {name: column.tobytes() for name, column in buffer.state().items()} == {
        name: column.tobytes() for name, column in again.state().items()
    }


def test_another_config_is_refused_with_what_differs() -> None:
    with pytest.raises(InputError, match=r"alpha was 0\.6 and is 0\.7"):
        ReplayBuffer.restored(ReplayConfig(capacity=50, alpha=0.7), filled().state())


def test_what_cannot_be_is_refused() -> None:
    buffer = ReplayBuffer(ReplayConfig(capacity=4), EXAMPLE)
    with pytest.raises(ValueError, match="8 rows wanted of 0"):
        buffer.draw(8)
    with pytest.raises(ValueError, match="rows of the columns state, reward"):
        buffer.add({"state": np.zeros((2, 3))})
    with pytest.raises(ValueError, match="equally many"):
        buffer.add({"state": np.zeros((2, 3)), "reward": np.zeros(3)})
    numbers = buffer.add(rows(0, 2))
    with pytest.raises(ValueError, match="not finite"):
        buffer.update(numbers, [1.0, np.nan])
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        buffer.update(np.array([2]), [1.0])
    with pytest.raises(ValueError, match="without columns"):
        ReplayBuffer(ReplayConfig(), {})
