"""``python -m ray_apps.serve``: starts, answers, stops; refuses an address that is taken."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from benchmarks.serving.load import free_port
from data.errors import InputError
from ray_apps.cli import main
from ray_apps.serve_checks import check_port

REPOSITORY = Path(__file__).resolve().parents[2]


def serve(run: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "ray_apps.serve", str(run), "--serve.port", str(port), "--ray.num-cpus", "2"]


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("run")
    documents = [{"id": f"d{i}", "text": f"document number {i} on {topic}"} for i, topic in enumerate(("cats", "dogs"))]
    (tmp_path / "documents.jsonl").write_text("\n".join(map(json.dumps, documents)))
    run = tmp_path / "run.yaml"
    run.write_text(
        f"name: small\nworkspace: {tmp_path / 'workspace'}\n"
        f"source:\n  files:\n    documents:\n      path: {tmp_path / 'documents.jsonl'}\n"
        "encoder:\n  hashed:\n    dim: 64\n"
    )
    return run


def test_it_serves_until_it_is_told_to_stop(run_file: Path, tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "stderr.txt"
    with log.open("w") as stderr:
        process = subprocess.Popen(serve(run_file, port), cwd=REPOSITORY, stdout=stderr, stderr=stderr)
    try:
        give_up = time.monotonic() + 150
        while "serving" not in log.read_text() and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.5)
        assert f"serving small at http://127.0.0.1:{port}" in log.read_text()
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/search", json={"query": "dogs", "top_k": 1}, timeout=30)
        assert answer.json()["results"][0]["document_id"] == "d1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert "stopped" in log.read_text()
        assert "Traceback" not in log.read_text()
        check_port("127.0.0.1", port)
    finally:
        if process.poll() is None:
            process.kill()


def refused(capsys: pytest.CaptureFixture[str], run_file: Path, *flags: str) -> str:
    """What `catena serve` says in this process, where it refuses."""
    words = ["serve", str(run_file), "--serve.port", str(free_port()), *flags]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_a_port_in_use_is_told_before_anything_starts(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(capsys, run_file, "--serve.port", str(port))
    assert f"port {port} of 127.0.0.1 is in use" in said and "--serve.port" in said


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be listened on"):
        check_port("192.0.2.1", 8000)


def test_an_index_of_another_encoder_is_refused(
    run_file: Path, cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """The index that the first test built, as if the model's files had changed since."""
    import ray.serve

    (meta,) = (run_file.parent / "workspace" / "index").glob("*/meta.json")
    described = meta.read_text()
    meta.write_text(json.dumps({**json.loads(described), "encoder": "another"}))
    try:
        assert "built by another encoder: another" in refused(capsys, run_file)
    finally:
        meta.write_text(described)
        ray.serve.shutdown()


def test_more_replicas_than_cores_are_refused(
    run_file: Path, cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, run_file, "--serve.replicas", "3")
    assert "serve.replicas: 3 need 2.5 cores, this machine gives 2" in said
