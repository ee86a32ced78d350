"""A real HTTP server of embeddings in the test's own process, which misbehaves on request."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from data.encoders.config import EncoderConfig, HashedConfig, read_encoder
from data.encoders.hashed import HashedEncoder

DIM = 32
Answer = Callable[["Handler", dict[str, Any]], None]


class Server(ThreadingHTTPServer):
    """Answers as OpenAI's does, unless its ``script`` says otherwise for the next requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Answer] = []
        self.always: Answer = answer_well
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.stopped = threading.Event()  # lets answers that hang go at the end
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """The URL before /embeddings."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def config(self, **endpoint: object) -> EncoderConfig:
        """An encoder that asks this server, and is not patient."""
        settings = {"backoff_s": 0.001, "retries": 3, "request_timeout_s": 10, "base_url": self.url, "model": "words"}
        return read_encoder({"endpoint": {**settings, **endpoint}})


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            self.server.keys.append(self.headers["Authorization"])
            answer = self.server.script.pop(0) if self.server.script else self.server.always
        answer(self, body)

    def send(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests' output is not a log."""


def vectors_of(texts: list[str], dim: int = DIM) -> np.ndarray:
    """What the server's model makes of texts: hashed words, with a constant beside them so that none is zero."""
    words = HashedEncoder(HashedConfig(dim=max(dim, 16))).encode(texts)[:, :dim]
    words[:, 0] += 1.0
    return words


def body_of(vectors: np.ndarray, encoding: str = "float", order: list[int] | None = None) -> bytes:
    rows = []
    for index in order or range(len(vectors)):
        row = vectors[index].astype("<f4")
        embedding = base64.b64encode(row.tobytes()).decode() if encoding == "base64" else row.tolist()
        rows.append({"object": "embedding", "index": index, "embedding": embedding})
    return json.dumps({"object": "list", "data": rows, "usage": {"prompt_tokens": 7 * len(rows)}}).encode()


def answer_well(handler: Handler, body: dict[str, Any]) -> None:
    handler.send(body_of(vectors_of(body["input"], body.get("dimensions", DIM)), body["encoding_format"]))


def status(code: int, **headers: str) -> Answer:
    return lambda handler, body: handler.send(b'{"error": {"message": "so it is"}}', code, **headers)


def counting(usage: object) -> Answer:
    """Good answers with this as the number of tokens they took."""

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        content = json.loads(body_of(vectors_of(body["input"])))
        handler.send(json.dumps({**content, "usage": usage}).encode())

    return answer


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port, until the end of the block."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
