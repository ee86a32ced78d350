"""Batches hold every text once, keep to their area, and waste less than batches in arrival order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.batching import padding_share, token_batches

lengths_of_texts = st.lists(st.integers(0, 600), max_size=300).map(lambda values: np.array(values, dtype=np.int64))


@given(lengths_of_texts, st.integers(1, 5000), st.none() | st.integers(1, 64))
def test_every_text_stands_in_exactly_one_batch(lengths: np.ndarray, max_tokens: int, max_items: int | None) -> None:
    batches = token_batches(lengths, max_tokens, max_items)
    together = np.concatenate(batches) if batches else np.empty(0, np.int64)
    assert sorted(together.tolist()) == list(range(len(lengths)))


@given(lengths_of_texts, st.integers(1, 5000), st.none() | st.integers(1, 64))
def test_area_and_count_are_kept_but_for_a_single_long_text(
    lengths: np.ndarray, max_tokens: int, max_items: int | None
) -> None:
    for batch in token_batches(lengths, max_tokens, max_items):
        assert len(batch) == 1 or lengths[batch].max() * len(batch) <= max_tokens
        assert max_items is None or len(batch) <= max_items


@given(lengths_of_texts, st.integers(1, 5000))
def test_lengths_never_rise_from_one_batch_to_the_next(lengths: np.ndarray, max_tokens: int) -> None:
    in_order = [length for batch in token_batches(lengths, max_tokens) for length in lengths[batch]]
    assert in_order == sorted(lengths.tolist(), reverse=True)


@given(lengths_of_texts, st.integers(1, 5000))
def test_a_batch_could_not_have_taken_the_next_text(lengths: np.ndarray, max_tokens: int) -> None:
    batches = token_batches(lengths, max_tokens)
    for batch in batches[:-1]:
        assert max(1, lengths[batch].max()) * (len(batch) + 1) > max_tokens


@given(lengths_of_texts, st.integers(1, 5000))
def test_padding_is_a_share(lengths: np.ndarray, max_tokens: int) -> None:
    assert 0.0 <= padding_share(lengths, token_batches(lengths, max_tokens)) < 1.0


def test_texts_of_equal_length_are_not_padded() -> None:
    lengths = np.full(100, 50)
    assert padding_share(lengths, token_batches(lengths, 1000)) == 0.0


def test_sorting_pads_less_than_arrival_order() -> None:
    lengths = np.random.default_rng(0).integers(8, 257, 1000)
    arrival = [np.arange(start, start + 16) for start in range(0, 1000 - 16 + 1, 16)]
    assert padding_share(lengths, token_batches(lengths, 4096)) < 0.1 < 0.3 < padding_share(lengths, arrival)


def test_nothing_makes_no_batches() -> None:
    assert token_batches(np.empty(0, np.int64), 4096) == []
    assert padding_share(np.empty(0, np.int64), []) == 0.0


@pytest.mark.parametrize(("max_tokens", "max_items"), [(0, None), (100, 0)])
def test_bounds_below_one_are_refused(max_tokens: int, max_items: int | None) -> None:
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        token_batches(np.array([3, 4]), max_tokens, max_items)


def test_without_padding_a_batch_costs_the_sum_of_its_lengths() -> None:
    lengths = np.array([5, 60, 20, 10, 10])
    batches = token_batches(lengths, 100, padded=False)
    assert [batch.tolist() for batch in batches] == [[1, 2, 3, 4], [0]]
    assert [batch.tolist() for batch in token_batches(lengths, 30, padded=False)] == [[1], [2, 3], [4, 0]]
    assert [len(batch) for batch in token_batches(lengths, 1000, 2, padded=False)] == [2, 2, 1]
