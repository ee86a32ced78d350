"""The log file of a command: what it keeps and removes, and that a full disk costs no more than its lines."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ray_apps.log_file import KEPT_LOGS, LogFile

REPOSITORY = Path(__file__).resolve().parents[3]

# Files of the process can be no longer than 100 bytes: any later write fails as on a full disk.
FULL = """
import dataclasses, resource, sys, warnings
from ray_apps.cli import main
from ray_apps.commands import COMMANDS
from data.errors import InputError

def fail(plan, arguments):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    warnings.warn("a warning of a library " * 20)  # Python ignores that it cannot be written, and keeps it buffered
    raise {error}

COMMANDS["embed"] = dataclasses.replace(COMMANDS["embed"], call=fail)
sys.exit(main(["embed", sys.argv[1], *sys.argv[2:]]))
"""
MISTAKE = 'InputError("the disk is full", "Free some space.")'


def fails_on_a_full_disk(tmp_path: Path, error: str, *words: str) -> subprocess.CompletedProcess[str]:
    run_file = tmp_path / "run.yaml"
    run_file.write_text(f"name: full\nworkspace: {tmp_path / 'workspace'}\nsource:\n  pydocs:\n    packages: [json]\n")
    command = [sys.executable, "-c", FULL.format(error=error), str(run_file), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)


def test_message_and_exit_code_survive_a_full_disk(tmp_path: Path) -> None:
    done = fails_on_a_full_disk(tmp_path, MISTAKE)
    (log,) = (tmp_path / "workspace" / "logs").glob("*.log")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: the disk is full\n  Free some space.\nlog: {log}\n"


def test_a_traceback_that_the_disk_did_not_take_is_not_promised(tmp_path: Path) -> None:
    done = fails_on_a_full_disk(tmp_path, 'ValueError("shapes differ")')
    assert done.returncode == 1
    assert done.stderr.startswith("error: ValueError: shapes differ\n  Run it again with --debug for the traceback.\n")


@pytest.mark.parametrize("words", [[], ["--debug"]])
def test_a_standard_error_on_a_full_disk_keeps_the_exit_code(words: list[str], tmp_path: Path) -> None:
    run_file = tmp_path / "run.yaml"
    run_file.write_text(f"name: full\nworkspace: {tmp_path / 'workspace'}\nsource:\n  pydocs:\n    packages: [json]\n")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", FULL.format(error=MISTAKE), str(run_file), *words]
        assert subprocess.run(command, stderr=full, cwd=REPOSITORY, check=False).returncode == 2


def test_a_log_on_a_full_disk_is_closed_and_says_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = LogFile(tmp_path / "logs", "embed")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log.file.fileno())
    os.close(full)
    assert not log.add_traceback(ValueError("shapes differ"))
    log.handler().handle(logging.makeLogRecord({"msg": "a message"}))
    assert capsys.readouterr().err == ""
    log.close()
    assert log.file.closed and not (tmp_path / "logs").exists()


def test_a_log_is_named_once_something_is_in_it_and_again_with_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray_apps.log_file.NAMED_AFTER_S", 0.05)
    log = LogFile(tmp_path, "embed")
    with caplog.at_level("INFO", "catena"), log.named():
        time.sleep(0.3)
        assert not caplog.messages
        log.file.write("noise\n")
        time.sleep(0.5)
        assert caplog.messages == [f"log: {log.path}"]
    assert len(caplog.messages) == 1
    with caplog.at_level("INFO", "catena"), log.named():
        log.add_traceback(ValueError("shapes differ"))
    assert len(caplog.messages) == 2
    log.close()


def test_empty_logs_and_old_ones_are_removed(tmp_path: Path) -> None:
    for number in range(KEPT_LOGS + 5):
        (tmp_path / f"2026-{number:03d}.log").write_text("old")
    log = LogFile(tmp_path, "encoder check")
    assert "encoder-check" in log.path.name and len(list(tmp_path.glob("*.log"))) == KEPT_LOGS
    log.close()
    assert not log.path.exists() and not (tmp_path / "2026-005.log").exists() and (tmp_path / "2026-024.log").exists()


def test_the_log_of_a_command_that_still_runs_stays(tmp_path: Path) -> None:
    service = LogFile(tmp_path, "serve")
    service.file.write("a service that runs for weeks\n")
    oldest = service.path.rename(tmp_path / "2000-serve.log")
    for number in range(KEPT_LOGS + 5):
        (tmp_path / f"2026-{number:03d}.log").write_text("old")
    LogFile(tmp_path, "embed").close()
    assert oldest.exists() and not (tmp_path / "2026-005.log").exists()
    service.file.close()
    LogFile(tmp_path, "embed").close()
    assert not oldest.exists()


@pytest.mark.parametrize("there", ["", "mine", "mine/workspace", "mine/workspace/logs"])
def test_folders_that_were_there_before_stay(there: str, tmp_path: Path) -> None:
    (tmp_path / there).mkdir(parents=True, exist_ok=True)
    LogFile(tmp_path / "mine" / "workspace" / "logs", "stats").close()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == [
        there[:end] for end in range(1, len(there) + 1) if there[end : end + 1] in ("", "/")
    ]


def test_a_folder_made_for_the_log_stays_where_something_else_is_in_it(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "workspace" / "logs", "embed")
    (tmp_path / "workspace" / "artifact").touch()
    log.close()
    assert [path.name for path in tmp_path.rglob("*")] == ["workspace", "artifact"]


def test_no_folder_is_left_where_the_log_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="name too long"):
        LogFile(tmp_path / "workspace" / "logs", "x" * 300)
    assert not list(tmp_path.iterdir())
