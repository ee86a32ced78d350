"""Mistakes that the user can correct: on the command line, with real files, one message, exit code 2."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ray_apps.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("cluster")

DOCUMENTS = [{"id": f"d{n}", "title": f"Document {n}", "text": f"text number {n}"} for n in range(3)]
RunCommand = Callable[..., tuple[int, str]]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A file of documents."""
    path = tmp_path / "documents.jsonl"
    path.write_text("".join(json.dumps(document) + "\n" for document in DOCUMENTS))
    return path


@pytest.fixture
def run_file(tmp_path: Path, corpus: Path, workspace: Path) -> Path:
    """A run over it."""
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\nworkspace: {workspace}\nsource:\n  files:\n    documents:\n      path: {corpus}\n")
    return path


@pytest.fixture
def run_command(capsys: pytest.CaptureFixture[str]) -> RunCommand:
    """Exit code and standard error of a command, without a traceback in it."""

    def run(*words: object) -> tuple[int, str]:
        code = main([str(word) for word in words])
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return code, said

    return run


def test_a_good_run_exits_with_0_and_says_the_second_time_that_it_is_done(
    run_file: Path, run_command: RunCommand
) -> None:
    assert run_command("ingest", run_file)[0] == 0
    code, said = run_command("ingest", run_file)
    assert (code, "running" in said) == (0, False)


def test_workspace_that_cannot_be_made(run_file: Path, tmp_path: Path, run_command: RunCommand) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    for workspace in (tmp_path / "taken", tmp_path / "taken" / "below", "/dev/null/x"):
        code, said = run_command("ingest", run_file, "--workspace", workspace)
        assert code == 2
        assert f"the workspace cannot be written: {workspace}" in said
        assert "choose another with --workspace" in said


def test_broken_line_is_counted_and_with_strict_an_error_that_names_it(
    run_file: Path, corpus: Path, run_command: RunCommand
) -> None:
    with corpus.open("a") as file:
        file.write('{"id": "d3", "title": \n')
    code, _ = run_command("ingest", run_file)
    assert code == 0
    code, said = run_command("ingest", run_file, "--strict")
    assert code == 2
    assert str(corpus) in said
    assert "line 4" in said


def test_missing_corpus_names_the_file(run_file: Path, corpus: Path, run_command: RunCommand) -> None:
    corpus.unlink()
    for words in (["ingest", run_file], ["run", run_file, "--dry-run"]):
        code, said = run_command(*words)
        assert code == 2
        assert str(corpus) in said


def test_a_text_column_that_no_record_has_is_refused(run_file: Path, corpus: Path, run_command: RunCommand) -> None:
    run_file.write_text(run_file.read_text() + "      text: txet\n")
    code, said = run_command("ingest", run_file)
    assert code == 2
    assert f"{corpus}: none of 3 records has a text in 'txet'" in said and "source.files.documents.text" in said


def test_unknown_key_and_value_out_of_range(run_file: Path, run_command: RunCommand) -> None:
    code, said = run_command("ingest", run_file, "--ray.object-store-mb", "1")
    assert (code, "greater than or equal to 80, got '1'" in said) == (2, True)
    run_file.write_text(run_file.read_text() + "chunks: {}\n")
    code, said = run_command("ingest", run_file)
    assert (code, "chunks: unknown key; did you mean 'chunk'?" in said) == (2, True)


WAITS = """import pathlib, time

def load():
    while not pathlib.Path({go!r}).exists():
        time.sleep(0.05)
    yield {{"id": "d0", "title": "Document 0", "text": "text"}}
"""


def test_interrupted_run_exits_with_130_and_can_be_started_again(tmp_path: Path, workspace: Path) -> None:
    go, run_file = tmp_path / "go", tmp_path / "waits.yaml"
    (tmp_path / "corpus_that_waits.py").write_text(WAITS.format(go=str(go)))
    run_file.write_text(
        f"name: waits\nworkspace: {workspace}\nsource: {{function: {{path: 'corpus_that_waits:load'}}}}\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"}
    command = [sys.executable, "-m", "ray_apps.ingest", str(run_file)]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if line.startswith("ingest: running"))
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert "interrupted; start it again and it continues" in said
    assert "Traceback" not in said
    go.touch()
    assert subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode == 0
