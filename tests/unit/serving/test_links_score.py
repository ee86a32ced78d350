"""POST /v1/links:score: what a trained link model says, over HTTP."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from data.encoders import load_encoder
from data.encoders.protocol import Encoded
from data.errors import EncoderUnavailable
from data.graph.graph import load_graph
from discovery.predictor import LinkPredictor, links_of
from discovery.unseen import NewDocument
from serving.admission import Admission
from serving.artifacts import LinkArtifacts
from serving.errors import ApiError
from serving.links import LinkService
from serving.schemas.links import LinkScoreRequest
from tests.unit.serving.whole_application import ENCODER, link_model, whole_application
from training.typed.config import TypedConfig
from training.typed.model import save_model
from training.typed.task import model_for


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with TestClient(whole_application(tmp_path_factory.mktemp("whole")), raise_server_exceptions=False) as client:
        yield client


def artifacts() -> LinkArtifacts:
    return link_model()[1]


def predictor() -> LinkPredictor:
    paths = artifacts()
    return LinkPredictor(paths.graph, paths.train, paths.calibrator)


def ask(client: TestClient, **body: object) -> list[dict[str, Any]]:
    answer = client.post("/v1/links:score", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["calibrated"]
    found: list[dict[str, Any]] = answer.json()["links"]
    return found


def test_pairs_are_scored_as_discovery_scores_them(client: TestClient) -> None:
    opened = predictor()
    free = [n for n in range(1, 60) if opened.graph.known_graph.adjacency[0, n] == 0]
    pairs = [(opened.graph.ids[n], "d0_0") if n % 2 else ("d0_0", opened.graph.ids[n]) for n in free]
    for row, known in zip(ask(client, pairs=pairs), opened.pairs(pairs), strict=True):
        assert (row["source"], row["target"]) == (known["source"], known["target"])
        assert row["score"] == pytest.approx(known["score"], rel=1e-5)
        assert row["probability"] == pytest.approx(known["probability"], rel=1e-5)
        assert (row["relation"], row["reason"]) == ("near", known["reason"])
        assert row["direction"] == ("out" if known["outgoing"] else "in") and not row["known"]
        assert row["target_title"].startswith("No ")


def test_a_link_that_the_model_was_shown_has_no_score(client: TestClient) -> None:
    graph = predictor().graph
    shown, held = (next(zip(*graph.links(part), strict=True)) for part in ("train", "valid"))
    told, hidden = ask(client, pairs=[(graph.ids[a], graph.ids[b]) for a, b in (shown, held)])
    assert told["known"] and told["score"] is None and told["probability"] is None
    assert hidden["known"] and isinstance(hidden["score"], float)


@pytest.mark.parametrize("links", [[], ["d2_0", "d2_1"]], ids=["text", "text and links"])
def test_a_new_text_has_the_links_of_catena_link(client: TestClient, links: list[str]) -> None:
    paths, encoder = artifacts(), load_encoder(ENCODER)
    new = NewDocument("new document", "Chess", "a rook takes a pawn", tuple(links))
    (known,) = links_of([new], paths.graph, paths.train, encoder.encode, paths.calibrator, top=7)
    asked = {"title": new.title, "text": new.text, "links": links}
    found = ask(client, **asked, top_k=7)
    assert [row["target"] for row in found] == [row["target"] for row in known]
    np.testing.assert_allclose([row["score"] for row in found], [row["score"] for row in known], rtol=1e-5)
    np.testing.assert_allclose([row["probability"] for row in found], [row["probability"] for row in known], rtol=1e-5)
    assert [row["reason"] for row in found] == [row["reason"] for row in known]
    assert all(row["source"] is None and row["source_title"] == "Chess" and not row["known"] for row in found)
    assert len(ask(client, **asked)) == 10
    named = ask(client, **asked, targets=[known[3]["target"], "d2_0"])
    assert named[0]["score"] == pytest.approx(known[3]["score"], rel=1e-5)
    assert named[1]["known"] == (links != []) and (named[1]["score"] is None) == (links != [])


def test_links_alone_are_enough(client: TestClient) -> None:
    assert ask(client, links=["d1_0", "d1_1", "d1_1"], top_k=3)


@pytest.mark.parametrize(
    ("body", "status", "param", "message"),
    [
        ({}, 422, "text", "give `pairs`, or the `text` of a new document"),
        ({"text": " \n"}, 422, "text", "give `pairs`"),
        ({"pairs": []}, 422, "pairs", "at least 1 item"),
        ({"pairs": [["d0_0"]]}, 422, "pairs", "Field required"),
        ({"pairs": [["d0_0", "d0_1", "d0_2"]]}, 422, "pairs", "at most 2 items"),
        ({"pairs": [["d0_0", "d0_0"]]}, 422, "pairs", "pair 0 is a document with itself"),
        ({"pairs": [["d0_0", "x"]]}, 404, "pairs", "there is no document 'x'"),
        ({"pairs": [["d0_0", "d0_1"]] * 1001}, 422, "pairs", "at most 1000 items"),
        ({"pairs": [["d0_0", "d0_1"]], "text": "a"}, 422, "pairs", "by themselves"),
        ({"pairs": [["d0_0", 5]]}, 422, "pairs", "valid string"),
        ({"text": "a", "targets": ["x"]}, 404, "targets", "there is no document 'x'"),
        ({"text": "a", "targets": []}, 422, "targets", "at least 1 item"),
        ({"text": "a", "targets": ["d0_0"], "top_k": 5}, 422, "top_k", "give `targets`, or `top_k`"),
        ({"text": "a", "top_k": 101}, 422, "top_k", "less than or equal to 100"),
        ({"text": "a", "links": ["x" * 1000]}, 404, "links", "xxx…'"),
        ({"text": "a" * 10_001}, 422, "text", "10,001 characters; at most 10,000"),
    ],
    ids=str,
)
def test_what_cannot_be_scored_is_named(
    client: TestClient, body: object, status: int, param: str, message: str
) -> None:
    answer = client.post("/v1/links:score", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert message in error["message"]


class NoEncoder:
    """An encoder that is down."""

    async def embed(self, texts: list[str], kind: str) -> Encoded:
        raise EncoderUnavailable("the encoder is down", "Wait.")


def service(paths: LinkArtifacts | None, admission: Admission | None = None) -> LinkService:
    return LinkService(paths, NoEncoder(), lambda ids: {}, 1000, admission or Admission(5.0, 500), 60.0)


def refused(asked: LinkService, **body: object) -> ApiError:
    with pytest.raises(ApiError) as raised:
        asyncio.run(asked.score(LinkScoreRequest.model_validate(body)))
    return raised.value


def test_without_a_model_the_command_that_makes_one_is_named() -> None:
    error = refused(service(None), text="a")
    assert (error.type, error.code) == ("not_found", "no_link_model") and "`catena discover RUN.yaml`" in error.message


def test_an_encoder_that_is_down_stops_texts_and_not_pairs() -> None:
    assert refused(service(artifacts()), text="a").type == "unavailable"

    async def ask() -> int:
        request = LinkScoreRequest(pairs=[("d0_0", "d1_0")])
        return len((await service(artifacts()).score(request)).links)

    assert asyncio.run(ask()) == 1


def test_the_model_is_opened_when_it_is_first_asked_for_and_once(tmp_path: Path) -> None:
    gone = service(LinkArtifacts(graph=tmp_path / "graph", train=tmp_path / "train"))
    assert refused(gone).param == "text", "nothing is read for a request that asks for nothing"
    with pytest.raises(OSError, match=r"nodes\.parquet"):
        asyncio.run(gone.score(LinkScoreRequest(pairs=[("a", "b")])))

    async def ask() -> None:
        asked = service(artifacts())
        request = LinkScoreRequest(pairs=[("d0_0", "d1_0")])
        first = await asyncio.gather(*(asked.score(request) for _ in range(5)))
        opened = asked._predictor
        assert opened is not None and len({answer.model_dump_json() for answer in first}) == 1
        await asked.score(request)
        assert asked._predictor is opened

    asyncio.run(ask())


def test_more_than_can_be_done_in_time_is_refused() -> None:
    seconds = itertools.count()
    admission = Admission(5.0, 1, lambda: float(next(seconds)))
    for _ in range(10):  # so its rate is known: ten pairs a second at most
        with admission.admitted(10):
            pass
    with admission.admitted(100):
        assert refused(service(artifacts(), admission), pairs=[["d0_0", "d1_0"]]).type == "overloaded"


def test_a_model_of_typed_links_scores_pairs_alone(tmp_path: Path) -> None:
    graph = artifacts().graph
    config = TypedConfig.model_validate({"width": 8, "text_width": 4})
    save_model(model_for(load_graph(graph), config, seed=1), tmp_path / "model.safetensors")
    paths = LinkArtifacts(graph=graph, train=tmp_path)
    error = refused(service(paths), text="a")
    assert (error.type, error.param) == ("bad_request", "text") and "typed links" in error.message
    answer = asyncio.run(service(paths).score(LinkScoreRequest(pairs=[("d0_0", "d1_0"), ("d1_0", "d0_0")])))
    there, back = answer.links
    assert not answer.calibrated and there.score is not None and there.score == back.score
    assert {there.direction, back.direction} == {"in", "out"} and there.relation == back.relation == "near"
