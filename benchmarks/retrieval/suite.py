"""Every figure of search."""

from benchmarks.parts import Measured, measure_all
from benchmarks.retrieval import batch, cold, funnel, fusions, graph, neighbours, quality

PARTS = {
    "quality": quality.measure,
    "fusions": fusions.measure,
    "funnel": funnel.measure,
    "cold": cold.measure,
    "hnsw": graph.measure_hnsw,
    "quantisation": graph.measure_quantisation,
    "batch": batch.measure,
    "neighbours": neighbours.measure,
    "million": graph.measure_million,
}


def measure(parts: str = "") -> Measured:
    """Half an hour on two cores, half of it for the part ``million``.

    Args:
        parts: names of those to measure, by commas; all where empty.
    """
    return measure_all("retrieval", PARTS, parts.split(",") if parts else ())
