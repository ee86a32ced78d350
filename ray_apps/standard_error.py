"""The descriptor of standard error: where it points while a command runs, and what a crash writes to it."""

import contextlib
import faulthandler
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def own_stream(log: TextIO | None) -> Iterator[TextIO]:
    """Standard error as it is for us; as long as the context is entered, its descriptor is the log file for others.

    A crash of the interpreter, such as a segmentation fault, shows its Python stack on the user's standard error.

    Args:
        log: the open log file; None leaves the descriptor alone.

    Yields:
        The stream of our own messages.
    """
    stream: TextIO | None = sys.stderr
    if stream is None:  # closed by whoever started the process
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            yield nowhere
    elif not _is_descriptor(stream):
        yield stream
    else:
        _flush(stream)
        try:
            with _redirected(stream, log) if log is not None else contextlib.nullcontext(stream) as own:
                with _crashes_shown(own):
                    yield own
        finally:
            _flush(stream)


@contextmanager
def _redirected(stream: TextIO, log: TextIO) -> Iterator[TextIO]:
    """The stream's descriptor is the log; what it was before is a stream of its own."""
    descriptor = stream.fileno()
    kept = os.dup(descriptor)
    own = open(kept, "w", encoding=stream.encoding, errors="backslashreplace", buffering=1)
    os.dup2(log.fileno(), descriptor)
    try:
        yield own
    finally:
        _flush(stream)
        os.dup2(kept, descriptor)
        with contextlib.suppress(OSError):  # a full disk, a closed pipe; the descriptor is closed all the same
            own.close()


def _flush(stream: TextIO) -> None:
    with contextlib.suppress(OSError):  # a full disk, a closed pipe
        stream.flush()


@contextmanager
def _crashes_shown(stream: TextIO) -> Iterator[None]:
    """A crash shows the stack of its thread there. Ray, too, leaves a fault handler alone that is enabled before it."""
    before = faulthandler.is_enabled()
    faulthandler.enable(stream, all_threads=False)
    try:
        yield
    finally:
        if before:
            faulthandler.enable(sys.stderr)
        else:
            faulthandler.disable()


def _is_descriptor(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (OSError, ValueError):  # replaced, by a test for example
        return False
