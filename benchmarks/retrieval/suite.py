"""Every figure of search."""

from benchmarks import evaluation, reranking
from benchmarks.parts import Measured, measure_all
from benchmarks.retrieval import batch, boosted, cold, expansion, funnel, fusions, graph, neighbours, quality

PARTS = {
    "funnel": funnel.measure,  # those that time something come first
    "cold": cold.measure,
    "hnsw": graph.measure_hnsw,
    "quantisation": graph.measure_quantisation,
    "batch": batch.measure,
    "neighbours": neighbours.measure,
    "million": graph.measure_million,
    "quality": quality.measure,
    "fusions": fusions.measure,
    "boosted": boosted.measure,
    "expansion": expansion.measure,
    "evaluation": evaluation.measure,
    "reranking": reranking.measure,
}


def measure(parts: str = "") -> Measured:
    """Two hours on two cores: half an hour and more for ``reranking``, a quarter each for ``million`` and ``boosted``.

    Args:
        parts: names of those to measure, by commas; all where empty.
    """
    return measure_all("retrieval", PARTS, parts.split(",") if parts else ())
