"""Commands on the project's run files, each in a process of its own, for figures of whole runs."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RUNS = Path(__file__).resolve().parents[1] / "runs"


def whole_run(name: str) -> tuple[dict[str, Any], float]:
    """The summary of a run from nothing, and its minutes by the clock, process start included."""
    with tempfile.TemporaryDirectory() as workspace:
        started = time.perf_counter()
        summary = summary_of("run", name, "--workspace", workspace)
        return summary, (time.perf_counter() - started) / 60


def summary_of(command: str, name: str, *flags: str) -> dict[str, Any]:
    """What a command on a run file ends with in JSON.

    Args:
        command: such as ``run`` or ``evaluate``.
        name: of the run file in ``runs/``.
        flags: keys of the run file, each followed by its value.
    """
    words = summary_words(command, name, *flags)
    return read_summary(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, cwd=RUNS.parent).stdout)


def summary_words(command: str, name: str, *flags: str) -> list[str]:
    """The command line of ``summary_of``."""
    return [sys.executable, "-m", f"ray_apps.{command}", str(RUNS / f"{name}.yaml"), *flags, "--json"]


def read_summary(printed: str) -> dict[str, Any]:
    """The JSON that a command printed last."""
    summary: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return summary
