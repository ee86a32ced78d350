"""The whole OpenAPI document under Schemathesis: what it allows is answered as it says, what it forbids is refused."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.environments import environment
from benchmarks.rows import Row
from benchmarks.serving.load import free_port, request
from benchmarks.serving.search import leave_ray
from benchmarks.serving.servers import running
from ray_apps.config import load_run
from ray_apps.plan import Plan
from serving.api.__main__ import described

RUN = Path(__file__).resolve().parents[2] / "runs" / "demo.yaml"
SMALL = ("--source.pydocs.max-documents", "600")
SCHEMATHESIS = "4.32.5"
PIPELINES = (
    "--pipelines",
    json.dumps({"exact": [{"find": "bm25"}], "strict": [{"find": "dense", "min_score": 0.3}]}),
)
CASES = 10_000
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def measure() -> list[Row]:
    """Ten thousand requests, about ten minutes."""
    plan = Plan(load_run(RUN, SMALL))
    for stage in ("discover", "index", "lookup"):
        plan.bring(stage)
    leave_ray()
    python = environment(f"schemathesis-{SCHEMATHESIS}", (f"schemathesis=={SCHEMATHESIS}",))
    port = free_port()
    ready = request("/v1/search", json.dumps({"query": "matrix", "top_k": 1}).encode())
    command = [sys.executable, "-m", "ray_apps.serve", str(RUN), *SMALL, "--serve.port", str(port), *PIPELINES]
    with running(command, port, ready), tempfile.TemporaryDirectory() as folder:
        operations = sum(len(methods) for methods in described()["paths"].values())
        # One worker: two make Python 3.11's compiler fail within Hypothesis ("recursion depth mismatch").
        options = {"--checks": CHECKS, "--max-examples": -(-CASES // operations), "--seed": 1, "--workers": 1}
        words = [str(word) for option in options.items() for word in option]
        address = f"http://127.0.0.1:{port}/openapi.json"
        command = [str(python.with_name("st")), "run", address, *words, "--no-color", "--continue-on-failure"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return [_row(done.stdout, done.returncode)]


def _row(said: str, code: int) -> Row:
    """The summary that Schemathesis ends with, as a row."""
    generated = re.search(r"(\d[\d,]*) generated", said)
    failures = re.search(r"(\d[\d,]*) unique failures", said) or re.search(r"found (\d[\d,]*)", said)
    if generated is None:
        raise RuntimeError(f"schemathesis did not end: {said[-1000:]}")
    found = 0 if failures is None else int(failures[1].replace(",", ""))
    if (code != 0) != (found > 0):
        raise RuntimeError(f"schemathesis ended with {code} and counts {found} failures: {said[-1000:]}")
    return Row(
        id="serve.schema_failures",
        what="answers of 5xx, or against the OpenAPI document, of the requests that Schemathesis made from it",
        value=found,
        unit="failures",
        at_most=0.0,
        peer=f"{generated[1]} requests, seed 1",
    )
