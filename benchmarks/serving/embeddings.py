"""/v1/embeddings beside infinity's server, which serves the same model by its fastest engine on a CPU."""

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

from benchmarks.embed.infinity import INFINITY, infinity_environment
from benchmarks.embed.infinity_model import lay_out
from benchmarks.embed.texts import sample
from benchmarks.rows import Row, median_seconds
from benchmarks.serving.load import Asked, closed_loop, free_port, request
from benchmarks.serving.search import RUN, described, leave_ray
from benchmarks.serving.servers import running
from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from ray_apps.config import load_run
from ray_apps.plan import Plan

SHORT, LONG, IN_LIST = 120, 900, 64  # characters, characters of about 190 tokens, texts
NOT_HERE = "sie-server 0.10.1 asks for Python 3.12 and torch 2.9, and was not measured"
SECONDS = 6.0
REPEATS = 3


def measure() -> list[Row]:
    """Short texts one by one at 1 and 32 connections, lists of 64 long ones at 4, and what HTTP costs.

    Raises:
        RuntimeError: if a server does not start.
        subprocess.CalledProcessError: if infinity cannot be installed.
    """
    Plan(load_run(RUN)).bring("index")
    leave_ray()
    _, texts = sample(512)
    short = [text[:SHORT] for text in texts]
    long = [text[:LONG] for text in texts]
    lists = [long[start : start + IN_LIST] for start in range(0, len(long), IN_LIST)]
    python = infinity_environment()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        model = lay_out(TransformerConfig().model, Path(folder) / "model")
        ours, theirs = free_port(), free_port()
        servers.enter_context(
            running(
                [sys.executable, "-m", "ray_apps.serve", str(RUN), "--serve.port", str(ours)],
                ours,
                _ask(short[0], "ours"),
            )
        )
        servers.enter_context(
            running(
                [str(python.with_name("infinity_emb")), *_options(model, theirs)],
                theirs,
                _ask(short[0], "theirs"),
                {"INFINITY_ANONYMOUS_USAGE_STATS": "0", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"},
            )
        )
        rows = []
        for id_, inputs, connections, least, reach in (
            ("embeddings_32", short, 32, 1.5, 2.5),
            ("embeddings_1", short, 1, 1.0, 2.0),
            ("lists_4", lists, 4, 2.0, 3.0),
        ):
            turns = [
                [
                    closed_loop(port, connections, [_ask(one, who) for one in inputs], SECONDS)
                    for port, who in ((ours, "ours"), (theirs, "theirs"))
                ]
                for _ in range(REPEATS)
            ]
            rows += _rows(
                id_, connections, "lists of 64 long texts" if inputs is lists else "short texts", turns, least, reach
            )
        alone = [closed_loop(ours, 1, [_ask(one, "ours") for one in short], SECONDS).ms(50) for _ in range(REPEATS)]
    return [*rows, _overhead(statistics.median(alone), short)]


def _ask(texts: str | Sequence[str], who: str) -> bytes:
    body = {"input": texts} if who == "ours" else {"input": texts, "model": "model"}
    return request("/v1/embeddings" if who == "ours" else "/embeddings", json.dumps(body).encode())


def _options(model: Path, port: int) -> list[str]:
    return [
        *("v2", "--model-id", str(model), "--served-model-name", "model", "--engine", "optimum", "--device", "cpu"),
        *("--pooling-method", "mean", "--no-model-warmup", "--host", "127.0.0.1", "--port", str(port)),
    ]


def _rows(id_: str, connections: int, what: str, turns: list[list[Asked]], least: float, reach: float) -> list[Row]:
    ours, theirs = zip(*turns, strict=True)
    where = f"/v1/embeddings, {what}, {connections} connection{'s' if connections > 1 else ''}"
    peer = f"ours {described(ours)}; infinity_emb {INFINITY} v2, optimum: {described(theirs)}; {NOT_HERE}"
    rows = [
        Row(
            id=f"serve.{id_}_ratio",
            what=f"{where}: requests/s of ours over infinity's",
            value=round(statistics.median(own.rate / their.rate for own, their in turns), 3),
            unit="times",
            at_least=least,
            reach=reach,
            peer=peer,
        )
    ]
    for percentile in (50, 99):
        ratio = statistics.median(own.ms(percentile) / their.ms(percentile) for own, their in turns)
        rows.append(
            Row(
                id=f"serve.{id_}_p{percentile}_ratio",
                what=f"{where}: p{percentile} of ours over infinity's",
                value=round(ratio, 3),
                unit="times",
                at_most=1.0,
                reach=0.5 if id_ == "embeddings_1" else None,
            )
        )
    return rows


def _overhead(p50_ms: float, texts: Sequence[str]) -> Row:
    """Questions and answers over HTTP beside the encoder in this process, once the servers are gone."""
    encoder = load_encoder(TransformerConfig())
    turns = cycle(texts)
    bare = statistics.median(median_seconds(lambda: encoder.encode([next(turns)]), 20, 5) for _ in range(REPEATS))
    return Row(
        id="serve.overhead_ms",
        what="/v1/embeddings of one short text, p50 beyond that of the encoder's bare call",
        value=round(p50_ms - 1000 * bare, 2),
        unit="ms",
        at_most=6.0,
        reach=3.0,
        peer=f"p50 {p50_ms:.2f} ms over HTTP, {1000 * bare:.2f} ms bare",
    )
