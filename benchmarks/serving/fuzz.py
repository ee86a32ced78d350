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
from benchmarks.serving.search import RUN, leave_ray
from benchmarks.serving.servers import running
from ray_apps.config import load_run
from ray_apps.plan import Plan
from serving.api.__main__ import described

SCHEMATHESIS = "4.32.5"
CASES = 10_000
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def measure() -> list[Row]:
    """Ten thousand requests, about ten minutes."""
    Plan(load_run(RUN)).bring("index")
    leave_ray()
    python = environment(f"schemathesis-{SCHEMATHESIS}", (f"schemathesis=={SCHEMATHESIS}",))
    port = free_port()
    ready = request("/v1/search", json.dumps({"query": "wing", "top_k": 1}).encode())
    command = [sys.executable, "-m", "ray_apps.serve", str(RUN), "--serve.port", str(port)]
    with running(command, port, ready), tempfile.TemporaryDirectory() as folder:
        operations = sum(len(methods) for methods in described()["paths"].values())
        report = Path(folder) / "report.ndjson"
        words = [
            *(str(python.with_name("st")), "run", f"http://127.0.0.1:{port}/openapi.json", "--checks", CHECKS),
            *(
                "--max-examples",
                str(-(-CASES // operations)),
                "--seed",
                "1",
                "--workers",
                "2",
                "--no-color",
                "--continue-on-failure",
            ),
            *("--report", "ndjson", "--report-ndjson-path", str(report)),
        ]
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
        lines = report.read_text().splitlines() if report.exists() else []
    return [_row(done.stdout, done.returncode, len(lines))]


def _row(said: str, code: int, events: int) -> Row:
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
        peer=f"{generated[1]} requests, seed 1; {events} events",
    )
