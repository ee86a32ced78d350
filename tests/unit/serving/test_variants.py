"""Canary and shadow over the whole application: who gets which release, what is compared, what is stopped."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
from fastapi.testclient import TestClient

from retrieval.steps import Step
from serving.admission import Admission
from serving.api import Services, application
from serving.artifacts import LinkArtifacts
from serving.config import ServeConfig
from serving.documents import DocumentsService, LiveIndexOwner
from serving.embedding import EmbeddingLimits, EmbeddingService, VectorSource
from serving.errors import ApiError
from serving.feedback import FeedbackService
from serving.journal import Journal
from serving.links import LinkService
from serving.lookup import LookupFile, write_lookup
from serving.ranking import EncoderRanker, RankingService
from serving.releases import Releases
from serving.schemas import Readiness, SearchRequest, SearchResponse, SearchResult
from serving.shadow import Shadowing, kendall_tau, overlap
from serving.sight import Metrics
from serving.traffic import Canary, Guardrails, Release, Shadow, Traffic, change_traffic, read_traffic
from serving.variants import Variant, watched
from serving.verdicts import Verdicts
from tests.unit.serving.test_lookup import documents, links
from tests.unit.serving.test_traffic import release

RAILS = Guardrails(after=20, errors=0.1, slower=3.0, overlap=0.5)


class Fixed:
    """A search that finds the same documents always, or fails."""

    pipelines: Mapping[str, tuple[Step, ...]] = {}

    def __init__(self, found: Sequence[str], fails: bool = False, seconds: float = 0.0) -> None:
        self.found, self.fails, self.seconds = found, fails, seconds

    async def search(self, request: SearchRequest) -> SearchResponse:
        await asyncio.sleep(self.seconds)
        if self.fails:
            raise ApiError("unavailable", "down")
        results = [
            SearchResult(document_id=id_, title=id_, text="", score=1.0, passage_id=id_, start=0, end=0, metadata={})
            for id_ in self.found
        ]
        return SearchResponse(query=request.query, mode="hybrid", pipeline="default", reranked=False, results=results)

    async def ready(self) -> Readiness:
        return Readiness(encoder="e", passages=1, encode_ms=0, search_ms=0)


class Service:
    """An application of two releases, the second as canary or shadow."""

    def __init__(
        self,
        folder: Path,
        new: Fixed,
        canary: float = 0.0,
        shadow: float = 0.0,
        new_links: LinkArtifacts | None = None,
    ) -> None:
        self.path = folder / "traffic.json"
        traffic = Traffic(
            live="old",
            canary=Canary(release="new", share=canary, guardrails=RAILS) if canary else None,
            shadow=Shadow(release="new", share=shadow, guardrails=RAILS) if shadow else None,
            releases={"old": release("old"), "new": release("new")},
        )
        change_traffic(self.path, lambda before: traffic)
        write_lookup(folder, documents(folder / "texts", ["a", "b"]), links(folder / "known", []), None)
        searches = {
            "old": Fixed(["a", "b", "c", "d"], seconds=0.002),
            "new": new,
        }  # some time, of which others take a multiple
        admission, limits = Admission(5.0, 1000), EmbeddingLimits(10, 1000)
        encoder = cast(VectorSource, None)  # nothing is embedded here
        embedding = EmbeddingService("letters", 4, encoder, limits, admission)
        ranking = RankingService(EncoderRanker("letters", encoder, 512), limits, admission)
        lookup = LookupFile(folder)
        no_documents = DocumentsService(cast(LiveIndexOwner, None), None, limits, admission)
        links_ = {
            id_: LinkService(artifacts, encoder, lookup.texts, 1000, admission, 10.0)
            for id_, artifacts in (("old", None), ("new", new_links))
        }

        def opened(one: Release) -> Variant:
            return Variant(one.id, searches[one.id], embedding, ranking, lookup, no_documents, links_[one.id])

        releases = Releases[Variant](self.path, opened)
        self.metrics = Metrics({})
        variants = watched(self.path, releases, self.metrics, busy=lambda: False)
        services = Services(
            search=variants,
            embedding=embedding,
            ranking=ranking,
            lookup=variants,
            documents=variants,
            links=variants,
            feedback=FeedbackService(Journal(folder / "journals")),
            metrics=self.metrics,
            releases=releases,
        )
        self.client = TestClient(application(services, ServeConfig()))

    def ask(self, user: str = "") -> str:
        """The release that answers a user."""
        answer = self.client.post("/v1/search", json={"query": "q"}, headers={"x-user": user})
        return str(answer.headers["x-catena-release"])

    def stopped(self) -> str:
        """Why the canary or shadow was stopped, within some seconds."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            traffic = read_traffic(self.path)
            assert traffic is not None
            if traffic.stopped:
                return traffic.stopped
            time.sleep(0.05)
        return ""


def until_followed(service: Service) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        state = service.client.get("/v1/releases").json()
        if all(one["open"] for one in state["releases"]):
            return
        time.sleep(0.05)
    raise AssertionError("not followed")


def test_a_share_of_the_callers_gets_the_canary_always(tmp_path: Path) -> None:
    service = Service(tmp_path, Fixed(["d"]), canary=0.5)
    with service.client:
        until_followed(service)
        given = {f"user {n}": service.ask(f"user {n}") for n in range(40)}
        assert set(given.values()) == {"old", "new"}
        assert all(service.ask(user) == was for user, was in given.items())
        state = service.client.get("/v1/releases").json()
        assert (state["live"], state["canary"], state["canary_share"]) == ("old", "new", 0.5)
        page = service.client.get("/metrics").text
        assert 'catena_release_seconds_count{outcome="answered",release="new"}' in page


@pytest.mark.parametrize(
    ("new", "reason"),
    [(Fixed([], fails=True), "of its last 20 answers were failures"), (Fixed(["a"], seconds=0.05), "95th percentile")],
)
def test_a_canary_that_fails_or_is_slow_is_stopped(tmp_path: Path, new: Fixed, reason: str) -> None:
    service = Service(tmp_path, new, canary=0.5)
    with service.client:
        until_followed(service)
        for number in range(80):
            service.ask(f"user {number}")
        assert reason in service.stopped()
        end = time.monotonic() + 10
        while service.client.get("/v1/releases").json()["canary"] is not None and time.monotonic() < end:
            time.sleep(0.05)
        assert {service.ask(f"user {n}") for n in range(40)} == {"old"}


def test_a_canary_that_cannot_score_links_is_stopped(tmp_path: Path) -> None:
    nowhere = LinkArtifacts(graph=tmp_path / "none", train=tmp_path / "none")
    service = Service(tmp_path, Fixed(["a", "b", "c", "d"]), canary=0.5, new_links=nowhere)
    with service.client:
        until_followed(service)
        for number in range(100):
            service.ask(f"user {number}")
            headers = {"x-user": f"user {number}"}
            service.client.post("/v1/links:score", json={"pairs": [["a", "b"]]}, headers=headers)
        assert "new: links: 100.0% of its last 20 answers were failures" in service.stopped()


def test_a_shadow_is_compared_and_nobody_gets_its_answers(tmp_path: Path) -> None:
    service = Service(tmp_path, Fixed(["b", "a", "c", "x"]), shadow=1.0)
    with service.client:
        until_followed(service)
        assert {service.ask(f"user {n}") for n in range(30)} == {"old"}
        end = time.monotonic() + 10
        while "catena_shadow_overlap_count" not in service.metrics.page().decode() and time.monotonic() < end:
            time.sleep(0.05)
        page = service.metrics.page().decode()
        assert 'catena_shadow_overlap_bucket{le="0.7",release="new"} 0.0' in page
        assert 'catena_shadow_overlap_bucket{le="0.8",release="new"}' in page
        traffic = read_traffic(service.path)
        assert traffic is not None and traffic.stopped == ""


def test_a_shadow_that_finds_too_little_is_stopped(tmp_path: Path) -> None:
    service = Service(tmp_path, Fixed(["x", "y", "a"]), shadow=1.0)
    with service.client:
        until_followed(service)
        for number in range(40):
            service.ask(f"user {number}")
        assert "it found 25% of the live release's documents; at least 50%" in service.stopped()


def test_a_shadow_neither_delays_nor_is_asked_while_others_wait() -> None:
    async def case() -> None:
        busy, dropped = True, 0

        def drop() -> None:
            nonlocal dropped
            dropped += 1

        metrics = Metrics({})
        traffic = Traffic(live="old", releases={"old": release("old")})
        verdicts = Verdicts(lambda: traffic, lambda release, reason: None, metrics)
        shadowing = Shadowing(verdicts, lambda: busy, drop)
        request = SearchRequest(query="q")
        answer = SearchResponse(query="q", mode="hybrid", pipeline="default", reranked=False, results=[])
        started = time.perf_counter()
        for _ in range(100):
            shadowing.ask("new", Fixed(["a"]), request, answer)
        assert time.perf_counter() - started < 0.5 and dropped == 36  # 64 wait
        await asyncio.sleep(0.05)
        assert "release_seconds_count" not in metrics.page().decode()
        busy = False
        end = time.monotonic() + 5
        while 'release="new"} 64.0' not in metrics.page().decode() and time.monotonic() < end:
            await asyncio.sleep(0.01)
        assert 'catena_shadow_overlap_count{release="new"} 64.0' in metrics.page().decode()

    asyncio.run(case())


def test_rankings_are_compared() -> None:
    assert overlap("abcd", "dcxy") == 0.5 and overlap("", "ab") == 1.0
    assert kendall_tau("abcd", "abcd") == 1.0 and kendall_tau("abcd", "dcba") == -1.0
    assert kendall_tau("abc", "bac") == pytest.approx(1 / 3) and kendall_tau("ab", "xa") == 1.0
