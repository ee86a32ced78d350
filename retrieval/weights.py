"""How ranked lists become one: the method, and how much each list counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from retrieval.config import Fusing, ListName

EQUAL: Mapping[ListName, float] = {"dense": 0.5, "bm25": 0.5}


@dataclass(frozen=True)
class Fusion:
    """How lists are fused.

    Attributes:
        method: as of ``IndexConfig.fusion``.
        weights: of the lists by their names, 0 or more; a list without one counts nothing.
        k: of ``rrf``.
    """

    method: Fusing = "sum"
    weights: Mapping[ListName, float] = field(default_factory=lambda: EQUAL)
    k: int = 60

    @classmethod
    def scaled(cls, method: Fusing, weights: Mapping[ListName, float], k: int = 60) -> Self:
        """With weights scaled to add up to 1; for ``rrf``, whose ranks they divide, so that the largest is 1."""
        whole = max(weights.values()) if method == "rrf" else sum(weights.values())
        return cls(method, {name: weight / whole for name, weight in weights.items()}, k)
