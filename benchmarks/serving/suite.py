"""Every figure of the service."""

from benchmarks.parts import Measured, measure_all
from benchmarks.serving import down, durable, embeddings, faults, fuzz, large, live, overload, search, soak

MODULES = (search, live, embeddings, overload, durable, large, down, faults, soak, fuzz)
PARTS = {module.__name__.split(".")[-1]: module.measure for module in MODULES}


def measure(parts: str = "") -> Measured:
    """An hour and a half on two cores.

    Args:
        parts: names of those to measure, by commas; all where empty.
    """
    return measure_all("serve", PARTS, parts.split(",") if parts else ())
