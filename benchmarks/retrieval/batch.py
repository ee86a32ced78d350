"""Many queries at once, beside a loop that asks the index's own client one by one."""

from collections.abc import Callable
from typing import Any

from benchmarks.rows import Row, median_ratio
from benchmarks.whole_runs import RUNS
from data.encoders.config import TransformerConfig
from data.encoders.transformer.models import find_model
from data.partitions import read_table
from data.vectors.quantise import Floats
from ray_apps.config import load_run
from ray_apps.encoder.check import usable_encoder
from ray_apps.plan import Plan
from retrieval.query import SearchQuery
from retrieval.search import Retriever, open_retriever
from retrieval.terms import bm25_of

RUN = "scifact"
QUERIES = 1_000
TOP_K, PREFETCH = 10, 100


def measure() -> list[Row]:
    """Hybrid search on SciFact: from texts, and from vectors that are there already."""
    import qdrant_edge as edge
    from sentence_transformers import SentenceTransformer

    plan = Plan(load_run(RUNS / f"{RUN}.yaml"))
    artifact = plan.bring("index").path
    texts = read_table(plan.bring("ingest").path / "queries", ["text"])["text"].to_pylist()[:QUERIES]
    retriever = open_retriever(artifact, usable_encoder(plan))
    assert retriever.encoder is not None
    model = SentenceTransformer(find_model(TransformerConfig().model), device="cpu")
    client = edge.EdgeShard.load(str(artifact / retriever.meta.location))
    ask = one_by_one(client, retriever)
    vectors = retriever.encoder.encode_queries(texts)
    queries = [SearchQuery(text, top_k=TOP_K) for text in texts]

    def loop() -> None:
        for text in texts:
            ask(text, model.encode([text], normalize_embeddings=True, show_progress_bar=False)[0])

    def loop_of_vectors() -> None:
        for text, vector in zip(texts, vectors, strict=True):
            ask(text, vector)

    def batch() -> None:
        retriever.search(texts, top_k=TOP_K)

    def batch_of_vectors() -> None:
        retriever.answer(queries, list(vectors))

    rows = [
        _row("batch_ratio", "from texts", batch, loop, len(texts), at_least=5.0),
        _row("batch_index_ratio", "from vectors", batch_of_vectors, loop_of_vectors, len(texts)),
    ]
    client.close()
    retriever.index.close()
    return rows


def one_by_one(client: Any, retriever: Retriever) -> Callable[[str, Floats], Any]:  # noqa: ANN401 - untyped
    """What asks the engine for one query: both lists, fused by it, with their payloads."""
    import qdrant_edge as edge

    bm25 = bm25_of(retriever.meta)

    def ask(text: str, vector: Floats) -> Any:  # noqa: ANN401 - untyped
        sides = {"dense": vector, "bm25": edge.SparseVector(*bm25.query(text))}
        lists = [
            edge.Prefetch(limit=PREFETCH, query=edge.Query.Nearest(side, using=name)) for name, side in sides.items()
        ]
        fusion = edge.Fusion.Rrf(k=61, weights=[1.0, 1.0])
        return client.query(edge.QueryRequest(limit=TOP_K, query=fusion, prefetches=lists, with_payload=True))

    return ask


def _row(
    name: str,
    what: str,
    ours: Callable[[], object],
    loop: Callable[[], object],
    count: int,
    at_least: float | None = None,
) -> Row:
    ratio, own, theirs = median_ratio(ours, loop)
    return Row(
        id=f"retrieval.{name}",
        what=f"queries a second of hybrid search in one batch {what}, over a loop of single requests to the engine's "
        f"client, {count:,} queries on {RUN}",
        value=round(ratio, 2),
        unit="times",
        at_least=at_least,
        peer=f"ours {count / own:.0f} queries/s, the loop {count / theirs:.0f}",
    )
