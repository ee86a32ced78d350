"""Scores of words are those of bm25s, for questions that name a term more than once too, and in Hebrew."""

from pathlib import Path

import bm25s
import numpy as np
import pytest

from data.lexical import BM25, mean_length
from retrieval.config import IndexConfig
from retrieval.engines.edge import EdgeIndex
from retrieval.index import IndexedPassage, IndexQuery

PASSAGES, WORDS = 200, 60
WORD = {"none": "word", "hebrew": "ומלך"}


@pytest.mark.parametrize("language", ["none", "hebrew"])
@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4)])
def test_scores_are_those_of_bm25s(tmp_path: Path, k1: float, b: float, language: str) -> None:
    rng = np.random.default_rng(0)
    word = WORD[language]
    texts = [" ".join(f"{word}{n}" for n in rng.zipf(1.3, rng.integers(3, 40)) % WORDS) for _ in range(PASSAGES)]
    tokenizer = IndexConfig(language=language).tokenizer()
    bm25 = BM25(tokenizer, mean_length(texts, tokenizer), k1, b)
    index = EdgeIndex.create(tmp_path / "edge", 2, (), IndexConfig())
    vector = np.array([1, 0], np.float32)
    index.upsert(
        [
            IndexedPassage(str(n), str(n), "", text, 0, len(text), {}, vector, bm25.passage(text))
            for n, text in enumerate(texts)
        ]
    )
    index.finish()
    theirs = bm25s.BM25(method="lucene", k1=k1, b=b)
    theirs.index([tokenizer.terms(text) for text in texts], show_progress=False)
    for asked in ("word1 word2", "word3 word3 word7 word1 word3", "word5 " * 9 + "word2", "word59 unheard"):
        question = asked.replace("word", word)
        expected = theirs.get_scores(tokenizer.terms(question)) * (k1 + 1)  # left out by Lucene: no order changes
        (found,) = index.query_batch([IndexQuery(PASSAGES, sparse=bm25.query(question))])
        ours = np.zeros(PASSAGES)
        ours[[int(hit.passage_id) for hit in found]] = [hit.score for hit in found]
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
    index.close()
