"""The command line: exit codes, where output goes, one clear message for what the user can mend."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from ray_apps import cli
from ray_apps.cli import main
from ray_apps.usage import COMMANDS, split_config_flags

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
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"usage: catena {command}" in out
    assert ("--ray.num-cpus" in out) == (command != "bench")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["emebd", "x.yaml"], "error: unknown command 'emebd'; did you mean 'embed'?"),
        (["embed"], "error: the following arguments are required: RUN.yaml"),
        (["embed", "nosuch.yaml"], "error: run file not found: nosuch.yaml"),
        (["bench", "embde"], "error: unknown benchmark 'embde'; did you mean 'embed'?"),
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
    assert list(plan["artifacts"])[:3] == ["ingest", "chunk", "embed"]
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
    assert capsys.readouterr().err.startswith("error: catena encoder check: it takes no --triton")


@pytest.mark.parametrize("query", ["", " \n"])
def test_a_blank_query_is_refused_before_anything_is_built(
    query: str, run_file: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(run_file), query]) == 2
    assert capsys.readouterr().err.startswith(f"error: catena search: the query {query!r} is blank")
    assert not list(workspace.glob("*"))


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


def test_a_fault_of_ours_exits_with_1_and_names_debug(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(words: list[str]) -> int:
        raise ValueError("shapes differ\nand more")

    monkeypatch.setattr(cli, "_run_command", fail)
    assert main(["run", "x.yaml"]) == 1
    assert capsys.readouterr().err == (
        "error: ValueError: shapes differ\n  Run it again with --debug for the traceback.\n"
    )


def test_interruption_exits_with_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run_command", interrupted)
    assert main(["run", "x.yaml"]) == 130
    assert "continues where it stopped" in capsys.readouterr().err


def test_module_form_and_command_form_are_one(run_file: Path) -> None:
    form = [sys.executable, "-m", "ray_apps.run", str(run_file), "--dry-run", "--json"]
    done = subprocess.run(form, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert json.loads(done.stdout)["run"] == "small"


def test_a_library_that_logs_does_not_make_everything_be_said_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as outside of pytest

    def command() -> None:
        logging.warning("what a library says")  # gives a root logger without handlers one
        logging.getLogger("catena").info("said once")

    with cli._progress_on_stderr(debug=False):
        command()
    assert capsys.readouterr().err.count("said once") == 1
