"""An endpoint is believed only when its answer is complete and correct; temporary failures are retried."""

import json
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from data.encoders import load_encoder
from data.encoders.config import read_encoder
from data.encoders.endpoint.retrying import RequestFailed, Retryable, retry, seconds_until
from data.errors import EncoderUnavailable, InputError
from tests.endpoint_server import DIM, Answer, Handler, Server, answer_well, body_of, status, vectors_of

TEXTS = ["the moon moves the sea", "an inverse matrix", "still waters", "the harbour master", "a sparse matrix"]


def rows(change: Callable[[dict[str, Any]], object]) -> Answer:
    """A well-formed answer after ``change`` of its JSON."""

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        content = json.loads(body_of(vectors_of(body["input"])))
        change(content)
        handler.send(json.dumps(content).encode())

    return answer


def half(handler: Handler, body: dict[str, Any]) -> None:
    """Half a body, then the connection is closed."""
    content = body_of(vectors_of(body["input"]))
    handler.send(content[: len(content) // 2], Content_Length=str(len(content)))
    handler.close_connection = True


def half_without_length(handler: Handler, body: dict[str, Any]) -> None:
    """Half a body that says it is whole."""
    content = body_of(vectors_of(body["input"]))
    handler.send(content[: len(content) // 2])


def hang(handler: Handler, body: dict[str, Any]) -> None:
    handler.server.stopped.wait(20)
    handler.close_connection = True


def drip(handler: Handler, body: dict[str, Any]) -> None:
    """A byte now and then: no read ever times out."""
    handler.send(b"", Content_Length="1000")
    while not handler.server.stopped.wait(0.05):
        try:
            handler.wfile.write(b" ")
        except OSError:
            return


def wrong_dimensions(handler: Handler, body: dict[str, Any]) -> None:
    handler.send(body_of(vectors_of(body["input"], DIM + 1)))


NAN = rows(lambda content: content["data"][0]["embedding"].__setitem__(3, float("nan")))
ZERO = rows(lambda content: content["data"][0].update(embedding=[0.0] * DIM))
FEWER = rows(lambda content: content["data"].pop())
TWICE = rows(lambda content: content["data"][0].update(index=len(content["data"]) - 1))
NO_DATA = rows(lambda content: content.pop("data"))
NOT_NUMBERS = rows(lambda content: content["data"][0].update(embedding=["a"]))


def test_vectors_are_the_servers_at_unit_length_in_order(endpoint: Server) -> None:
    encoder = load_encoder(endpoint.config(batch_texts=2))
    encoded = encoder.encode_counted(TEXTS)
    theirs = vectors_of(TEXTS)
    np.testing.assert_allclose(encoded.vectors, theirs / np.linalg.norm(theirs, axis=1, keepdims=True), atol=1e-6)
    assert encoder.dim == DIM and encoded.vectors.dtype == np.float32
    assert encoded.tokens.sum() == 7 * len(TEXTS) and encoded.tokens.dtype == np.int32
    assert sorted(len(body["input"]) for body in endpoint.asked[1:]) == [1, 2, 2]
    assert encoder.encode([]).shape == (0, DIM)


def test_base64_gives_the_same_vectors(endpoint: Server) -> None:
    numbers, text = (load_encoder(endpoint.config(encoding_format=form)) for form in ("float", "base64"))
    np.testing.assert_array_equal(numbers.encode(TEXTS), text.encode(TEXTS))
    assert numbers.fingerprint == text.fingerprint
    assert {body["encoding_format"] for body in endpoint.asked} == {"float", "base64"}


def test_answers_out_of_order_are_put_in_order(endpoint: Server) -> None:
    encoder = load_encoder(endpoint.config())
    well = encoder.encode(TEXTS)
    endpoint.always = lambda handler, body: handler.send(
        body_of(vectors_of(body["input"]), order=list(reversed(range(len(body["input"])))))
    )
    np.testing.assert_array_equal(encoder.encode(TEXTS), well)


@pytest.mark.parametrize(
    "fault",
    [status(429), status(500), status(503), half, half_without_length, NAN, ZERO, FEWER, TWICE, NO_DATA, NOT_NUMBERS],
    ids="429 500 503 half half-without-length nan zero fewer twice no-data not-numbers".split(),
)
def test_a_fault_that_passes_is_tried_again(endpoint: Server, fault: Answer) -> None:
    encoder = load_encoder(endpoint.config())
    well = encoder.encode(TEXTS)
    endpoint.script = [fault, fault]
    asked = len(endpoint.asked)
    np.testing.assert_array_equal(encoder.encode(TEXTS), well)
    assert len(endpoint.asked) == asked + 3


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (status(429), r"it answers 429: .*so it is.* \(tried 4 times\)"),
        (status(500), r"it answers 500"),
        (half, "RemoteProtocolError: peer closed connection"),
        (half_without_length, "its answer is no list of embeddings: JSONDecodeError"),
        (NAN, "holds vectors that are not finite"),
        (FEWER, "it answers 5 texts with 4 vectors"),
        (TWICE, "lacks texts or has some twice"),
    ],
    ids="429 500 half half-without-length nan fewer twice".split(),
)
def test_a_fault_that_stays_makes_the_encoder_unavailable_and_names_the_batch(
    endpoint: Server, fault: Answer, said: str
) -> None:
    encoder = load_encoder(endpoint.config())
    endpoint.always = fault
    with pytest.raises(EncoderUnavailable, match=said) as raised:
        encoder.encode(TEXTS)
    assert "[batch of 5 texts that begins with 'the moon moves the sea']" in raised.value.problem


@pytest.mark.parametrize(("fault", "least"), [(hang, 1), (drip, 1)], ids=["hangs", "drips"])
def test_a_server_that_never_finishes_is_left(endpoint: Server, fault: Answer, least: int) -> None:
    encoder = load_encoder(endpoint.config(request_timeout_s=0.2, retries=1))
    endpoint.always = fault
    began = time.monotonic()
    with pytest.raises(EncoderUnavailable, match=r"no (whole )?answer within 0\.2 s \(tried 2 times\)"):
        encoder.encode(TEXTS)
    assert time.monotonic() - began < 5 and len(endpoint.asked) > least


@pytest.mark.parametrize(
    ("fault", "said", "remedy"),
    [
        (status(401), "answers 401: .*so it is", "Put a key that is valid there into CATENA_ENDPOINT_API_KEY"),
        (status(404), "answers 404", "Check encoder.endpoint.base_url"),
        (status(400), "answers 400", "batch_texts and max_chars"),
        (status(307, Location="http://elsewhere/v1"), "answers 307", "http://elsewhere/v1"),
        (wrong_dimensions, f"vectors of {DIM + 1} dimensions instead of {DIM}", "encoder.endpoint.dimensions"),
    ],
    ids="401 404 400 307 dimensions".split(),
)
def test_what_the_user_has_to_mend_is_told_at_once(endpoint: Server, fault: Answer, said: str, remedy: str) -> None:
    encoder = load_encoder(endpoint.config())
    endpoint.always = fault
    asked = len(endpoint.asked)
    with pytest.raises(InputError, match=said) as raised:
        encoder.encode(TEXTS)
    assert not isinstance(raised.value, EncoderUnavailable) and remedy in raised.value.remedy
    assert len(endpoint.asked) == asked + 1


def test_dimensions_are_asked_for_and_part_of_the_fingerprint(endpoint: Server) -> None:
    own, short = load_encoder(endpoint.config()), load_encoder(endpoint.config(dimensions=16))
    assert endpoint.asked[-1]["dimensions"] == 16 and "dimensions" not in endpoint.asked[0]
    assert short.dim == 16 and short.encode(TEXTS).shape == (5, 16)
    variants = [own, short, load_encoder(endpoint.config(revision="2")), load_encoder(endpoint.config(model="other"))]
    assert len({encoder.fingerprint for encoder in variants}) == 4


def test_the_key_comes_from_the_environment_and_is_never_told(
    endpoint: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_encoder(endpoint.config())
    monkeypatch.setenv("CATENA_ENDPOINT_API_KEY", "sk-hidden")
    config = endpoint.config()
    load_encoder(config)
    monkeypatch.setenv("OTHER_KEY", "sk-other")
    load_encoder(endpoint.config(api_key_variable="OTHER_KEY"))
    assert endpoint.keys == [None, "Bearer sk-hidden", "Bearer sk-other"]
    endpoint.always = status(401)
    with pytest.raises(InputError) as raised:
        load_encoder(config)
    assert "sk-hidden" not in f"{raised.value}{config!r}{config.identity()}"


@pytest.mark.parametrize("text", ["", " \n", "\ud800", "שלום عالم 火 mixed", "a" * 10_000_000])
def test_odd_texts_are_sent_as_servers_take_them(endpoint: Server, text: str) -> None:
    encoder = load_encoder(endpoint.config(max_chars=1000))
    assert np.isfinite(encoder.encode([text, "beside it"])).all()
    sent = endpoint.asked[-1]["input"]
    assert 1 <= len(sent[0]) <= 1000 and sent[1] == "beside it"
    sent[0].encode()  # no surrogate is left


def test_what_is_not_sent_of_a_text_is_flagged(endpoint: Server) -> None:
    encoder = load_encoder(endpoint.config(max_chars=100, batch_texts=2))
    encoded = encoder.encode_counted(["a" * 300, "b" * 100, "c" * 101, ""])
    assert encoded.tokens.tolist() == [7, 7, 14, 0]  # the server counts 7 a text
    assert encoded.dropped.tolist() == [14, 0, 1, 0] and encoded.dropped.dtype == np.int32


def test_no_server_at_all_is_told_with_its_address() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = read_encoder(
        {"endpoint": {"base_url": f"http://127.0.0.1:{port}/v1", "model": "m", "retries": 1, "backoff_s": 0.001}}
    )
    with pytest.raises(
        EncoderUnavailable, match=rf"the encoder m at http://127.0.0.1:{port}/v1 .*ConnectError"
    ) as raised:
        load_encoder(config)
    assert raised.value.problem.endswith("[while asking for its dimension]")


@pytest.mark.parametrize("url", ["ftp://host/v1", "host/v1", "https://me:secret@host/v1", "https://host/v1?key=secret"])
def test_urls_that_are_none_or_hold_a_secret_are_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="URL"):
        read_encoder({"endpoint": {"base_url": url, "model": "m"}})


def test_waits_grow_have_jitter_and_respect_retry_after() -> None:
    waits: list[float] = []
    asked: list[float | None] = [None, None, None, 7.0]

    def ask() -> str:
        if not asked:
            return "done"
        raise Retryable("busy", asked.pop(0))

    assert retry(ask, retries=4, backoff_s=1, longest_wait_s=10, sleep=waits.append) == "done"
    assert all(0 <= wait <= 2**n for n, wait in enumerate(waits[:3])) and 7 <= waits[3] <= 8
    with pytest.raises(RequestFailed, match=r"busy; it asks to wait 60 s"):
        asked[:] = [60.0]
        retry(ask, retries=4, backoff_s=1, longest_wait_s=10, sleep=waits.append)
    drawn: list[float] = []
    for _ in range(200):
        asked[:] = [None]
        retry(ask, retries=1, backoff_s=1, longest_wait_s=10, sleep=drawn.append)
    assert np.std(drawn) > 0.2 and min(drawn) < 0.2 and max(drawn) > 0.8


def test_retry_after_is_read_as_seconds_or_a_date() -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert seconds_until("3") == 3.0
    assert 55 < (seconds_until(in_a_minute) or 0) <= 60
    assert seconds_until("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert seconds_until(None) is None and seconds_until("soon") is None


def test_a_server_that_asks_for_time_gets_it(endpoint: Server) -> None:
    encoder = load_encoder(endpoint.config())
    endpoint.script = [status(429, Retry_After="1")]
    began = time.monotonic()
    encoder.encode(TEXTS)
    assert time.monotonic() - began >= 1.0
    endpoint.script = [status(503, Retry_After="3600")]
    with pytest.raises(EncoderUnavailable, match="asks to wait 3600 s"):
        encoder.encode(TEXTS)
    assert endpoint.always is answer_well
