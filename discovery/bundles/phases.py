"""Seconds of each phase of a job."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Phases:
    """Phases by name, in the order they were entered."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is done in this context."""
        started = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 4)
