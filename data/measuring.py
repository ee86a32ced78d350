"""Reporting of figures must not end the work: a failure to report is logged once, and the work goes on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("catena")


class Reporting:
    """Guards code that reports figures: metrics, progress.

    Args:
        what: what is reported, for the log.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._failed = False

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Log the first exception of the reporting code as a warning, later ones as debug output; raise none."""
        try:
            yield
        except Exception as error:  # a metrics library or a closed terminal may raise anything
            level = logging.DEBUG if self._failed else logging.WARNING
            self._failed = True
            logger.log(level, "%s cannot be reported: %s: %s", self._what, type(error).__name__, error)
