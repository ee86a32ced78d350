"""How far a stage has come: the stage counts, a display shows it. Log lines by default, bars on a terminal."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TypeVar

from data.measuring import Reporting

logger = logging.getLogger("catena")

LINE_EVERY_S = 5.0
Item = TypeVar("Item")


@dataclass(frozen=True)
class State:
    """Where a piece of work is.

    Args:
        what: the stage, or a part of it.
        done: units of its work done, those of an earlier run among them.
        total: units in all.
        unit: what is counted, such as "passages".
        rate: units of this run a second, 0 before anything is done.
        note: further text, such as a second rate; may be empty.
    """

    what: str
    done: int
    total: int
    unit: str
    rate: float
    note: str

    @property
    def speed(self) -> str:
        """The rate in words, such as "61 passages/s" or, below one a second, "33 s each"; empty while not known."""
        if not self.rate:
            return ""
        return f"{self.rate:,.0f} {self.unit}/s" if self.rate >= 1 else f"{duration(1 / self.rate)} each"

    @property
    def left(self) -> str:
        """The time that the rest will take, in words; empty while it is not known."""
        return f"{duration((self.total - self.done) / self.rate)} left" if self.rate and self.done < self.total else ""


class Display(Protocol):
    """Shows pieces of work while they go on."""

    def show(self, state: State) -> None:
        """Show a piece of work, or update it; called whenever units are done."""

    def close(self, state: State) -> None:
        """Stop showing it."""


class Lines:
    """A line of the log every few seconds.

    Args:
        every_s: seconds between two lines about the same work.
    """

    def __init__(self, every_s: float = LINE_EVERY_S) -> None:
        self._every_s = every_s
        self._shown_at: dict[str, float] = {}

    def show(self, state: State) -> None:
        """Log the state if the last line about this work is old enough."""
        now = time.monotonic()
        if now - self._shown_at.setdefault(state.what, now) >= self._every_s:
            self._shown_at[state.what] = now
            figures = (state.speed, state.note, state.left)
            head = f"{state.what}: {state.done:,} of {state.total:,} {state.unit}"
            logger.info("%s", ", ".join([head, *filter(None, figures)]))

    def close(self, state: State) -> None:
        """Stop tracking the work."""
        self._shown_at.pop(state.what, None)


_DISPLAY: ContextVar[Display | None] = ContextVar("display", default=None)


@contextmanager
def shown_by(display: Display) -> Iterator[None]:
    """Show progress by a display as long as the context is entered."""
    token = _DISPLAY.set(display)
    try:
        yield
    finally:
        _DISPLAY.reset(token)


class Progress:
    """Counts a piece of work; made by ``progress``.

    Args:
        state: where it begins.
        display: shows it.
    """

    def __init__(self, state: State, display: Display) -> None:
        self.state = state
        self._before = state.done
        self._began_at = time.monotonic()
        self._display = display
        self._reporting = Reporting(f"progress of {state.what}")
        self._show()

    def advance(self, count: int = 1, rate: float | None = None, note: str = "") -> None:
        """Count units that are done.

        Args:
            count: how many.
            rate: units a second where the caller knows better than the clock since the beginning.
            note: further text to show.
        """
        done = self.state.done + count
        seconds = max(time.monotonic() - self._began_at, 1e-9)
        own = (done - self._before) / seconds if rate is None else rate
        self.state = State(self.state.what, done, self.state.total, self.state.unit, own, note)
        self._show()

    def close(self) -> None:
        """Stop showing it."""
        with self._reporting.guard():
            self._display.close(self.state)

    def _show(self) -> None:
        with self._reporting.guard():
            self._display.show(self.state)


@contextmanager
def progress(what: str, total: int, unit: str, done: int = 0) -> Iterator[Progress]:
    """Show how far a piece of work is, as long as the context is entered.

    What cannot be shown, on a terminal that is gone for example, is logged once and does not end the work.

    Args:
        what: the stage, or a part of it.
        total: units in all.
        unit: what is counted, in the plural.
        done: units that an earlier run did.
    """
    counted = Progress(State(what, done, total, unit, 0.0, ""), _DISPLAY.get() or Lines())
    try:
        yield counted
    finally:
        counted.close()


def tracked(items: Iterable[Item], what: str, total: int, unit: str) -> Iterator[Item]:
    """Pass items on and count them; arguments as of ``progress``."""
    with progress(what, total, unit) as counted:
        for item in items:
            yield item
            counted.advance()


def duration(seconds: float) -> str:
    """Seconds in words: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
