"""Searches and look-ups answered by the release that a caller is given, and watched."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from retrieval.steps import Step
from serving.bundles import NO_BUNDLES, BundleProposals
from serving.capabilities import NO_CAPABILITIES, CapabilityRanking
from serving.context import caller, note_release, request_id
from serving.documents import DocumentsService, nothing
from serving.embedding import EmbeddingService
from serving.errors import STATUS, ApiError
from serving.links import LinkService
from serving.lookup import Lookup
from serving.ranking import RankingService
from serving.releases import Releases
from serving.schemas import Document, LinksResponse, Readiness, SearchRequest, SearchResponse
from serving.schemas.bundles import BundlesAnswer, BundlesRequest
from serving.schemas.documents import NewDocument, Written
from serving.schemas.links import LinkScoreRequest, LinkScores
from serving.schemas.rank import RankRequest, RankResponse
from serving.search import Searching
from serving.shadow import Shadowing
from serving.sight import Metrics
from serving.traffic import Traffic, change_traffic, without
from serving.verdicts import Verdicts, Work

logger = logging.getLogger("catena")


@dataclass(frozen=True)
class Variant:
    """A release, open.

    Attributes:
        id: of the release.
        search: over its index.
        embedding: by its encoder.
        ranking: by the service's ranker, or its encoder.
        lookup: of its documents and links, with those that were put.
        documents: takes those.
        links: by its link model.
        capabilities: ranked by its ranker.
        bundles: that it proposes.
        warm_up: called once, before anybody asks the first release of a process.
        close: called when nobody asks any more.
        longest_s: how long the batch of it has been worked on that is worked on longest, in this process, in seconds.
    """

    id: str
    search: Searching
    embedding: EmbeddingService
    ranking: RankingService
    lookup: Lookup
    documents: DocumentsService
    links: LinkService
    capabilities: CapabilityRanking = NO_CAPABILITIES
    bundles: BundleProposals = NO_BUNDLES
    warm_up: Callable[[], Awaitable[None]] = nothing
    close: Callable[[], None] = lambda: None
    longest_s: Callable[[], float] = lambda: 0.0


class Variants:
    """The search, look-up, documents and links of a service with several releases.

    As ``Searching``, ``Lookup``, ``Writing``, ``LinkScoring`` and ``CapabilityRanking`` have them.

    Args:
        releases: that are open.
        verdicts: on canary and shadow.
        shadowing: asks the shadow what the live one was asked.
    """

    def __init__(self, releases: Releases[Variant], verdicts: Verdicts, shadowing: Shadowing) -> None:
        self.releases, self._verdicts, self._shadowing = releases, verdicts, shadowing

    @property
    def traffic(self) -> Traffic:
        """Which release answers what, as this process does it now."""
        return self.releases.traffic

    async def search(self, request: SearchRequest) -> SearchResponse:
        """As of ``SearchService``, by the caller's release."""
        variant = self._chosen()
        with self._judged(variant, "search"):
            answer = await variant.search.search(request)
        if variant.id == self.traffic.live and self.traffic.shadowed(request_id.get()):
            shadow = self.traffic.shadow
            assert shadow is not None, "it is asked"
            self._shadowing.ask(shadow.release, self.releases[shadow.release].search, request, answer)
        return answer

    async def ready(self) -> Readiness:
        """As of ``SearchService``, of the live release."""
        return await self.releases.live.search.ready()

    @property
    def pipelines(self) -> Mapping[str, tuple[Step, ...]]:
        """As of ``Searching``: those of the live release."""
        return self.releases.live.search.pipelines

    async def score(self, request: LinkScoreRequest) -> LinkScores:
        """As of ``LinkScoring``."""
        variant = self._chosen()
        with self._judged(variant, "links"):
            return await variant.links.score(request)

    async def rank(self, request: RankRequest) -> RankResponse:
        """As of ``CapabilityRanking``, by the caller's release."""
        variant = self._chosen()
        with self._judged(variant, "rank"):
            return await variant.capabilities.rank(request)

    def propose(self, request: BundlesRequest) -> BundlesAnswer:
        """As of ``BundleProposals``, by the caller's release."""
        variant = self._chosen()
        with self._judged(variant, "bundles"):
            return variant.bundles.propose(request)

    async def put(self, documents: Sequence[NewDocument]) -> Written:
        """As of ``Writing``: to the live release, and to all that are open."""
        return await self.releases.live.documents.put(documents)

    async def delete(self, ids: Sequence[str]) -> Written:
        """As of ``Writing``."""
        return await self.releases.live.documents.delete(ids)

    async def document(self, id_: str) -> Document | None:
        """As of ``Lookup``."""
        return await self._chosen().lookup.document(id_)

    async def links(self, id_: str, limit: int) -> LinksResponse | None:
        """As of ``Lookup``."""
        return await self._chosen().lookup.links(id_, limit)

    @contextmanager
    def _judged(self, variant: Variant, work: Work) -> Iterator[None]:
        """Count what becomes of a request to the release that answers it."""
        started, failed = time.perf_counter(), False
        try:
            yield
        except ApiError as error:
            failed = STATUS[error.type] >= 500
            raise
        except Exception:
            failed = True
            raise
        finally:
            self._verdicts.answered(variant.id, failed, time.perf_counter() - started, work)

    def _chosen(self) -> Variant:
        variant = self.releases[self.traffic.chosen(caller.get() or request_id.get())]
        note_release(variant.id)
        return variant


def watched(path: Path, releases: Releases[Variant], metrics: Metrics, busy: Callable[[], bool]) -> Variants:
    """The variants of a service, which judges its canary and shadow by itself.

    Args:
        path: of the file of the releases, from which a canary that breaks a guardrail is taken.
        releases: that are open.
        metrics: that count.
        busy: whether somebody waits for an answer.
    """

    def stop(release: str, reason: str) -> None:
        logger.error("releases: %s is stopped: %s", release, reason)
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, change_traffic, path, partial(_stopped, release=release, reason=reason))

    verdicts = Verdicts(lambda: releases.traffic, stop, metrics)
    return Variants(releases, verdicts, Shadowing(verdicts, busy, metrics.shadow_dropped))


def _stopped(traffic: Traffic | None, release: str, reason: str) -> Traffic | None:
    return None if traffic is None else without(traffic, release, reason)
