"""A benchmark of several parts: one that cannot be measured here does not keep the others from it."""

import logging
import subprocess
from collections.abc import Callable, Mapping, Sequence

from benchmarks.rows import Row
from data.errors import InputError, nearest

logger = logging.getLogger("catena")

Measured = tuple[list[Row], dict[str, str]]


def measure_all(name: str, parts: Mapping[str, Callable[[], list[Row]]], wanted: Sequence[str] = ()) -> Measured:
    """Measure parts one after another.

    Args:
        name: of the benchmark.
        parts: what measures each, by its name.
        wanted: names of those to measure; all where empty.

    Returns:
        Every row, and by part why it could not be measured.

    Raises:
        InputError: if there is no part of a wanted name.
    """
    for part in wanted:
        if part not in parts:
            raise InputError(f"bench {name} has no part {part!r}; {nearest(part, list(parts))}", "Correct --parts.")
    rows: list[Row] = []
    not_measured: dict[str, str] = {}
    for part in wanted or parts:
        logger.info("bench %s: %s", name, part)
        try:
            rows += parts[part]()
        except (InputError, OSError, RuntimeError, subprocess.CalledProcessError) as error:
            not_measured[part] = " ".join(str(error).split()) or type(error).__name__
            logger.error("bench %s: %s was not measured: %s", name, part, not_measured[part])
    return rows, not_measured
