"""What reaches the terminal of a user, and what the log of the command."""

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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

WITH_A_BAR = """
import logging, sys, time, warnings
from pathlib import Path
from data.progress import Lines, progress
from ray_apps.terminal import terminal

Lines.__init__.__defaults__ = (0.0,)
with terminal(Path(sys.argv[1]), "embed"), progress("embed", 10, "passages") as counted:
    print("printed beside a bar")
    print("from a library", file=sys.stderr)
    warnings.warn("a warning of a library")
    counted.advance(5, rate=2.0)
    time.sleep(0.3)  # bars are drawn ten times a second
"""


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WORK, str(folder), *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, check=True, env={**os.environ, **environment}
    )


def on_a_terminal(folder: Path, work: str = WORK, **environment: str) -> tuple[str, str]:
    """What a terminal shows of the work's standard error, and its standard output."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", work, str(folder)]
    variables = {**os.environ, "TERM": "xterm", **environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, cwd=REPOSITORY, env=variables) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # the other end is closed
            pass
        assert process.stdout is not None
        printed = process.stdout.read()
        assert process.wait() == 0
    os.close(ours)
    return shown.decode(), printed.decode()


def test_a_long_message_is_wrapped_at_words_and_a_path_stays_whole(tmp_path: Path) -> None:
    path = "/a/path/that/is/longer/than/the/terminal/is/wide/part-00000.parquet"
    message = f"error: the first line is long enough to be wrapped here\n  {path} is below"
    shown = on_a_terminal(tmp_path, COLUMNS="40", MESSAGE=message)[0].replace("\r", "")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert f"error: the first line is long enough to\nbe wrapped here\n  {path}\n  is below\n" in plain


def test_a_message_in_a_pipe_is_not_wrapped_even_where_colours_are_forced(tmp_path: Path) -> None:
    message = "a message of many words, " * 10 + "and its end"
    assert message in run(tmp_path, COLUMNS="40", MESSAGE=message, FORCE_COLOR="1").stderr


def test_noise_goes_to_the_log_and_messages_to_both(tmp_path: Path) -> None:
    done = run(tmp_path)
    (log,) = tmp_path.glob("*-embed-*.log")
    assert done.stdout == "the result\n"
    assert sorted(done.stderr.splitlines()) == ["a message", "after", f"log: {log}"]
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
    shown, _ = on_a_terminal(tmp_path)
    assert "5/10" in shown and "2 passages/s" in shown and "2 s left" in shown
    assert "\x1b[33ma message" in shown and "noise" not in shown.partition("after")[0]


def test_no_color_is_obeyed(tmp_path: Path) -> None:
    assert "\x1b[33m" not in on_a_terminal(tmp_path, NO_COLOR="1")[0]


def test_a_log_folder_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "a message" in run(tmp_path / "file").stderr


def test_what_is_written_beside_a_bar_goes_where_it_belongs(tmp_path: Path) -> None:
    shown, printed = on_a_terminal(tmp_path, WITH_A_BAR)
    assert printed == "printed beside a bar\n"
    assert "5/10" in shown and "library" not in shown and "printed" not in shown
    text = next(tmp_path.glob("*.log")).read_text()
    assert "from a library\n" in text and "a warning of a library" in text


@pytest.mark.parametrize(
    "environment",
    [
        {"TERM": "dumb"},
        {"TERM": "dumb", "TTY_INTERACTIVE": "1"},
        {"FORCE_COLOR": ""},
        {"TTY_COMPATIBLE": "0", "TTY_INTERACTIVE": "1"},
        {"TTY_INTERACTIVE": "0"},
    ],
)
def test_a_terminal_that_cannot_redraw_shows_lines(environment: dict[str, str], tmp_path: Path) -> None:
    shown, _ = on_a_terminal(tmp_path, WITH_A_BAR, **environment)
    assert "embed: 5 of 10 passages, 2 passages/s, 2 s left" in shown and "5/10" not in shown


@pytest.mark.parametrize("environment", [{"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}, {"TTY_INTERACTIVE": "1"}])
def test_a_pipe_shows_lines_even_where_colours_are_forced(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITH_A_BAR, str(tmp_path)]
    variables = {**os.environ, "TERM": "xterm", **environment}
    shown = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True, env=variables).stderr
    assert "embed: 5 of 10 passages" in shown and "5/10" not in shown and "\x1b[?25l" not in shown


def test_a_crash_shows_its_stack_and_the_log_is_named(tmp_path: Path) -> None:
    crash = WITH_A_BAR + "    import os, signal\n    time.sleep(1.5)\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
    done = subprocess.run(
        [sys.executable, "-c", crash, str(tmp_path)], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    (log,) = tmp_path.glob("*.log")
    assert done.returncode == -signal.SIGSEGV
    assert f"log: {log}\n" in done.stderr and "Fatal Python error: Segmentation fault" in done.stderr
    assert "in <module>" in done.stderr and "library" not in done.stderr


@pytest.mark.parametrize("enabled", [True, False])
def test_after_the_command_crashes_are_shown_as_before_it(enabled: bool, tmp_path: Path) -> None:
    work = WORK + "import signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    command = [sys.executable, *(("-X", "faulthandler") if enabled else ()), "-c", work, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == -signal.SIGSEGV and ("Fatal Python error" in done.stderr) == enabled


def test_a_standard_error_that_is_gone_does_not_end_the_work(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(tmp_path)], stdout=subprocess.PIPE, stderr=writes, cwd=REPOSITORY, check=False
    )
    os.close(writes)
    assert done.stdout == b"the result\n"
    assert "a message" in next(tmp_path.glob("*.log")).read_text()


@pytest.mark.parametrize("words", ["", "--debug"])
def test_a_closed_standard_error_is_done_without(words: str, tmp_path: Path) -> None:
    work = "\n".join(line for line in WORK.splitlines() if "os.write" not in line and "stderr" not in line)
    command = ["sh", "-c", 'exec "$0" -c "$1" "$2" $3 2>&-', sys.executable, work, str(tmp_path), words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "the result\n", "")


def test_a_terminal_within_another_is_the_same_one(tmp_path: Path) -> None:
    nested = (
        WITH_A_BAR
        + """
    with terminal(Path(sys.argv[1]) / "inner", "chunk") as inner:
        logging.getLogger("catena").warning("said once")
        print("noise of the inner one", file=sys.stderr)
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", nested, str(tmp_path)], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    text = next(tmp_path.glob("*-embed-*.log")).read_text()
    assert done.stderr.count("said once") == text.count("said once") == text.count("noise of the inner one") == 1
    assert "noise" not in done.stderr and not (tmp_path / "inner").exists()
