"""Ways to search by name, pages by cursor, and reasons, over the whole application."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from data.errors import InputError
from retrieval.boosted import BoostedRanker
from retrieval.config import IndexConfig
from retrieval.index import IndexMeta
from retrieval.steps import BUILT_IN, CallStep, ExpandStep, FindStep, RankStep, Step
from serving.admission import Admission
from serving.cursor import Cursor
from serving.embedding import EmbeddingLimits
from serving.lookup import write_lookup
from serving.ranking import EncoderRanker, RankingService
from serving.search import SearchService
from tests.unit.serving.test_encoder_down import Down
from tests.unit.serving.test_lookup import documents, links
from tests.unit.serving.whole_application import whole_application, write_whole_run
from tests.unit.training.boosted.test_driver import trained, write_corpus

QUERY = "word4 part1 word7 title"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with TestClient(whole_application(tmp_path_factory.mktemp("whole"))) as client:
        yield client


def search(client: TestClient, **request: object) -> dict[str, Any]:
    answer = client.post("/v1/search", json={"query": QUERY, **request})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(answer: dict[str, Any]) -> list[str]:
    return [one["document_id"] for one in answer["results"]]


def pages(client: TestClient, size: int, **request: object) -> list[list[str]]:
    """All pages of an answer."""
    found, cursor = [], "*"
    while cursor is not None:
        answer = search(client, cursor=cursor, top_k=size, **request)
        found.append(ids(answer))
        cursor = answer["next_cursor"]
        assert len(found) < 50
    return found


def test_a_pipeline_has_defaults_and_a_request_its_own(client: TestClient) -> None:
    assert search(client)["mode"] == "hybrid" and search(client)["pipeline"] == "default"
    exact = search(client, pipeline="exact")
    assert (exact["mode"], exact["pipeline"]) == ("bm25", "exact")
    assert ids(exact) == ids(search(client, mode="bm25")) == ids(search(client, pipeline="bm25"))
    assert len(search(client, pipeline="exact", top_k=5, mode="dense")["results"]) == 5


def test_the_ranker_puts_candidates_in_order_and_gives_its_scores(client: TestClient) -> None:
    found = search(client, top_k=6)
    ranked = search(client, pipeline="ranked", top_k=6, explain=True)
    assert ranked["reranked"] and not found["reranked"]
    assert sorted(ids(ranked)) == sorted(ids(found))
    texts = [f"{one['title']}\n{one['text']}" for one in found["results"]]
    known = client.post("/v1/rerank", json={"query": QUERY, "documents": texts}).json()["results"]
    assert ids(ranked) == [ids(found)[one["index"]] for one in known]
    for one, rank in zip(ranked["results"], known, strict=True):
        found_at, ranked_at = one["explanation"]["steps"]
        assert (found_at["step"], ranked_at["step"]) == ("hybrid", "cross-encoder")
        assert one["score"] == ranked_at["score"] == pytest.approx(rank["relevance_score"])
        assert found_at["rank"] == rank["index"] + 1


def test_boosted_trees_put_candidates_in_order_by_the_places_that_lists_gave_them(tmp_path: Path) -> None:
    told = trained(write_corpus(tmp_path / "corpus"), tmp_path / "trees")
    steps = {"trees": (FindStep(find="hybrid", depth=9), RankStep(rank="boosted", depth=9))}
    ranker = BoostedRanker.open(Path(told["model"]))
    with TestClient(whole_application(tmp_path / "whole", pipelines=steps, rankers={"boosted": ranker})) as client:
        answer = search(client, pipeline="trees", top_k=9, explain=True)
        assert answer["reranked"] and sorted(ids(answer)) == sorted(ids(search(client, top_k=9)))
        assert ids(answer) == ids(search(client, pipeline="trees", top_k=9)), "explained and not"
    scores = [one["explanation"]["steps"][-1]["score"] for one in answer["results"]]
    assert {one["explanation"]["steps"][-1]["step"] for one in answer["results"]} == {"boosted"}
    assert scores == sorted(scores, reverse=True) and len(set(scores)) > 1
    features = [one["explanation"]["features"] for one in answer["results"]]
    assert all(features) and all(abs(some[0]["effect"]) >= abs(some[-1]["effect"]) > 0 for some in features)


def test_documents_below_the_smallest_score_are_left_out(client: TestClient) -> None:
    everything = search(client, mode="dense")["results"]
    strict = search(client, pipeline="strict")["results"]
    assert 0 < len(strict) < len(everything)
    assert strict == [one for one in everything if one["score"] >= 0.1]


def test_models_lists_the_pipelines(client: TestClient) -> None:
    listed = {one["id"]: one for one in client.get("/v1/models").json()["pipelines"]}
    assert set(listed) == {"default", "bm25", "dense", "hybrid", "exact", "ranked", "strict"}
    find, rank = listed["ranked"]["steps"]
    assert listed["ranked"]["mode"] == "hybrid" and (find["find"], find["depth"]) == ("hybrid", 6)
    assert rank == {"rank": "cross-encoder", "depth": 6, "min_score": None}


def test_an_unknown_pipeline_is_named_with_the_nearest(client: TestClient) -> None:
    allowed = "allowed: bm25, default, dense, exact, hybrid, ranked, strict"
    for asked, message in (("exct", "did you mean 'exact'?"), ("zzz", allowed)):
        answer = client.post("/v1/search", json={"query": "a", "pipeline": asked})
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["param"]) == (404, "not_found", "pipeline")
        assert error["message"] == f"there is no pipeline {asked!r}; {message}"


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
@pytest.mark.parametrize("size", [1, 4, 9, 100])
def test_pages_have_every_document_of_one_large_answer_once_and_in_order(
    client: TestClient, mode: str, size: int
) -> None:
    whole = ids(search(client, mode=mode, top_k=100))
    found = pages(client, size, mode=mode)
    assert [one for page in found for one in page] == whole and len(set(whole)) == len(whole) == 9
    assert all(len(page) == size for page in found[:-1])


def test_pages_of_reranked_answers_and_pages_with_reasons(client: TestClient) -> None:
    whole = ids(search(client, pipeline="ranked", top_k=6))
    for explain in (False, True):
        found = pages(client, 4, pipeline="ranked", explain=explain)
        assert [one for page in found for one in page] == whole and len(found) == 2
    assert sum(map(len, pages(client, 2, pipeline="exact", filter={"kind": "k1"}))) == 2


def test_no_cursor_no_pages(client: TestClient) -> None:
    assert search(client, top_k=2)["next_cursor"] is None
    assert search(client, top_k=2, cursor="*")["next_cursor"] is not None


def test_a_cursor_of_another_question_or_one_that_was_changed_is_refused(client: TestClient) -> None:
    cursor = search(client, cursor="*", top_k=2)["next_cursor"]
    assert len(search(client, cursor=cursor, top_k=3)["results"]) == 3  # pages may be of other sizes
    offset, rest = cursor.split(".", 1)
    forged = [
        {"query": QUERY, "cursor": f"{int(offset) + 1}.{rest}"},
        {"query": QUERY, "cursor": cursor.replace("hybrid", "bm25")},
        {"query": QUERY, "cursor": cursor[:-1] + ("0" if cursor[-1] != "0" else "1")},
        {"query": QUERY, "cursor": "**"},
        {"query": QUERY, "cursor": ""},
        {"query": QUERY, "cursor": "9" * 90},
        {"query": QUERY + " ", "cursor": cursor},
        {"query": QUERY, "cursor": cursor, "mode": "dense"},
        {"query": QUERY, "cursor": cursor, "pipeline": "ranked"},
        {"query": QUERY, "cursor": cursor, "filter": {"kind": "k1"}},
        {"query": QUERY, "cursor": cursor, "bm25_if_encoder_down": True},
    ]
    for body in forged:
        answer = client.post("/v1/search", json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["code"]) == (400, "cursor", "cursor"), body
        assert "begin again with '*'" in error["message"]


def test_a_cursor_of_another_index_is_refused(tmp_path_factory: pytest.TempPathFactory, client: TestClient) -> None:
    cursor = search(client, cursor="*", top_k=2)["next_cursor"]
    with TestClient(whole_application(tmp_path_factory.mktemp("other"))) as other:
        assert other.post("/v1/search", json={"query": QUERY, "cursor": cursor, "top_k": 2}).status_code == 400


def test_reasons_add_up_and_have_times(client: TestClient) -> None:
    plain, told = search(client), search(client, explain=True)
    assert ids(plain) == ids(told)
    assert [one["score"] for one in told["results"]] == pytest.approx([one["score"] for one in plain["results"]])
    assert all(one["explanation"] is None for one in plain["results"]) and plain["timing_ms"] is None
    for one in told["results"]:
        why = one["explanation"]
        assert sum(place["contribution"] for place in why["lists"]) == pytest.approx(one["score"])
        assert [(step["step"], step["score"]) for step in why["steps"]] == [("hybrid", one["score"])]
    best = {one["document_id"]: one["explanation"] for one in told["results"]}
    words = [one["word"] for one in best["d/4"]["matched_words"]]
    assert words in (["word4", "title"], ["word4", "part1", "title"])
    assert all(one["weight"] > 0 for one in best["d/4"]["matched_words"])
    spent = told["timing_ms"]
    assert spent["total"] >= spent["encode"] + spent["search"] > 0 == spent["rank"]


def test_a_page_goes_on_as_it_began_when_the_encoder_comes_back() -> None:
    """The cursor of an answer by words brings further ones by words, and one by vectors does not fall to words."""
    told = repr(("index", "default"))
    words = Cursor(10, "bm25", False).sealed(told)
    assert Cursor.opened(words, told) == Cursor(10, "bm25", False)
    assert Cursor.opened(Cursor(3, "hybrid", True).sealed(told), told).reranked


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (BUILT_IN["late"], "rank: tokens, and the index holds no token vectors"),
        ((FindStep(find="bm25"), RankStep(rank="cross-encoder")), "rank: cross-encoder, and the run has none"),
    ],
)
def test_a_pipeline_that_cannot_be_answered_stops_the_service(steps: tuple[Step, ...], message: str) -> None:
    meta = IndexMeta(
        config=IndexConfig(), location="", points=1, dim=1, encoder="e", precision="fp32", mean_length=1, filter_keys=()
    )
    with pytest.raises(InputError, match=rf"pipelines\.own: {message}"):
        SearchService(meta, Down(), Down(), 1.0, Admission(5.0, 1000), pipelines={"own": steps})


def test_a_ranker_is_not_given_more_than_it_takes() -> None:
    meta = IndexMeta(
        config=IndexConfig(), location="", points=1, dim=1, encoder="e", precision="fp32", mean_length=1, filter_keys=()
    )
    ranking = RankingService(EncoderRanker("e", Down(), 512), EmbeddingLimits(500, 100), Admission(5.0, 1000))
    steps = (FindStep(find="bm25"), RankStep(rank="cross-encoder", depth=900))
    with pytest.raises(InputError, match=r"pipelines\.own: the ranker is given 900 documents .* serve\.max_texts, 500"):
        SearchService(meta, Down(), Down(), 1.0, Admission(5.0, 1000), pipelines={"own": steps}, ranking=ranking)


def test_a_users_own_step_orders_documents_and_its_failure_is_the_servers(tmp_path: Path) -> None:
    own = {
        name: (FindStep(find="hybrid"), CallStep(call=f"tests.unit.retrieval.test_pipelines:{name}"))
        for name in ("fewer", "fails")
    }
    with TestClient(whole_application(tmp_path, pipelines=own), raise_server_exceptions=False) as client:
        found = search(client, pipeline="fewer", explain=True)
        assert found["reranked"] and [one["score"] for one in found["results"]] == [
            one["explanation"]["steps"][-1]["score"] for one in found["results"]
        ]
        assert ids(found) == ids(search(client, top_k=20))[::-1]
        answer = client.post("/v1/search", json={"query": QUERY, "pipeline": "fails"})
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["code"]) == (500, "internal", "step_failed")
        assert "ZeroDivision" not in answer.text


def test_a_pipeline_follows_links_to_documents_that_the_question_does_not_find(tmp_path: Path) -> None:
    write_whole_run(tmp_path)
    known = links(tmp_path / "more_links", [("d/4", "d/9", 1.0), ("d/4", "nowhere", 1.0)])
    write_lookup(tmp_path, documents(tmp_path / "more", ["d/4", "d/9"]), known, None)
    steps: tuple[Step, ...] = (FindStep(find="bm25", depth=3), ExpandStep(expand="known", weight=1.0))
    with TestClient(whole_application(tmp_path, pipelines={"linked": steps})) as client:
        asked = {"query": "word4 title", "top_k": 3}
        assert "d/9" not in ids(search(client, pipeline="bm25", **asked))
        found = search(client, pipeline="linked", explain=True, **asked)
        assert ids(found)[:2] == ["d/4", "d/9"]
        first, second = (one["explanation"] for one in found["results"][:2])
        assert [place["step"] for place in first["steps"]] == ["bm25", "links"]
        assert second["steps"] == [{"step": "links", "rank": 2, "score": found["results"][1]["score"]}]
        assert second["lists"] == [] and [word["word"] for word in second["matched_words"]] == ["title"]
        assert ids(search(client, pipeline="linked", filter={"kind": "k1"}, **asked))[0] == "d/4"
        assert "d/9" not in ids(search(client, pipeline="linked", filter={"kind": "k1"}, **asked))
        assert ids(search(client, pipeline="linked", query="word4")) == ["d/4"], "d/9 has no word of the question"
        assert client.delete("/v1/documents/d/9").json()["deleted"] == 1
        assert "d/9" not in ids(search(client, pipeline="linked", **asked))
