"""The cause of an exception that came through Ray."""

import re
from collections.abc import Iterator

from data.errors import EncoderUnavailable, InputError

# An actor that fails in its constructor sends its exception as text only (ray.exceptions.ActorDiedError).
IN_TEXT = re.compile(
    r"data\.errors\.(?P<kind>InputError|EncoderUnavailable): (?P<problem>.+?)\n {2}(?P<remedy>[^\n]+)", re.DOTALL
)

RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt): .+$", re.MULTILINE)


def input_error(error: BaseException) -> InputError | None:
    """The InputError that caused ``error``, however often Ray wrapped it; None where there is none."""
    for cause in _causes(error, seen=set()):
        if isinstance(cause, InputError) and not hasattr(
            cause, "cause"
        ):  # RayTaskError(InputError) has the plain one inside
            return type(cause)(cause.problem, cause.remedy)
    in_text = list(IN_TEXT.finditer(str(error))) if type(error).__module__.startswith("ray.") else []
    if not in_text:
        return None
    found = in_text[-1]  # the one that was raised; its own causes come before it
    kind = EncoderUnavailable if found["kind"] == "EncoderUnavailable" else InputError
    return kind(found["problem"], found["remedy"])


def first_cause(error: BaseException) -> str:
    """The exception that caused ``error``, in one line; where Ray sends a traceback as text, the first one in it."""
    found = RAISED.search(str(error)) if type(error).__module__.startswith("ray.") else None
    if found:
        return found[0]
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"


def unavailable(error: BaseException) -> EncoderUnavailable | None:
    """The failure of an encoder that caused ``error``, if another encoder could be used instead; None otherwise.

    That is an EncoderUnavailable, or torch's error of a device that ran out of memory or was lost.
    """
    mistake = input_error(error)
    if isinstance(mistake, EncoderUnavailable):
        return mistake
    for cause in _causes(error, seen=set()):
        if type(cause).__module__ == "torch" and type(cause).__name__ in ("OutOfMemoryError", "AcceleratorError"):
            first = (str(cause).strip() or "no message").splitlines()[0]
            return EncoderUnavailable(f"{type(cause).__name__}: {first}", "Use another device, or smaller batches.")
    return None


def _causes(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    """The exception and all of its causes, as Python and as Ray record them."""
    if id(error) in seen:
        return
    seen.add(id(error))
    yield error
    workers = getattr(error, "worker_failures", None)  # ray.train: by rank
    named = [
        getattr(error, "cause", None),  # a RayTaskError's own exception, before what that one names
        error.__cause__,
        error.__context__,
        getattr(error, "controller_failure", None),
        *(workers.values() if isinstance(workers, dict) else ()),
    ]
    for inner in named:
        if isinstance(inner, BaseException):
            yield from _causes(inner, seen)
