"""What reaches the terminal of a user, and what the log of the command."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ray_apps.terminal import KEPT_LOGS, LogFile

REPOSITORY = Path(__file__).resolve().parents[3]
WORK = """
import logging, os, sys, time
from pathlib import Path
from data.progress import progress
from ray_apps.terminal import terminal

with terminal(Path(sys.argv[1]), "embed", debug="--debug" in sys.argv) as log:
    os.write(2, b"noise of a library\\n")
    print("a warning of Python", file=sys.stderr)
    with progress("embed", 10, "passages") as counted:
        counted.advance(5, rate=2.0)
        time.sleep(0.3)  # bars are drawn ten times a second
        logging.getLogger("catena").warning(os.environ.get("MESSAGE", "a message"))
    logging.getLogger("catena").debug("a detail")
    print("the result")
os.write(2, b"after\\n")
"""


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WORK, str(folder), *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, check=True, env={**os.environ, **environment}
    )


def on_a_terminal(folder: Path, **environment: str) -> str:
    """What a terminal shows of the work's standard error."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", WORK, str(folder)]
    variables = {**os.environ, "TERM": "xterm", **environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, cwd=REPOSITORY, env=variables) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # the other end is closed
            pass
        process.wait()
    os.close(ours)
    return shown.decode()


def test_a_long_message_is_wrapped_at_words_and_a_path_stays_whole(tmp_path: Path) -> None:
    path = "/a/path/that/is/longer/than/the/terminal/is/wide/part-00000.parquet"
    message = f"error: the first line is long enough to be wrapped here\n  {path} is below"
    shown = on_a_terminal(tmp_path, COLUMNS="40", MESSAGE=message).replace("\r", "")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert f"error: the first line is long enough to\nbe wrapped here\n  {path}\n  is below\n" in plain


def test_noise_goes_to_the_log_and_messages_to_both(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.stdout == "the result\n" and done.stderr == "a message\nafter\n"
    (log,) = tmp_path.glob("*-embed-*.log")
    text = log.read_text()
    assert "noise of a library\n" in text and "a warning of Python\n" in text and "WARNING a message\n" in text
    assert "a detail" not in text


@pytest.mark.parametrize(("words", "environment"), [(("--debug",), {}), ((), {"RAY_JOB_ID": "1"})])
def test_with_debug_and_in_a_job_everything_reaches_standard_error(
    words: tuple[str, ...], environment: dict[str, str], tmp_path: Path
) -> None:
    done = run(tmp_path, *words, **environment)
    assert "noise of a library" in done.stderr and "a message" in done.stderr
    assert ("a detail" in done.stderr) == ("--debug" in words) and not list(tmp_path.iterdir())


def test_on_a_terminal_a_bar_is_drawn_with_rate_and_remaining_time(tmp_path: Path) -> None:
    shown = on_a_terminal(tmp_path)
    assert "5/10" in shown and "2 passages/s" in shown and "2 s left" in shown
    assert "\x1b[33ma message" in shown and "noise" not in shown.partition("after")[0]


def test_no_color_is_obeyed(tmp_path: Path) -> None:
    assert "\x1b[33m" not in on_a_terminal(tmp_path, NO_COLOR="1")


def test_a_log_folder_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "a message" in run(tmp_path / "file").stderr


def test_empty_logs_and_old_ones_are_removed(tmp_path: Path) -> None:
    for number in range(KEPT_LOGS + 5):
        (tmp_path / f"2026-{number:03d}.log").write_text("old")
    log = LogFile(tmp_path, "encoder check")
    assert "encoder-check" in log.path.name and len(list(tmp_path.glob("*.log"))) == KEPT_LOGS
    log.close()
    assert not log.path.exists() and not (tmp_path / "2026-005.log").exists() and (tmp_path / "2026-024.log").exists()
