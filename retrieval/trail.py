"""Where a document stood in each step of a search: what explains an answer, and what models rank by."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where a step has a document.

    Attributes:
        step: its name.
        rank: from 1.
        score: of the step itself.
    """

    step: str
    rank: int
    score: float
