"""Capabilities put in order for an intent: the ranker's scores, rules of the request, then exploration.

Shapes: C capabilities, N candidates, K shown.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data.errors import EncoderUnavailable, TextRefused
from data.metadata import read_metadata
from serving.admission import Admission
from serving.batcher import Batcher
from serving.capability_candidates import CapabilityCandidates
from serving.capability_past import Past
from serving.capability_results import Shown, results_of
from serving.config import RankConfig
from serving.context import phase, request_id
from serving.errors import ApiError
from serving.feature_feed import FeatureFeed
from serving.recent_intents import RecentIntents
from serving.results import Clock
from serving.schemas.rank import Explore, Missing, RankRequest, RankResponse, RankTiming
from serving.stored_intents import StoredIntents
from training.ranking.exploration import Drawn, as_ranked, epsilon_greedy, thompson
from training.ranking.served import CapabilityRanker

Floats = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Asked = tuple[Floats, tuple[int, ...]]  # vector of an intent, numbers of the tools at hand

BATCH = 64  # intents scored together
CERTAIN = 1e-6  # from 0 and 1: odds are finite


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
        self._candidates = CapabilityCandidates(ranker, self._metadata)
        self._none = self._past = Past.unknown(ranker)
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
        candidates_N, unknown = self._candidates.of(request)
        tools = self._candidates.tools(request)
        with self._admission.admitted(1):
            with phase("encode"), clock("encode"):
                vector, degraded = await self._vector(request.intent)
            with phase("rank"), clock("rank"):
                text_C = await self._scores((vector, tools))
        explore: Explore = request.explore or self._config.explore
        counts_runs = explore == "thompson"
        past = self._known() if self.ranker.features or counts_runs else self._none
        if (self.ranker.features and not past.known) or (counts_runs and past.runs_C is None):
            degraded.append("features")
        shown = self._shown(request, explore, candidates_N, text_C, past)
        return RankResponse(
            request_id=request_id.get(),
            model=self.ranker.kind,
            model_version=self.ranker.version,
            features_version=past.version or None,
            explore=shown.explore,
            explored=shown.drawn.explored,
            results=results_of(self.ranker, self._metadata, shown, text_C, past, request.explain),
            degraded=degraded,
            unknown=unknown,
            timing_ms=_timing(clock) if request.explain else None,
        )

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

    def _known(self) -> Past:
        """What is known of the capabilities' past now."""
        features = None if self._feed is None else self._feed.current()
        if features is None:
            return self._none
        if features.version != self._past.version:
            self._past = Past.of(features, self.ranker)
        return self._past

    def _shown(
        self, request: RankRequest, explore: Explore, candidates_N: Numbers, text_C: Floats, past: Past
    ) -> Shown:
        """The best candidates by the rules of the request, in the order that exploration draws."""
        raw_C = (text_C + past.prior_C).astype(np.float64)
        raw_N = raw_C[candidates_N]
        probability_N = self.ranker.calibrator(raw_N, self.ranker.calibrator.levels(raw_C[None]))
        boost_N = self._candidates.boosts(request, candidates_N)
        boosted_N = _boosted(probability_N, boost_N)
        kept = (
            np.arange(len(raw_N)) if request.min_score is None else np.flatnonzero(probability_N >= request.min_score)
        )
        order = kept[np.lexsort((candidates_N[kept], -raw_N[kept], -boosted_N[kept]))][: request.top_k]
        numbers_K, boosted_K = candidates_N[order], boosted_N[order]
        drawn = self._drawn(explore, boosted_K, None if past.runs_C is None else past.runs_C[numbers_K])
        return Shown(explore, drawn, numbers_K, raw_N[order], probability_N[order], boost_N[order], boosted_K)

    def _drawn(self, explore: Explore, boosted_K: Values, runs_K: Values | None) -> Drawn:
        if explore == "epsilon":
            return epsilon_greedy(len(boosted_K), self._config.epsilon, self._rng)
        if explore == "thompson":
            return thompson(boosted_K, runs_K, self._config.noise, self._config.epsilon, self._rng)
        return as_ranked(len(boosted_K))


def _boosted(probability_N: Values, boost_N: Values) -> Values:
    """Probabilities whose odds are multiplied; those without a boost stay as they are."""
    inner_N = np.clip(probability_N, CERTAIN, 1 - CERTAIN)
    boosted_N = boost_N * inner_N / (1 - inner_N + boost_N * inner_N)
    return np.where(boost_N == 1, probability_N, boosted_N)


def _timing(clock: Clock) -> RankTiming:
    return RankTiming(**clock.timing().model_dump(include=set(RankTiming.model_fields)))
