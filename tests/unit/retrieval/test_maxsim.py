"""MaxSim in blocks is the naive loop's, for any lengths and for every kind of storage."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import retrieval.maxsim
from data.vectors.quantise import STORAGES, Storage, decode, encode
from retrieval.maxsim import maxsim

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def starts_of(lengths: list[int]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def naive(
    queries: npt.NDArray[np.float32],
    query_starts: npt.NDArray[np.int64],
    tokens: npt.NDArray[np.floating],
    starts: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    scores = np.zeros((len(query_starts) - 1, len(starts) - 1))
    for m in range(len(query_starts) - 1):
        for n in range(len(starts) - 1):
            for query in queries[query_starts[m] : query_starts[m + 1]]:
                scores[m, n] += max(float(query @ token) for token in tokens[starts[n] : starts[n + 1]])
    return scores


@given(LENGTHS, st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(1, 30), st.integers(0, 2**31))
def test_blocks_give_what_the_naive_loop_gives(
    lengths: list[int], query_lengths: list[int], block: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    starts, query_starts = starts_of(lengths), starts_of(query_lengths)
    tokens = rng.normal(size=(starts[-1], 7)).astype(np.float32)
    queries = rng.normal(size=(query_starts[-1], 7)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval.maxsim, "BLOCK_TOKENS", block)
        patch.setattr(retrieval.maxsim, "BLOCK_QUERY_TOKENS", 1 + block // 4)
        scores = maxsim(queries, query_starts, tokens, starts)
    assert scores.dtype == np.float32 and scores.shape == (len(query_lengths), len(lengths))
    np.testing.assert_allclose(scores, naive(queries, query_starts, tokens, starts), rtol=1e-4, atol=1e-4)


@given(LENGTHS, st.sampled_from(STORAGES), st.integers(0, 2**31))
def test_stored_tokens_score_as_the_vectors_they_stand_for(lengths: list[int], storage: Storage, seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts, query_starts = starts_of(lengths), starts_of([4, 1])
    tokens = rng.normal(size=(starts[-1], 16)).astype(np.float32)
    codes = encode(tokens / np.linalg.norm(tokens, axis=1, keepdims=True), storage)
    queries = rng.normal(size=(5, 16)).astype(np.float32)
    expected = naive(queries, query_starts, decode(codes, storage), starts)
    np.testing.assert_allclose(maxsim(queries, query_starts, codes, starts, storage), expected, rtol=1e-4, atol=1e-4)


def test_order_of_tokens_does_not_count_and_of_documents_only_permutes() -> None:
    rng = np.random.default_rng(0)
    tokens, starts = rng.normal(size=(9, 4)).astype(np.float32), starts_of([4, 5])
    queries, query_starts = rng.normal(size=(3, 4)).astype(np.float32), starts_of([3])
    scores = maxsim(queries, query_starts, tokens, starts)
    swapped = maxsim(
        queries[::-1].copy(), query_starts, np.concatenate([tokens[4:][::-1], tokens[:4]]), starts_of([5, 4])
    )
    np.testing.assert_allclose(swapped, scores[:, ::-1], rtol=1e-5)


@pytest.mark.parametrize(
    ("dim", "starts", "message"),
    [(3, [0, 2], "differ in dimension"), (4, [0, 1], "rise from 0 to 2"), (4, [0, 2, 2], "document 1 has no token")],
)
def test_what_has_no_score_is_refused(dim: int, starts: list[int], message: str) -> None:
    tokens, query = np.ones((2, dim), np.float32), np.ones((1, 4), np.float32)
    with pytest.raises(ValueError, match=message):
        maxsim(query, np.array([0, 1]), tokens, np.array(starts))
