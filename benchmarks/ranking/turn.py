"""The loop, turning twice: a first turn on some traces, then one with 10,000 more, by the command that users type."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import Row
from benchmarks.whole_runs import RUNS, read_summary
from data.partitions import read_table
from ray_apps.config import load_run
from ray_apps.plan import Plan

NEW = 10_000
FIRST = 2_000  # traces of the first turn

Record = dict[str, Any]


def measure() -> list[Row]:
    """Five minutes."""
    plan = Plan(load_run(RUNS / "metatool.yaml"))
    catalogue = plan.bring("catalogue").path
    tools = read_table(catalogue / "tools").to_pylist()
    traces = read_table(catalogue / "traces").select(["id", "intent", "chosen", "outcome"]).to_pylist()
    order = np.random.default_rng(0).permutation(len(traces))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder / "tools.jsonl", tools)
        _write(folder / "traces-1.jsonl", (traces[n] for n in order[:FIRST]))
        run = folder / "loop.yaml"
        run.write_text(_run_file(folder))
        first, seconds = _turn(run, folder)
        _write(folder / "traces-2.jsonl", (traces[n] for n in order[FIRST : FIRST + NEW]))
        second, seconds_2 = _turn(run, folder)
    against = second["learn"]["against_champion"]
    return [
        Row(
            id="rank.turn.minutes",
            what=f"one turn of the loop with {NEW:,} new traces, from their file to the registry, start included",
            value=round(seconds_2 / 60, 2),
            unit="min",
            at_most=5.0,
            peer=f"the turn before, with {FIRST:,}: {seconds / 60:.2f} min",
        ),
        Row(
            id="rank.turn.gain",
            what="MRR of the second turn's ranker less that of the first one's, on the same test intents",
            value=round(against["difference"], 4),
            unit="MRR",
            at_least=0.0,
            peer=f"{first['learn']['kind']} then {second['learn']['kind']}: {against['mrr']:.4f} before "
            f"({against['difference_low']:+.4f} to {against['difference_high']:+.4f}); {second['learn']['verdict']}",
        ),
    ]


def _write(path: Path, rows: Iterable[Record]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _run_file(folder: Path) -> str:
    return (
        "name: loop\nsource: {pydocs: {}}\n"
        f"catalogue:\n  tools: {{path: {folder / 'tools.jsonl'}}}\n  traces: {{path: '{folder / 'traces-*.jsonl'}'}}\n"
    )


def _turn(run: Path, folder: Path) -> tuple[dict[str, Any], float]:
    """The result of ``catena learn``, and its seconds by the clock."""
    started = time.perf_counter()
    words = [sys.executable, "-m", "ray_apps.learn", str(run), "--workspace", str(folder / "workspace"), "--json"]
    printed = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, cwd=RUNS.parent).stdout
    return read_summary(printed), time.perf_counter() - started
