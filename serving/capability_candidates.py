"""What a request says of capabilities: which may be shown, which are boosted, which tools are at hand.

Shapes: C capabilities, N candidates.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.metadata import Metadata
from retrieval.filters import parse_filter
from retrieval.in_memory import FilteredRows
from serving.errors import ApiError
from serving.schemas.rank import RankRequest
from training.ranking.served import CapabilityRanker

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

FILTERS = 256  # whose answers are kept


class CapabilityCandidates:
    """Reads the ids and the filter of requests, by the numbers of a ranker.

    Args:
        ranker: whose capabilities they are.
        metadata: of each.
    """

    def __init__(self, ranker: CapabilityRanker, metadata: Sequence[Metadata]) -> None:
        self._ranker = ranker
        self._rows = FilteredRows(ranker.capabilities, metadata)
        self._number = {id_: number for number, id_ in enumerate(ranker.capabilities)}
        self._tool = {id_: number for number, id_ in enumerate(ranker.tools)}
        self._passing: dict[str, Mask] = {}

    def of(self, request: RankRequest) -> tuple[Numbers, list[str]]:
        """Numbers of the capabilities that may be shown, int64 (N,), and the ids of the request that are unknown.

        Raises:
            ApiError: if the filter is wrong.
        """
        passing_C = self._passed(request)
        unknown = [id_ for id_ in request.boosts if id_ not in self._number]
        unknown += [id_ for id_ in request.context if id_ not in self._tool]
        if request.candidates is not None:
            number = self._number.get
            numbers = np.array([number(id_, -1) for id_ in request.candidates], np.int64)
            unknown = [request.candidates[place] for place in np.flatnonzero(numbers < 0)] + unknown
            among_C = np.zeros(len(passing_C), bool)
            among_C[numbers[numbers >= 0]] = True
            passing_C = passing_C & among_C
        return np.flatnonzero(passing_C), list(dict.fromkeys(unknown))

    def tools(self, request: RankRequest) -> tuple[int, ...]:
        """Numbers of the tools at hand that are known."""
        return tuple(self._tool[id_] for id_ in request.context if id_ in self._tool)

    def boosts(self, request: RankRequest, candidates_N: Numbers) -> Values:
        """Factors of the odds of some capabilities, float64 (N,); 1 where the request names none."""
        factors_C = np.ones(len(self._number))
        for id_, factor in request.boosts.items():
            if id_ in self._number:
                factors_C[self._number[id_]] = factor
        return np.asarray(factors_C[candidates_N])

    def _passed(self, request: RankRequest) -> Mask:
        """Which capabilities can run and pass the filter, bool (C,)."""
        if not request.filter:
            return self._ranker.can_run
        asked = repr(request.filter)
        if asked not in self._passing:
            try:
                passing_C = self._rows.passing(parse_filter(request.filter)) & self._ranker.can_run
            except InputError as error:
                raise ApiError("invalid_request", f"{error.problem}; {error.remedy}", "filter") from None
            if len(self._passing) >= FILTERS:
                self._passing.clear()
            self._passing[asked] = passing_C
        return self._passing[asked]
