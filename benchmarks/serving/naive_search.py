"""The peer of the serving benchmark: hybrid search over HTTP as one would write it on a page of FastAPI.

One process; each request encodes its query by itself with SentenceTransformer's defaults, then bm25s, a matrix product
and reciprocal rank fusion. Run as ``python -m benchmarks.naive_search PASSAGES VECTORS PORT``.
"""

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

from data.encoders.config import TransformerConfig
from data.encoders.transformer.models import find_model
from data.partitions import read_table
from data.passages.text import passage_text


class Question(BaseModel):
    """What is asked."""

    query: str
    top_k: int = 10


def application(passages: Path, vectors: Path) -> FastAPI:
    """The peer's application over a run's passages and vectors."""
    import bm25s
    from sentence_transformers import SentenceTransformer

    rows = read_table(passages).to_pylist()
    ranker = bm25s.BM25(k1=1.2, b=0.75)
    texts = [passage_text(row["title"], row["text"]) for row in rows]
    ranker.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    matrix = np.stack(read_table(vectors, ["vector"])["vector"].to_pylist()).astype(np.float32)
    model = SentenceTransformer(find_model(TransformerConfig().model), device="cpu")
    api = FastAPI()

    @api.post("/v1/search")
    def search(question: Question) -> list[dict[str, object]]:
        vector = model.encode(question.query, normalize_embeddings=True, show_progress_bar=False)
        nearest = np.argsort(-(matrix @ vector))[:100]
        words, _ = ranker.retrieve(
            bm25s.tokenize(question.query, stopwords="en", show_progress=False), k=100, show_progress=False
        )
        fused: dict[int, float] = defaultdict(float)
        for ranked in (nearest.tolist(), words[0].tolist()):
            for rank, row in enumerate(ranked, start=1):
                fused[row] += 1 / (60 + rank)
        best = sorted(fused.items(), key=lambda item: -item[1])[: question.top_k]
        return [
            {
                "document_id": rows[row]["document_id"],
                "title": rows[row]["title"],
                "text": rows[row]["text"],
                "score": s,
            }
            for row, s in best
        ]

    return api


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(
        application(Path(sys.argv[1]), Path(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[3]), log_level="error"
    )
