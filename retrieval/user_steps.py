"""Steps of a pipeline that are a user's own code: what they are given, and what is checked of what they return."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.errors import InputError
from data.passages.steps import FailedItem, StepConfig
from data.passages.steps import Step as Called
from retrieval.hits import SearchHit
from retrieval.steps import CallStep, Step


@dataclass(frozen=True)
class Candidates:
    """What a user's own step is given.

    Attributes:
        question: as it was asked.
        hits: documents that the steps before have found, best first. It returns some of them in its own order, with
            other scores (``dataclasses.replace``) if it likes.
    """

    question: str
    hits: list[SearchHit]


class UserStep:
    """A step of the user's own code.

    Args:
        step: which one.
        pipeline: it belongs to, for messages.
    """

    def __init__(self, step: CallStep, pipeline: str) -> None:
        self._step, self._pipeline = step, pipeline
        self._called = Called(StepConfig(path=step.call, arguments=step.arguments))

    def __call__(self, questions: Sequence[str], found: Sequence[Sequence[SearchHit]]) -> list[list[SearchHit]]:
        """The documents that it returns of those that it is given, best first.

        Raises:
            InputError: if there is no such step, it raises, or it returns anything but documents that it was given.
        """
        given = [Candidates(text, list(hits[: self._step.depth])) for text, hits in zip(questions, found, strict=True)]
        try:
            returned = self._called(given)
        except FailedItem as error:
            raise self._refusal(str(error)) from error
        return [self._checked(one.hits, hits) for one, hits in zip(given, returned, strict=True)]

    def _checked(self, given: Sequence[SearchHit], returned: Any) -> list[SearchHit]:  # noqa: ANN401 - anything at all
        known = {hit.document_id for hit in given}
        if not isinstance(returned, list | tuple) or not all(isinstance(hit, SearchHit) for hit in returned):
            raise self._refusal(f"it returned {repr(returned)[:200]}, and not a list of the hits it was given")
        ids = [hit.document_id for hit in returned]
        if len(set(ids)) < len(ids) or not known.issuperset(ids):
            wrong = next(id_ for place, id_ in enumerate(ids) if id_ not in known or id_ in ids[:place])
            raise self._refusal(f"it returned document {wrong!r}, which it was not given, or twice")
        if not all(np.isfinite(hit.score) for hit in returned):
            raise self._refusal("it returned a score that is no finite number")
        return [hit.placed(self._step.call, rank, hit.score) for rank, hit in enumerate(returned, 1)]

    def _refusal(self, reason: str) -> InputError:
        return InputError(
            f"pipelines.{self._pipeline}: the step {self._step.call} failed: {reason}", "Correct the step."
        )


def user_steps(pipelines: Mapping[str, tuple[Step, ...]]) -> dict[tuple[str, str], UserStep]:
    """The users' own steps, each by the name of its pipeline and all that it was given in the run file."""
    return {
        (name, str(step)): UserStep(step, name)
        for name, steps in pipelines.items()
        for step in steps
        if isinstance(step, CallStep)
    }
