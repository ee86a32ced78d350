"""The image: what its build sees, and what it starts as."""

import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from data.errors import InputError
from ray_apps.commands import COMMANDS
from ray_apps.config import load_run
from ray_apps.serve_checks import check_exposure
from serving.config import ServeConfig
from tests.unit.deploy.dockerfile import REPOSITORY, environment, final_stage, instructions, words

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def seen_by_the_build(path: str) -> bool:
    """Whether .dockerignore lets a path in: the last pattern that matches it or a folder above it decides."""
    seen = True
    for line in (REPOSITORY / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        expression = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(rf"{expression}(/.*)?", path):
            seen = line.startswith("!")
    return seen


def test_the_build_sees_what_the_wheel_is_made_of() -> None:
    packages = {name for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"] if "." not in name}
    for package in packages:
        assert seen_by_the_build(f"{package}/__init__.py"), package
    for name in ("pyproject.toml", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]):
        assert seen_by_the_build(name), name
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    assert copied and all(source == "." or seen_by_the_build(source) for (source,) in copied)


@pytest.mark.parametrize(
    "path",
    [
        *("deploy/.env", "deploy/secrets/keys/keys.json", "keys.json", ".env", ".git/config", "workspace/index/a"),
        *("tests/conftest.py", "data/__pycache__/errors.pyc", "benchmarks/results/README.md", ".venv/bin/python"),
    ],
)
def test_the_build_sees_no_secrets_and_nothing_that_it_does_not_need(path: str) -> None:
    assert not seen_by_the_build(path)


@pytest.mark.parametrize("path", ["deploy/.env", "deploy/secrets/keys/keys.json", "deploy/secrets/prometheus_key"])
def test_secrets_are_not_committed_by_mistake(path: str) -> None:
    asked = ["git", "check-ignore", "--quiet", path]
    assert subprocess.run(asked, cwd=REPOSITORY, check=False).returncode == 0


def test_it_starts_from_a_pinned_python_that_catena_runs_on() -> None:
    arguments = dict(rest.split("=", 1) for name, rest in instructions() if name == "ARG")
    found = re.fullmatch(r"python:3\.(\d+)\.\d+-slim-\w+", arguments["PYTHON_IMAGE"])
    assert found is not None and int(found[1]) >= 11
    stages = [rest for name, rest in instructions() if name == "FROM"]
    assert len(stages) == 3 and all(stage.split()[0] == "${PYTHON_IMAGE}" for stage in stages)


def test_it_installs_the_wheel_with_extras_that_there_are_and_the_tested_versions() -> None:
    commands = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    assert len(commands) == 2 and all("--constraint /constraints.txt" in command for command in commands)
    (extras,) = re.findall(r"catena-\*\.whl\)\[([\w,]+)\]", commands[1])
    assert set(extras.split(",")) <= PROJECT["project"]["optional-dependencies"].keys()


def test_it_serves_as_a_user_without_rights() -> None:
    assert final_stage()["USER"] not in ("root", "0")
    assert [*words("ENTRYPOINT"), *words("CMD")] == ["catena", "serve", "/etc/catena/run.yaml"]
    assert "serve" in COMMANDS


def test_its_variables_are_keys_of_a_run_and_it_refuses_to_let_everybody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        if name.startswith("CATENA_"):
            monkeypatch.setenv(name, value)
    run = load_run(REPOSITORY / "runs" / "demo.yaml")
    assert (run.serve.host, str(run.workspace)) == ("0.0.0.0", "/var/lib/catena")
    assert final_stage()["VOLUME"] == str(run.workspace)
    with pytest.raises(InputError, match="has no keys"):  # none are mounted here
        check_exposure(run.serve)


@pytest.fixture(params=[200, 503])
def probed(request: pytest.FixtureRequest) -> Iterator[tuple[int, int, list[str]]]:
    """A server that gives one answer, its port, and the paths that it is asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield request.param, server.server_port, asked
        server.shutdown()
        thread.join()


def test_its_health_check_asks_model_and_index(probed: tuple[int, int, list[str]]) -> None:
    status, port, asked = probed
    serve = ServeConfig()
    program, *rest = words("HEALTHCHECK")
    assert program == "python" and f"127.0.0.1:{serve.port}/" in rest[-1]
    command = [sys.executable, *(word.replace(f":{serve.port}/", f":{port}/") for word in rest)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert asked == ["/readyz"] and (done.returncode == 0) == (status == 200)
    (timeout_s,) = re.findall(r"--timeout=(\d+)s", final_stage()["HEALTHCHECK"])
    assert float(timeout_s) > serve.health_timeout_s  # else it would never hear a no
