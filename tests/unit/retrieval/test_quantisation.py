"""Codes of vectors: what they find is put in order by the vectors themselves."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from qdrant_client import QdrantClient

from data.lexical import SparseVector
from data.matrices import unit_rows
from retrieval.check import exact_nearest, measure_index
from retrieval.config import IndexConfig, Quantisation
from retrieval.engines.edge import EdgeIndex
from retrieval.engines.server import ServerIndex
from retrieval.index import IndexedPassage, IndexQuery

pytestmark = [  # what the in-memory client says of itself
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
]

DIM, COUNT, K = 64, 3000, 10
KINDS = [kind for kind in get_args(Quantisation) if kind != "none"]
_RNG = np.random.default_rng(0)
_CENTRES = _RNG.standard_normal((100, DIM))
_ABOUT = _CENTRES[_RNG.integers(0, 100, COUNT)]
VECTORS = unit_rows((_ABOUT + 0.7 * _RNG.standard_normal((COUNT, DIM))).astype(np.float32))
QUESTIONS = unit_rows((_CENTRES[:50] + 0.7 * _RNG.standard_normal((50, DIM))).astype(np.float32))
IDS = [f"p{n}" for n in range(COUNT)]
NO_WORDS = SparseVector(np.empty(0, np.uint32), np.empty(0, np.float32))


def passages() -> list[IndexedPassage]:
    return [
        IndexedPassage(id_, id_, "", "", 0, 0, {}, vector, NO_WORDS) for id_, vector in zip(IDS, VECTORS, strict=True)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_codes_find_and_vectors_put_in_order(tmp_path: Path, kind: Quantisation) -> None:
    config = IndexConfig(exact_below_points=0, quantisation=kind, oversampling=6)
    index = EdgeIndex.create(tmp_path / "index", DIM, (), config)
    index.upsert(passages())
    index.finish()
    assert any((tmp_path / "index").rglob("quantized.*")), "there are no codes"
    exact = exact_nearest(QUESTIONS, [(IDS, VECTORS)], K)
    assert measure_index(index, QUESTIONS, exact, K).recall >= 0.9
    for question, hits in zip(QUESTIONS, index.query_batch([IndexQuery(K, q) for q in QUESTIONS]), strict=True):
        cosines = [float(VECTORS[IDS.index(hit.passage_id)] @ question) for hit in hits]
        np.testing.assert_allclose([hit.score for hit in hits], cosines, atol=1e-4)
    index.close()
    reopened = EdgeIndex.open(tmp_path / "index", config)
    assert measure_index(reopened, QUESTIONS, exact, K).recall >= 0.9
    reopened.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_index_is_searched_exactly_whatever_its_codes(tmp_path: Path, kind: Quantisation) -> None:
    index = EdgeIndex.create(tmp_path / "index", DIM, (), IndexConfig(quantisation=kind))
    index.upsert(passages())
    index.finish()
    assert measure_index(index, QUESTIONS, exact_nearest(QUESTIONS, [(IDS, VECTORS)], K), K).recall == 1.0
    index.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_servers_client_takes_every_kind(kind: Quantisation) -> None:
    client = QdrantClient(":memory:")
    index = ServerIndex.create(client, "passages", DIM, (), IndexConfig(exact_below_points=0, quantisation=kind))
    index.upsert(passages()[:200])
    index.finish()
    exact = exact_nearest(QUESTIONS, [(IDS[:200], VECTORS[:200])], K)
    assert measure_index(index, QUESTIONS, exact, K).recall == 1.0
    client.close()


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'none', 'scalar', 'turbo' or 'binary'"):
        IndexConfig(quantisation="product")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        IndexConfig(oversampling=0.5)
