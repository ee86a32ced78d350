"""A ranker as it is written and read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.errors import InputError
from training.ranking.driver import ranker_of_keys
from training.ranking.experience import Experience
from training.ranking.judging import score_of
from training.ranking.served import CapabilityRanker


def test_what_is_read_scores_as_what_was_written(small: Experience, tmp_path: Path) -> None:
    made = replace(
        ranker_of_keys("centroid", small, small.capabilities, "7", {"sentence": "so"}),
        features=("runs",),
        feature_weights=np.array([0.5], np.float32),
        context_map=np.eye(16, dtype=np.float32),
    )
    made.save(tmp_path / "ranker")
    read = CapabilityRanker.open(tmp_path / "ranker")
    assert (read.kind, read.version, read.features, read.about) == ("centroid", "7", ("runs",), {"sentence": "so"})
    asked, prior = small.intents[:4], made.prior(np.ones((20, 1), np.float32))
    contexts = [[1, 2], [], [3], []]
    expected = made.score(made.queries(asked, contexts), prior)
    np.testing.assert_array_equal(read.score(read.queries(asked, contexts), prior), expected)
    assert not np.allclose(expected[0], read.score(read.queries(asked), prior)[0])


def test_no_ranker_is_said_with_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no ranker of capabilities") as refused:
        CapabilityRanker.open(tmp_path)
    assert "catena learn" in refused.value.remedy


def test_a_ranker_of_an_older_catalogue_does_not_rank_what_it_never_knew(small: Experience) -> None:
    made = ranker_of_keys("cosine", small, small.capabilities, "1", {})
    older = replace(made, capabilities=made.capabilities[::-1][:15], keys=made.keys[::-1][:15].copy())
    scores, whole = score_of(older, small)(np.arange(5)), score_of(made, small)(np.arange(5))
    assert np.isneginf(scores[:, :5]).all()
    np.testing.assert_allclose(scores[:, 5:], whole[:, 5:], rtol=1e-5)
