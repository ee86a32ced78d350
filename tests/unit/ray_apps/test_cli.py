"""The command line: exit codes, where output goes, one clear message for what the user can correct."""

import dataclasses
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ray_apps.cli import main
from ray_apps.commands import COMMANDS
from ray_apps.terminal import terminal
from ray_apps.usage import split_config_flags

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def run_file(tmp_path: Path, workspace: Path) -> Path:
    """A run on a small part of the standard library, in a workspace of the test's own."""
    path = tmp_path / "small.yaml"
    path.write_text(f"name: small\nworkspace: {workspace}\nsource:\n  pydocs:\n    packages: [numpy]\n")
    return path


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {command} " in out for command in COMMANDS)


def test_no_command_is_an_error_that_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("usage: catena COMMAND RUN.yaml")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert f"usage: catena {command}" in out
    assert ("sections of the run file" in out) == (COMMANDS[command].unplanned is None)
    assert "--ray.num-cpus" not in out  # keys are listed section by section


@pytest.mark.parametrize("command", [name for name, command in COMMANDS.items() if command.remote is not None])
def test_help_of_a_command_says_how_a_service_is_asked(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"\n  catena {command} --url URL " in out and f"`catena {command} --url http://127.0.0.1:8000 --help`" in out
    assert main([command, "--url", "http://127.0.0.1:8000", "--help"]) == 0
    assert "CATENA_KEY holds its key" in capsys.readouterr().out


def test_help_of_config_lists_the_keys_of_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--help", "embed"]) == 0
    out = capsys.readouterr().out
    assert "--embed.batch-tokens" in out and "--train" not in out
    assert main(["config", "--help", "embedd"]) == 2


def test_help_of_nested_commands_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encoder", "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: catena encoder COMMAND") and "encoder check" in out and "  serve" not in out
    assert main(["encoder"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["emebd", "x.yaml"], "error: unknown command 'emebd'; did you mean 'embed'?"),
        (["embed"], "error: the following arguments are required: RUN.yaml"),
        (["embed", "nosuch.yaml"], "error: run file not found: nosuch.yaml"),
        (["bench", "embde"], "error: unknown benchmark 'embde'; did you mean 'embed'?"),
        (["bench", "sampler", "--seeds", "2"], "error: bench sampler does not take --seeds; it takes no settings"),
        (["bench", "links", "--workspace", "x"], "error: bench reads no run file, so it does not take --workspace"),
        (["bench", "links", "--epochs", "2"], "error: bench links does not take --epochs; it takes --parts, --seeds"),
        (
            ["search", "x.yaml", "words", "--top-k", "0"],
            "error: argument --top-k: '0' is not a whole number of at least 1",
        ),
        (["search", "x.yaml", "words", "--mode", "fuzzy"], "error: argument --mode: invalid choice: 'fuzzy'"),
        (["embed", "x.yaml", "--jsn"], "error: unrecognized arguments: --jsn"),
    ],
)
def test_wrong_usage_exits_with_2_and_one_message(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.out == ""


def test_config_prints_values_of_every_source(
    run_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATENA_RAY__NUM_CPUS", "3")
    assert main(["config", str(run_file), "--ray.object-store-mb", "90", "--json"]) == 0
    config = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert config["name"] == "small"
    assert config["ray"] == {"address": "local", "num_cpus": 3, "object_store_mb": 90}


def test_dry_run_prints_configuration_and_artifacts_and_makes_nothing(
    run_file: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(run_file), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["config"]["name"] == "small"
    assert list(plan["artifacts"])[:4] == ["ingest", "chunk", "split", "embed"]
    assert not any(made["done"] for made in plan["artifacts"].values())
    assert not workspace.exists()
    assert main(["run", str(run_file), "--dry-run"]) == 0
    assert "missing" in capsys.readouterr().out


def test_flag_of_the_run_file_may_stand_before_the_query(run_file: Path) -> None:
    own, config = split_config_flags([str(run_file), "--index.engine", "edge", "words", "--workspace=w", "--json"])
    assert own == [str(run_file), "words", "--json"]
    assert config == ["--index.engine", "edge", "--workspace=w"]


def test_a_triton_folder_is_for_export_alone(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encoder", "check", str(run_file), "--triton", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: unrecognized arguments: --triton")


@pytest.mark.parametrize("query", ["", " \n"])
def test_a_blank_query_is_refused_before_anything_is_built(
    query: str, run_file: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(run_file), query]) == 2
    assert capsys.readouterr().err.startswith(f"error: catena search: the query {query!r} is blank")
    assert not list(workspace.glob("[!l]*"))  # a log of the refusal at most


@pytest.mark.parametrize(
    "words", [["search", "runs/demo.yaml", "boat", "--filter", "lang=\ud800"], ["search", "x", "\udcff"], ["\udc80"]]
)
def test_a_lone_surrogate_in_an_argument_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "is not valid Unicode" in capsys.readouterr().err


def test_a_filter_that_is_none_exits_with_2(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(run_file), "boat", "--filter", "year>="]) == 2
    assert "--filter year>=: no value after '>='" in capsys.readouterr().err


def test_traceback_only_with_debug(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [")
    assert main(["run", str(broken)]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert main(["run", str(broken), "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_of_ours_exits_with_1_and_names_the_log_with_its_traceback(
    run_file: Path, workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(plan: object, arguments: object) -> dict[str, object]:
        raise ValueError("shapes differ\nand more")

    monkeypatch.setitem(COMMANDS, "embed", dataclasses.replace(COMMANDS["embed"], call=fail))
    assert main(["embed", str(run_file)]) == 1
    said = capsys.readouterr().err.splitlines()
    (log,) = (workspace / "logs").glob("*-embed-*.log")
    assert said == ["error: ValueError: shapes differ", "  Its traceback is in the log.", f"log: {log}"]
    assert "Traceback" in log.read_text() and "and more" in log.read_text()


BENCH = """
import dataclasses, os, sys
from ray_apps.cli import main
from ray_apps.commands import COMMANDS

def noisy(arguments):
    os.write(2, b"noise of Ray\\n")
    return {"rows": [], "files": [], "not_measured": {}}

COMMANDS["bench"] = dataclasses.replace(COMMANDS["bench"], unplanned=noisy)
sys.exit(main(["bench", "--json"]))
"""


def test_a_command_without_a_run_logs_to_the_temporary_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BENCH],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    (log,) = tmp_path.glob("catena-*/logs/*-bench-*.log")
    assert done.stderr == f"log: {log}\n" and log.read_text().startswith("noise of Ray\n")


def test_bench_without_a_temporary_folder_has_no_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full() -> str:
        raise FileNotFoundError("No usable temporary directory found")  # as tempfile does on a full disk

    monkeypatch.setattr("tempfile.gettempdir", full)
    assert main(["bench", "embde"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown benchmark 'embde'")


def test_a_command_within_another_logs_each_line_once(
    run_file: Path, workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nested(plan: object, arguments: object) -> dict[str, object]:
        assert main(["search", str(run_file), " "]) == 2
        return {}

    monkeypatch.setitem(COMMANDS, "embed", dataclasses.replace(COMMANDS["embed"], call=nested, show=str))
    assert main(["embed", str(run_file)]) == 0
    (log,) = (workspace / "logs").glob("*.log")
    said = capsys.readouterr().err
    assert said.count("is blank") == 1 and log.read_text().count("ERROR error: catena search") == 1
    assert said.endswith(f"log: {log}\n") and said.count("log: ") == 1


def test_interruption_exits_with_130(
    run_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(plan: object, arguments: object) -> dict[str, object]:
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "run", dataclasses.replace(COMMANDS["run"], call=interrupted))
    assert main(["run", str(run_file)]) == 130
    assert "continues where it stopped" in capsys.readouterr().err


def test_module_form_and_command_form_are_one(run_file: Path) -> None:
    form = [sys.executable, "-m", "ray_apps.run", str(run_file), "--dry-run", "--json"]
    done = subprocess.run(form, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert json.loads(done.stdout)["run"] == "small"


def test_a_library_that_logs_does_not_make_every_message_come_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as outside of pytest
    with terminal(None, "embed"):
        logging.warning("what a library says")  # gives a root logger without handlers one
        logging.getLogger("catena").info("said once")
    assert capsys.readouterr().err.count("said once") == 1
