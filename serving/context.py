"""What belongs to the request being answered: its id, and where its time goes."""

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar

_GIVEN = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")  # nothing that ends a header or a line of a log

request_id: ContextVar[str] = ContextVar("request_id", default="")
caller: ContextVar[str] = ContextVar("caller", default="")  # who asks, as far as it is known
_release: ContextVar[list[str] | None] = ContextVar("release", default=None)
_spent: ContextVar[dict[str, float] | None] = ContextVar("spent", default=None)


def new_request_id(given: str | None) -> str:
    """The caller's own id where it is one that may be repeated in headers and logs, else a new one."""
    return given if given is not None and _GIVEN.fullmatch(given) else uuid.uuid4().hex


def start_phases() -> dict[str, float]:
    """Begin to add up phases for this request; the dictionary returned fills while they are measured."""
    spent: dict[str, float] = {}
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
        add_phase(name, time.perf_counter() - started)


def own_context() -> Context:
    """A context with the request's id and phases, and nothing else of it, such as what cancels its tasks."""
    context = Context()
    context.run(request_id.set, request_id.get())
    context.run(_spent.set, _spent.get())
    return context


def add_phase(name: str, seconds: float) -> None:
    """Count time that was measured elsewhere, such as on another replica."""
    spent = _spent.get()
    if spent is not None:
        spent[name] = spent.get(name, 0.0) + seconds
