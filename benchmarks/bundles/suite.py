"""Every figure of bundles."""

from benchmarks.bundles import lines, mining, search, whole
from benchmarks.parts import Measured, measure_all

PARTS = {"mining": mining.measure, "lines": lines.measure, "search": search.measure, "whole": whole.measure}


def measure(parts: str = "") -> Measured:
    """A few minutes on two cores.

    Args:
        parts: names of those to measure, by commas; all where empty.
    """
    return measure_all("bundles", PARTS, parts.split(",") if parts else ())
