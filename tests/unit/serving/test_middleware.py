"""What every request passes: ids, timing, limits and the last resort for errors."""

import asyncio
import logging
import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.middleware import Middleware

import serving.api.http  # noqa: F401 - `any` in paths
from serving.api.deadline import Deadline
from serving.api.errors import answer_errors
from serving.api.middleware import BodyLimit, RequestId, Timed, Unforeseen
from serving.context import new_request_id, phase, request_id

MOST = 2000


@pytest.fixture
def client() -> TestClient:
    api = FastAPI(
        middleware=[
            Middleware(RequestId, told=False),
            Middleware(Timed),
            Middleware(Unforeseen),
            Middleware(Deadline),
            Middleware(BodyLimit, most_bytes=MOST),
        ]
    )
    answer_errors(api)

    @api.get("/id")
    async def id_() -> str:
        with phase("think"):
            return request_id.get()

    @api.get("/slow/{seconds}")
    async def slow(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "done"

    @api.get("/gave-up")
    async def gave_up() -> None:
        raise TimeoutError("of its own")

    @api.get("/broken")
    async def broken() -> None:
        raise KeyError("secret")

    @api.get("/break{rest:any}")
    async def broken_too(rest: str) -> None:
        raise KeyError(rest)

    @api.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    return TestClient(api, raise_server_exceptions=False)


@pytest.mark.parametrize("given", ["abc", "4bf92f35-77b3:4da6.a3/ce=+_", "x" * 128])
def test_a_request_keeps_the_id_that_it_came_with(client: TestClient, given: str) -> None:
    answer = client.get("/id", headers={"x-request-id": given})
    assert answer.json() == answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "x" * 129, "two words", "tab\there", "caf\u00e9"])
def test_a_request_without_a_usable_id_gets_a_new_one(client: TestClient, given: str | None) -> None:
    headers = {} if given is None else {"x-request-id": given.encode("latin-1")}
    made = {client.get("/id", headers=headers).headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2 and all(re.fullmatch("[0-9a-f]{32}", one) for one in made)


@pytest.mark.parametrize(
    ("given", "status"), [(None, 200), ("a-1", 200), ("", 400), ("two words", 400), ("x" * 129, 400)]
)
def test_an_id_that_is_put_on_answers_elsewhere_is_taken_as_it_is_or_refused(given: str | None, status: int) -> None:
    api = FastAPI(middleware=[Middleware(RequestId, told=True)])
    api.add_api_route("/id", lambda: request_id.get())
    answer = TestClient(api).get("/id", headers={} if given is None else {"x-request-id": given})
    assert answer.status_code == status and "x-request-id" not in answer.headers
    assert status == 400 or answer.json() == (given or answer.json())


def test_no_path_forges_a_line_of_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "catena"):
        client.get("/break%0AERROR forged")
    assert all("\n" not in record.getMessage() for record in caplog.records) and len(caplog.records) == 1


def test_an_answer_says_where_its_time_went(client: TestClient) -> None:
    timing = client.get("/id").headers["server-timing"]
    phases = {name: float(spent) for name, spent in re.findall(r"(\w+);dur=([\d.]+)", timing)}
    assert list(phases) == ["think", "total"] and phases["think"] <= phases["total"]


def test_what_nobody_foresaw_is_told_without_its_reason_which_is_in_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "catena"):
        answer = client.get("/broken", headers={"x-request-id": "seven"})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["request_id"]) == (500, "internal", "seven")
    assert "secret" not in answer.text and answer.headers["x-request-id"] == "seven"
    (record,) = caplog.records
    assert record.getMessage() == "'GET' '/broken' failed (seven)" and record.exc_info is not None


def test_a_body_is_taken_up_to_the_limit_and_refused_beyond_it(client: TestClient) -> None:
    assert client.post("/size", content=b"x" * MOST).json() == MOST
    answer = client.post("/size", content=b"x" * (MOST + 1))
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "too_large")
    assert "larger than 2,000 bytes" in answer.json()["error"]["message"]


def test_a_body_of_undeclared_length_is_refused_at_the_limit(client: TestClient) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b"x" * 100

    answer = client.post("/size", content=chunks())
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "too_large")


def test_answers_carry_headers_that_keep_browsers_from_guessing(client: TestClient) -> None:
    for path in ("/id", "/broken", "/nowhere"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


def test_a_request_is_given_up_at_its_deadline(client: TestClient) -> None:
    assert client.get("/slow/0", headers={"x-request-timeout-ms": "60000"}).json() == "done"
    answer = client.get("/slow/30", headers={"x-request-timeout-ms": "50", "x-request-id": "late"})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["request_id"]) == (504, "timeout", "late")
    assert error["message"] == "no answer within the 50 ms of x-request-timeout-ms"


def test_a_timeout_that_is_not_the_deadline_is_another_error(client: TestClient) -> None:
    assert client.get("/gave-up", headers={"x-request-timeout-ms": "60000"}).status_code == 500


@pytest.mark.parametrize(
    "given", ["0", "-1", "1.5", "soon", "600001", "9" * 5000, "000000001" + "9" * 400, "0000000019999999999", "\u0661"]
)
def test_a_deadline_that_is_none_is_refused(client: TestClient, given: str) -> None:
    answer = client.get("/id", headers={"x-request-timeout-ms": given.encode()})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-request-timeout-ms")


def test_no_id_is_given_twice() -> None:
    made = [new_request_id(None) for _ in range(1000)]
    assert len({*made}) == 1000 and all(re.fullmatch("[0-9a-f]{32}", one) for one in made)
