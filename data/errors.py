"""Errors that the user can correct, and how they are worded."""

import difflib
from collections.abc import Iterable, Sequence


class InputError(Exception):
    """Something the user gave is wrong and can be corrected: a file, a line, a key, a value.

    The command line prints it without a traceback and exits with code 2.

    Args:
        problem: what is wrong, with the file, line or key, the value found and what is allowed.
        remedy: what to do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n  {remedy}")
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str]]:  # crosses Ray's process boundary whole
        return type(self), (self.problem, self.remedy)


class TextRefused(InputError):
    """A text cannot be encoded; the caller can add where it comes from.

    Args:
        problem: as of ``InputError``.
        remedy: as of ``InputError``.
        text: the text as it was given, empty where it is one of several; it does not cross a process boundary.
    """

    def __init__(self, problem: str, remedy: str, text: str = "") -> None:
        super().__init__(problem, remedy)
        self.text = text


class EncoderUnavailable(InputError):
    """An encoder that is configured well is unavailable now: it does not answer, or its device is not there.

    Without another encoder it is reported like any InputError; a chain of encoders goes on with the next one.
    """


class StageAbsent(InputError):
    """A run has no such stage: its file does not ask for it, or its corpus has no data for it."""


LISTED = 100  # allowed words that a message names


def nearest(word: str, allowed: Iterable[str]) -> str:
    """A phrase that names the allowed word nearest to a misspelt one, or lists them: all, or some of very many."""
    options = sorted(allowed)
    close = difflib.get_close_matches(word, options, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    some = f"{', '.join(options[:10])} and {len(options) - 10:,} more" if len(options) > LISTED else ", ".join(options)
    return f"allowed: {some}"


def in_one_line(error: BaseException) -> str:
    """An error's type and message, and the line of code that raised it."""
    message = str(error).strip().splitlines()
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<"):  # what Python's own import machinery calls its files
            place = f" ({file}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}{f': {message[0]}' if message else ''}{place}"


def all_unavailable(reasons: Sequence[InputError]) -> EncoderUnavailable:
    """The error to raise when every alternative has failed, with the reason of each."""
    return EncoderUnavailable(
        "; ".join(error.problem for error in reasons),
        reasons[-1].remedy if len(reasons) == 1 else "Repair one of them.",
    )
