"""Every figure of the service."""

from benchmarks.parts import Measured, measure_all
from benchmarks.serving import embeddings, fuzz, live, overload, search

PARTS = {
    "search": search.measure,
    "live": live.measure,
    "embeddings": embeddings.measure,
    "overload": overload.measure,
    "fuzz": fuzz.measure,
}


def measure(parts: str = "") -> Measured:
    """Half an hour on two cores.

    Args:
        parts: names of those to measure, by commas; all where empty.
    """
    return measure_all("serve", PARTS, parts.split(",") if parts else ())
