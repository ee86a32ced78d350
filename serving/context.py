"""What belongs to the request being answered: its id, and where its time goes."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

_GIVEN = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")  # nothing that ends a header or a line of a log

AT_ONCE = 256  # ids
_fresh: list[str] = []

request_id: ContextVar[str] = ContextVar("request_id", default="")
caller: ContextVar[str] = ContextVar("caller", default="")  # who asks, as far as it is known
_release: ContextVar[list[str] | None] = ContextVar("release", default=None)


class Block(NamedTuple):
    """One stretch of a phase.

    Attributes:
        phase: its name.
        began: by ``time.perf_counter``.
        seconds: how long it took.
    """

    phase: str
    began: float
    seconds: float


@dataclass
class Spent:
    """Where the time of a request went; fills while it is measured.

    Attributes:
        seconds: of each phase, all its stretches together.
        blocks: the stretches, in the order in which they ended.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)


_spent: ContextVar[Spent | None] = ContextVar("spent", default=None)


def new_request_id(given: str | None) -> str:
    """The caller's own id where it is one that may be repeated in headers and logs, else a new one."""
    return given if given is not None and _GIVEN.fullmatch(given) else _random_id()


def _random_id() -> str:
    """32 hex digits. The system is asked for many at once: each call lets the threads that encode in between."""
    if not _fresh:
        digits = os.urandom(16 * AT_ONCE).hex()
        _fresh.extend(digits[start : start + 32] for start in range(0, len(digits), 32))
    return _fresh.pop()


def start_phases() -> Spent:
    """Begin to add up phases for this request."""
    spent = Spent()
    _spent.set(spent)
    return spent


def expect_release() -> list[str]:
    """Begin to note which release answers this request; the list returned gets its id, once it is chosen."""
    noted: list[str] = []
    _release.set(noted)
    return noted


def note_release(id_: str) -> None:
    """This release answers the request."""
    noted = _release.get()
    if noted is not None:
        noted[:] = [id_]


def noted_release() -> str:
    """The release that answers the request; empty where none was chosen."""
    return "".join(_release.get() or ())


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Count the time of a block to a phase of the request, in seconds by the clock; outside a request, nowhere."""
    started = time.perf_counter()
    try:
        yield
    finally:
        add_phase(name, started, time.perf_counter())


def own_context() -> Context:
    """A context with the request's id and phases, and nothing else of it, such as what cancels its tasks."""
    context = Context()
    context.run(request_id.set, request_id.get())
    context.run(_spent.set, _spent.get())
    return context


def add_phase(name: str, began: float, ended: float) -> None:
    """Count time that was measured elsewhere, both ends by ``time.perf_counter``."""
    spent = _spent.get()
    if spent is not None:
        spent.seconds[name] = spent.seconds.get(name, 0.0) + ended - began
        spent.blocks.append(Block(name, began, ended - began))
