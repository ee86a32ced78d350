"""Capabilities put in order for an intent: the ranker's scores, rules of the request, then exploration.

Shapes: C capabilities, N candidates, K shown, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data.errors import EncoderUnavailable, InputError, TextRefused
from data.features.table import Features
from data.metadata import read_metadata
from retrieval.filters import parse_filter
from retrieval.in_memory import FilteredRows
from serving.admission import Admission
from serving.batcher import Batcher
from serving.config import RankConfig
from serving.context import phase, request_id
from serving.errors import ApiError
from serving.feature_feed import FeatureFeed
from serving.recent_intents import RecentIntents
from serving.results import Clock
from serving.schemas import FeatureEffect
from serving.schemas.rank import Explore, Missing, RankedCapability, RankParts, RankRequest, RankResponse, RankTiming
from serving.stored_intents import StoredIntents
from training.ranking.exploration import Drawn, as_ranked, epsilon_greedy, thompson
from training.ranking.served import CapabilityRanker

Floats = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]
Asked = tuple[Floats, tuple[int, ...]]  # vector of an intent, numbers of the tools at hand

BATCH = 64  # intents scored together
CERTAIN = 1e-6  # from 0 and 1: odds are finite
RUNS = "log_runs_all"  # feature that says how often a capability ran
FILTERS = 256  # whose answers are kept


class IntentEncoder(Protocol):
    """What turns intents to vectors, in this process or another."""

    @property
    def cache_degraded(self) -> bool:
        """Whether a tier of the cache did not answer when it was asked last."""

    async def encode(self, text: str) -> Floats:
        """The unit vector of a text, float32 (D,).

        Raises:
            EncoderUnavailable: if there is none in time.
            TextRefused: if the encoder refuses the text.
        """


class CapabilityRanking(Protocol):
    """What ranks capabilities, of one release or of several."""

    async def rank(self, request: RankRequest) -> RankResponse:
        """Capabilities in the order in which they are to be shown.

        Raises:
            ApiError: if there is no ranker, or it cannot answer.
        """


class NoCapabilities:
    """Where there is no ranker."""

    async def rank(self, request: RankRequest) -> RankResponse:
        """As of ``CapabilityRanking``: there is none."""
        raise ApiError("not_found", "this service ranks no capabilities: `catena learn RUN.yaml` makes a ranker")


NO_CAPABILITIES = NoCapabilities()


@dataclass(frozen=True)
class _Past:
    """What is known of all capabilities besides their texts.

    Attributes:
        version: of the features.
        values_CF: those that the ranker weighs.
        prior_C: what they add to scores.
        runs_C: how often each ran; None where no feature says so.
    """

    version: str
    values_CF: Floats
    prior_C: Floats
    runs_C: Values | None


class CapabilityService:
    """Ranks by one ranker.

    Args:
        ranker: that scores.
        encoder: of intents.
        features: that it weighs besides, and how often each ran, for exploration; None where there are none.
        stored: vectors of intents that were embedded before; None where there are none.
        config: how exploration is done where a request does not say.
        admission: of intents.
        seed: of exploration, for tests.

    Raises:
        InputError: if a capability's metadata is no JSON.
    """

    def __init__(
        self,
        ranker: CapabilityRanker,
        encoder: IntentEncoder,
        features: FeatureFeed | None,
        stored: StoredIntents | None,
        config: RankConfig,
        admission: Admission,
        seed: int | None = None,
    ) -> None:
        self.ranker, self._encoder, self._feed, self._stored = ranker, encoder, features, stored
        self._config, self._admission, self._rng = config, admission, np.random.default_rng(seed)
        self._recent = RecentIntents()
        self._metadata = [read_metadata(cell) for cell in ranker.metadata]
        self._rows = FilteredRows(ranker.capabilities, self._metadata)
        self._number = {id_: number for number, id_ in enumerate(ranker.capabilities)}
        self._tool = {id_: number for number, id_ in enumerate(ranker.tools)}
        self._none = _Past("", np.zeros((len(self._number), 0), np.float32), np.zeros(len(self._number), "f4"), None)
        self._past = self._none
        self._passing: dict[str, Mask] = {}
        self._scores = Batcher[Asked, Floats](self._score, BATCH, phases=False)

    @property
    def longest_s(self) -> float:
        """How long its batch has been worked on, in seconds; 0 where none is."""
        return self._scores.longest_s

    def close(self) -> None:
        """Give back what it holds; nobody asks any more."""
        self._scores.close()
        if self._feed is not None:
            self._feed.close()

    async def rank(self, request: RankRequest) -> RankResponse:
        """Capabilities in the order in which they are to be shown.

        Raises:
            ApiError: if the filter is wrong, the encoder refuses the intent or is unavailable, or too much waits.
        """
        clock = Clock()
        candidates_N, unknown = self._candidates(request)
        tools = tuple(self._tool[id_] for id_ in request.context if id_ in self._tool)
        with self._admission.admitted(1):
            with phase("encode"), clock("encode"):
                vector, degraded = await self._vector(request.intent)
            with phase("rank"), clock("rank"):
                text_C = await self._scores((vector, tools))
        past = self._known()
        if past is self._none and self.ranker.features:
            degraded.append("features")
        shown = self._shown(request, candidates_N, text_C, past)
        return RankResponse(
            request_id=request_id.get(),
            model=self.ranker.kind,
            model_version=self.ranker.version,
            features_version=past.version or None,
            explore=shown.explore,
            explored=shown.drawn.explored,
            results=self._results(shown, text_C, past, request.explain),
            degraded=degraded,
            unknown=unknown,
            timing_ms=_timing(clock) if request.explain else None,
        )

    def _candidates(self, request: RankRequest) -> tuple[Numbers, list[str]]:
        """Numbers of the capabilities that may be shown, and the ids of the request that are unknown."""
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

    def _passed(self, request: RankRequest) -> Mask:
        """Which capabilities can run and pass the filter, bool (C,)."""
        if not request.filter:
            return self.ranker.can_run
        asked = repr(request.filter)
        if asked not in self._passing:
            try:
                passing_C = self._rows.passing(parse_filter(request.filter)) & self.ranker.can_run
            except InputError as error:
                raise ApiError("invalid_request", f"{error.problem}; {error.remedy}", "filter") from None
            if len(self._passing) >= FILTERS:
                self._passing.clear()
            self._passing[asked] = passing_C
        return self._passing[asked]

    async def _vector(self, intent: str) -> tuple[Floats, list[Missing]]:
        """The vector of an intent: one that was asked lately or is stored, else through the caches of the encoder."""
        known = self._recent.get(intent)
        if known is None and self._stored is not None:
            known = self._stored(intent)
        if known is not None:
            return known, []
        try:
            vector = await self._encoder.encode(intent)
        except TextRefused as error:
            raise ApiError("invalid_request", f"{error.problem}; {error.remedy}", "intent", "text_refused") from None
        except EncoderUnavailable as error:
            raise ApiError("unavailable", error.problem, headers={"Retry-After": "2"}) from None
        self._recent.put(intent, vector)
        return vector, ["cache"] if self._encoder.cache_degraded else []

    def _score(self, asked: list[Asked]) -> Sequence[Floats]:
        """Scores of all capabilities by text alone, float32 (C,), of each intent; called in a thread."""
        queries_QW = self.ranker.queries(np.stack([vector for vector, _ in asked]), [tools for _, tools in asked])
        return list(self.ranker.score(queries_QW, self._none.prior_C))

    def _known(self) -> _Past:
        """What is known of the capabilities' past now."""
        features = None if self._feed is None else self._feed.current()
        if features is None:
            return self._none
        if features.version != self._past.version:
            self._past = self._past_of(features)
        return self._past

    def _past_of(self, features: Features) -> _Past:
        ids = self.ranker.capabilities
        values_CF = features.of(ids, self.ranker.features)
        runs_C = np.expm1(features.of(ids, [RUNS])[:, 0].astype(np.float64)) if RUNS in features.names else None
        return _Past(features.version, values_CF, self.ranker.prior(values_CF), runs_C)

    def _shown(self, request: RankRequest, candidates_N: Numbers, text_C: Floats, past: _Past) -> "_Shown":
        """The best candidates by the rules of the request, in the order that exploration draws."""
        raw_C = (text_C + past.prior_C).astype(np.float64)
        raw_N = raw_C[candidates_N]
        probability_N = self.ranker.calibrator(raw_N, self.ranker.calibrator.levels(raw_C[None]))
        boost_N = self._boosts(request, candidates_N)
        boosted_N = _boosted(probability_N, boost_N)
        kept = (
            np.arange(len(raw_N)) if request.min_score is None else np.flatnonzero(probability_N >= request.min_score)
        )
        order = kept[np.lexsort((candidates_N[kept], -raw_N[kept], -boosted_N[kept]))][: request.top_k]
        numbers_K, boosted_K = candidates_N[order], boosted_N[order]
        explore: Explore = request.explore or self._config.explore
        drawn = self._drawn(explore, boosted_K, None if past.runs_C is None else past.runs_C[numbers_K])
        return _Shown(explore, drawn, numbers_K, raw_N[order], probability_N[order], boost_N[order], boosted_K)

    def _boosts(self, request: RankRequest, candidates_N: Numbers) -> Values:
        factors_C = np.ones(len(self._number))
        for id_, factor in request.boosts.items():
            if id_ in self._number:
                factors_C[self._number[id_]] = factor
        return np.asarray(factors_C[candidates_N])

    def _drawn(self, explore: Explore, boosted_K: Values, runs_K: Values | None) -> Drawn:
        if explore == "epsilon":
            return epsilon_greedy(len(boosted_K), self._config.epsilon, self._rng)
        if explore == "thompson":
            return thompson(boosted_K, runs_K, self._config.noise, self._rng)
        return as_ranked(len(boosted_K))

    def _results(self, shown: "_Shown", text_C: Floats, past: _Past, explained: bool) -> list[RankedCapability]:
        results = []
        for rank, place in enumerate(shown.drawn.order.tolist(), start=1):
            number = int(shown.numbers_K[place])
            results.append(
                RankedCapability(
                    id=self.ranker.capabilities[number],
                    rank=rank,
                    score=float(shown.boosted_K[place]),
                    raw_score=float(shown.raw_K[place]),
                    propensity=float(shown.drawn.propensities[place]),
                    text=self.ranker.texts[number],
                    metadata=self._metadata[number],
                    parts=self._parts(shown, place, float(text_C[number]), past) if explained else None,
                )
            )
        return results

    def _parts(self, shown: "_Shown", place: int, text: float, past: _Past) -> RankParts:
        number = int(shown.numbers_K[place])
        effects: list[FeatureEffect] = []
        if past is not self._none:
            values, weights = past.values_CF[number], self.ranker.feature_weights
            each = zip(self.ranker.features, values.tolist(), (values * weights).tolist(), strict=True)
            effects = [FeatureEffect(name=name, value=value, effect=effect) for name, value, effect in each]
        return RankParts(
            text=text,
            past=float(past.prior_C[number]),
            features=sorted(effects, key=lambda one: -abs(one.effect)),
            probability=float(shown.probability_K[place]),
            boost=float(shown.boost_K[place]),
            ranked=place + 1,
        )


@dataclass(frozen=True)
class _Shown:
    """What is shown, by rank before exploration.

    Attributes:
        explore: how the order was drawn.
        drawn: the order, and propensities.
        numbers_K: of the capabilities.
        raw_K: scores of the ranker.
        probability_K: calibrated.
        boost_K: factors of the odds.
        boosted_K: probabilities with them.
    """

    explore: Explore
    drawn: Drawn
    numbers_K: Numbers
    raw_K: Values
    probability_K: Values
    boost_K: Values
    boosted_K: Values


def _boosted(probability_N: Values, boost_N: Values) -> Values:
    """Probabilities whose odds are multiplied; those without a boost stay as they are."""
    inner_N = np.clip(probability_N, CERTAIN, 1 - CERTAIN)
    boosted_N = boost_N * inner_N / (1 - inner_N + boost_N * inner_N)
    return np.where(boost_N == 1, probability_N, boosted_N)


def _timing(clock: Clock) -> RankTiming:
    return RankTiming(**clock.timing().model_dump(include=set(RankTiming.model_fields)))
