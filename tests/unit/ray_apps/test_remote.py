"""``catena search|embed|rerank --url``: a real application behind a port of this machine."""

import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request

from ray_apps.cli import main
from serving.admission import Admission
from serving.api import embeddings, rerank
from serving.api.errors import answer_errors
from serving.embedding import EmbeddingLimits, EmbeddingService
from serving.ranking import EncoderRanker, RankingService
from serving.schemas import Explanation, ListPlace, SearchRequest, SearchResponse, SearchResult, StepPlace, Timing
from tests.unit.serving.test_embeddings import embedder_of_minilm

FOUND = SearchResult(
    document_id="d1", title="Title", text="still waters", score=0.5, passage_id="p", start=0, end=12, metadata={}
)

WHY = Explanation(
    lists=[ListPlace(list="bm25", rank=3, score=7.5, weight=1, contribution=0.0159)],
    matched_words=["waters"],
    steps=[
        StepPlace(step="hybrid", rank=2, score=0.5),
        StepPlace(step="cross-encoder", rank=1, score=0.9),
    ],
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    api, embedder = FastAPI(), embedder_of_minilm()
    answer_errors(api)
    limits, admission = EmbeddingLimits(64, 5000), Admission(5.0, 100_000)
    api.include_router(embeddings.router(EmbeddingService("minilm", 384, embedder, limits, admission)))
    api.include_router(rerank.router(RankingService(EncoderRanker("minilm", embedder, 256), limits, admission)))

    @api.post("/v1/search")
    async def search(asked: SearchRequest, request: Request) -> SearchResponse:
        said = {"top_k": asked.top_k, "filter": asked.filter, "key": request.headers.get("authorization")}
        found = FOUND.model_copy(update={"metadata": said, "explanation": WHY if asked.explain else None})
        timing = Timing(encode=1, search=2, rank=0, total=3) if asked.explain else None
        how = {"mode": asked.mode or "hybrid", "pipeline": asked.pipeline, "timing_ms": timing}
        return SearchResponse.model_validate({"query": asked.query, "results": [found], **how})

    server = uvicorn.Server(uvicorn.Config(api, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def result(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([*words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_search_by_a_service(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATENA_KEY", "catena_1_2")
    words = ["search", "--url", url, "waters", "--mode", "bm25", "--top-k", "3", "--filter", "year>=1990"]
    found = result(capsys, *words)
    assert (found["query"], found["mode"]) == ("waters", "bm25")
    said = {"top_k": 3, "filter": {"year": {"gte": "1990"}}, "key": "Bearer catena_1_2"}
    assert found["hits"] == [{**FOUND.model_dump(exclude={"explanation"}), "metadata": said}]
    assert main(["search", f"--url={url}", "waters"]) == 0
    assert "1. Title  [d1]  0.5000" in capsys.readouterr().out
    monkeypatch.delenv("CATENA_KEY")
    told = result(capsys, "search", "--url", url, "waters", "--pipeline", "exact", "--explain")
    assert (told["pipeline"], told["mode"], told["timing_ms"]["total"]) == ("exact", "hybrid", 3)
    assert told["hits"][0]["explanation"] == WHY.model_dump() and told["hits"][0]["metadata"]["top_k"] is None
    assert main(["search", f"--url={url}", "waters", "--explain"]) == 0
    why = "gives 0.0159; hybrid rank 2 (0.5000); cross-encoder rank 1 (0.9000); words: waters"
    assert f"bm25 rank 3 (7.5000) {why}" in capsys.readouterr().out


def test_vectors_by_a_service(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = result(capsys, "embed", "--url", url, "one", "two", "--input-type", "query")
    assert found["dim"] == 384 and len(found["vectors"]) == 2
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\ntwo\nthree\n"))
    assert main(["embed", "--url", url]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [len(row) for row in rows] == [384] * 3


def test_reranking_by_a_service(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rerank", "--url", url, "invert a matrix", "Fourier transform", "inverse of a matrix", "--top-n", "1"]
    (best,) = result(capsys, *words)["ranked"]
    assert (best["index"], best["text"], best["truncated"]) == (1, "inverse of a matrix", False)
    assert main(words) == 0 and "inverse of a matrix" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rerank", "--url", "{url}", "question", " "], "text 0 is blank"),
        (["rerank", "question", "text"], "--url"),
        (["search", "--url", "{url}", "q", "--index.k1", "2"], "reads no run file"),
        (["search", "--url", "{url}", "q", "--filter", "a!=1"], "--filter"),
    ],
)
def test_a_mistake_is_named(words: list[str], said: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word.format(url=url) for word in words]) == 2
    assert said in capsys.readouterr().err


def test_help_of_both_forms(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "--help"]) == 0
    assert "RUN.yaml" in capsys.readouterr().out
    assert main(["search", "--url", "x", "--help"]) == 0
    assert "CATENA_KEY" in capsys.readouterr().out
