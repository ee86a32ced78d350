"""An encoder that goes away: another service of Catena's, asked over HTTP, that is killed."""

import json
import statistics
import sys
import tempfile
from contextlib import ExitStack

from benchmarks.rows import Row
from benchmarks.serving.load import Asked, closed_loop, free_port, request
from benchmarks.serving.search import RUN, leave_ray, questions
from benchmarks.serving.servers import running
from ray_apps.config import load_run
from ray_apps.plan import Plan
from serving.opening import model_name

SECONDS, REPEATS, CONNECTIONS = 5.0, 3, 8


def measure() -> list[Row]:
    """Searches by words alone while the encoder is down, and looked-up documents before and after."""
    plan = Plan(load_run(RUN))
    plan.bring("index")
    model = model_name(plan.run.encoder)
    leave_ray()
    down = [_with(asked, bm25_if_encoder_down=True) for asked in questions()[:4000]]
    document = b"GET /v1/documents/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with tempfile.TemporaryDirectory() as workspace:
        encoder, port = free_port(), free_port()
        endpoint = ("--encoder.endpoint.base-url", f"http://127.0.0.1:{encoder}/v1", "--encoder.endpoint.model", model)
        flags = ("--workspace", workspace, *endpoint, "--serve.port", str(port))
        with ExitStack() as searches:
            with running(_serve("--serve.port", str(encoder)), encoder, down[0]):
                searches.enter_context(running(_serve(*flags), port, down[0]))
                looked_up, up = _turns(port, [document]), _turns(port, down)
            closed_loop(port, CONNECTIONS, down[-200:], 1.0)  # the first failures open the breaker
            without, after = _turns(port, down), _turns(port, [document])
    before_ms, after_ms = (statistics.median(turn.ms(99) for turn in turns) for turns in (looked_up, after))
    return [
        Row(
            id="serve.down_p99",
            what=f"hybrid /v1/search answered by words alone while the encoder's endpoint is down, p99, {CONNECTIONS} "
            "connections",
            value=round(statistics.median(turn.ms(99) for turn in without), 1),
            unit="ms",
            at_most=250.0,
            peer=f"with the encoder p99 {statistics.median(turn.ms(99) for turn in up):.1f} ms; /v1/documents/{{id}} "
            f"p99 {before_ms:.1f} ms before, {after_ms:.1f} ms then",
        )
    ]


def _serve(*flags: str) -> list[str]:
    return [sys.executable, "-m", "ray_apps.serve", str(RUN), *flags]


def _turns(port: int, asked: list[bytes]) -> list[Asked]:
    return [closed_loop(port, CONNECTIONS, asked, SECONDS) for _ in range(REPEATS)]


def _with(asked: bytes, **fields: bool) -> bytes:
    """A search with more fields."""
    body = json.loads(asked.split(b"\r\n\r\n", 1)[1])
    return request("/v1/search", json.dumps({**body, **fields}).encode())
