"""The cluster files are what the installed Ray accepts, and a job submitted as the README says really runs."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 90
JOB_TIMEOUT_S = 240
STAGES = ("ingest", "steps", "chunk", "embed")


def validated(path: Path) -> dict[str, Any]:
    """A cluster file as Ray's own launcher completes and checks it; private, for it has no public form."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    config: dict[str, Any] = prepare_config(yaml.safe_load(path.read_text()))
    validate_config(config)
    return config


@pytest.mark.parametrize("name", ["cluster.yaml", "deploy/cluster-aws.yaml"])
def test_cluster_file_fits_the_schema_of_the_installed_ray(name: str) -> None:
    config = validated(REPOSITORY / name)
    commands = " ".join(config["head_start_ray_commands"])
    assert "RAY_AUTH_MODE=token" in commands
    assert "--dashboard-host=127.0.0.1" in commands


def test_cloud_workers_have_gpus_and_come_and_go() -> None:
    workers = validated(REPOSITORY / "deploy" / "cluster-aws.yaml")["available_node_types"]["gpu"]
    assert workers["node_config"]["InstanceType"].startswith("g")
    assert (workers["min_workers"], workers["max_workers"]) == (0, 4)


def test_cloud_image_has_the_ray_that_the_constraints_hold() -> None:
    image = validated(REPOSITORY / "deploy" / "cluster-aws.yaml")["docker"]["image"]
    pinned = [line for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if line.startswith("ray==")]
    assert image.split(":")[1].split("-")[0] == pinned[0].removeprefix("ray==")


def test_runtime_environment_is_one_that_ray_accepts() -> None:
    from ray.runtime_env import RuntimeEnv

    environment = RuntimeEnv(**yaml.safe_load((REPOSITORY / "runtime_env.yaml").read_text()))
    assert environment.env_vars()["CATENA_WORKSPACE"].startswith("${HOME}/")


@dataclass(frozen=True)
class Head:
    """A Ray head of this test's own."""

    address: str
    environment: dict[str, str]
    home: Path


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """``ray start --head`` on ports and in a folder of its own, with token authentication, in a home of its own."""
    home = Path(tempfile.mkdtemp(prefix="catena-"))  # short: Ray's socket paths are limited to 107 bytes
    gcs, dashboard, agent, client = free_ports(4)
    environment = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
    }
    command = ["ray", "start", "--head", "--block", "--disable-usage-stats", "--num-cpus=2", f"--port={gcs}"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}"]
    command += [
        f"--dashboard-agent-listen-port={agent}",
        f"--object-store-memory={200 * 2**20}",
        f"--temp-dir={home}/ray",
    ]
    with (home / "head.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    started = Head(f"http://127.0.0.1:{dashboard}", environment, home)
    try:
        _wait_for(started, process)
        yield started
    finally:
        everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(signal.SIGTERM)  # with --block, Ray ends what it started; what stays, it waits for
        for left in psutil.wait_procs(everyone, timeout=3)[1]:
            left.kill()
        process.wait(timeout=60)
        shutil.rmtree(home, ignore_errors=True)


def _wait_for(head: Head, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while status(head, head.environment["RAY_AUTH_TOKEN"]) != 200:
        log = (head.home / "head.log").read_text()
        assert process.poll() is None, log
        assert time.monotonic() < deadline, log
        time.sleep(0.5)


def status(head: Head, token: str | None) -> int:
    """HTTP status of a list of jobs; 0 where nobody answers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{head.address}/api/jobs/", headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def submit(head: Head, *words: str, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """``ray job submit`` as the README has it, with ``python -m ray_apps.embed`` and what follows it.

    Args:
        head: where to.
        words: of the command.
        folder: the working directory that goes with the job.
    """
    command = [
        "ray",
        "job",
        "submit",
        "--address",
        head.address,
        "--working-dir",
        ".",
        "--runtime-env",
        str(REPOSITORY / "runtime_env.yaml"),
    ]
    return subprocess.run(
        [*command, "--", "python", "-m", "ray_apps.embed", *words],
        env=head.environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=JOB_TIMEOUT_S,
        check=False,
    )


def test_job_api_asks_for_the_token(head: Head) -> None:
    assert status(head, None) == 401
    assert status(head, "wrong") in (401, 403)


def test_a_submitted_job_embeds_into_the_workspace_that_stays(head: Head) -> None:
    small = ["--source.pydocs.packages", "networkx", "--source.pydocs.max-documents", "20"]
    small += ["--encoder.hashed.dim", "64"]
    done = submit(head, "runs/demo.yaml", *small, "--json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    result = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"run"')))
    assert result["embed"]["documents"] == 20
    assert Path(result["artifact"]).is_relative_to(head.home / "catena-workspace")
    assert (Path(result["artifact"]) / "_SUCCESS").exists()


def test_a_mistake_in_a_submitted_job_fails_it_with_the_message(head: Head) -> None:
    done = submit(head, "runs/demo.yaml", "--embed.batch-token", "9")
    assert done.returncode != 0
    assert "unknown flag --embed.batch-token; did you mean '--embed.batch-tokens'?" in done.stdout + done.stderr


OWN_CODE = {
    "own_project/__init__.py": "",
    "own_project/words.py": "WORDS = 'moon sea harbour tide'.split()\n",
    "own_project/corpus.py": """from own_project.words import WORDS

def load():
    for word in WORDS:
        yield {"id": word, "title": word, "text": f"about the {word}"}
""",
    "own_project/steps.py": """def shout(document):
    return {**document, "text": document["text"].upper()}
""",
    "own_project/encoders.py": """class Letters:
    dim = 26

    def encode(self, texts):
        return [[1.0 + text.lower().count(chr(97 + n)) for n in range(26)] for text in texts]

def load(config):
    return Letters()
""",
    "run.yaml": """name: own
ray: {num_cpus: 2}
source: {function: {path: "own_project.corpus:load"}}
steps: ["own_project.steps:shout"]
encoder: {model: "own_project.encoders:load"}
""",
}


def test_a_submitted_job_keeps_what_the_same_code_made_elsewhere(head: Head, tmp_path: Path) -> None:
    for name, content in OWN_CODE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    words = ["run.yaml", "--workspace", str(head.home / "own"), "--json"]
    local = subprocess.run(
        [sys.executable, "-m", "ray_apps.embed", *words],
        env=head.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=JOB_TIMEOUT_S,
        check=False,
    )
    assert local.returncode == 0, local.stderr[-3000:]
    made = json.loads(local.stdout.splitlines()[-1])
    assert made["embed"]["documents"] == 4
    os.utime(tmp_path / "own_project" / "words.py", (1, 1))  # written again, and sent to another folder

    done = submit(head, *words, folder=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    again = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"run"')))
    assert again["artifact"] == made["artifact"]
    assert again["embed"] == made["embed"]  # its seconds too: it was not made again
    assert [len(list((head.home / "own" / stage).iterdir())) for stage in STAGES] == [1, 1, 1, 1]
