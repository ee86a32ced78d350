"""What a killed worker costs: the demo's link model is trained undisturbed, and once more with a kill in mid-epoch."""

import json
import logging
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.rows import Row
from benchmarks.whole_runs import RUNS, read_summary, summary_words

logger = logging.getLogger("catena")

WORKER = "RayTrainWorker"  # in the title that Ray gives the worker's process
EPOCHS_BEFORE = 3  # in the checkpoint after which the worker is killed
WAIT_S = 600.0
NOISE = 0.008  # two deviations of the demo's MRR over seeds of its training

History = list[dict[str, Any]]


class Kill(NamedTuple):
    """One kill: the epochs that the last checkpoint had, and seconds since it was written."""

    kept: History
    seconds_since: float


def measure(name: str = "demo") -> list[Row]:
    """Work lost and final MRR of a run whose worker is killed, beside the same run undisturbed; about five minutes."""
    with tempfile.TemporaryDirectory() as quiet, tempfile.TemporaryDirectory() as disturbed:
        undisturbed = _evaluate(name, Path(quiet), kill=False)[0]
        result, kill = _evaluate(name, Path(disturbed), kill=True)
        assert kill is not None
        history = json.loads(next(Path(disturbed).glob("train/*/result.json")).read_text())["history"]
    return kill_rows(name, undisturbed["links"]["model"]["mrr"], result["links"]["model"]["mrr"], history, kill)


def kill_rows(name: str, undisturbed: float, mrr: float, history: History, kill: Kill) -> list[Row]:
    """The rows of one killed worker.

    Args:
        name: of the run.
        undisturbed: MRR without a kill.
        mrr: with it.
        history: of the killed training, one mapping an epoch, with ``seconds``.
        kill: when it was.
    """
    again = sum(before != after for before, after in zip(kill.kept, history, strict=False))
    epoch_s = sorted(row["seconds"] for row in history)[len(history) // 2]
    return [
        Row(
            id=f"links.{name}_kill_epochs_lost",
            what=f"epochs of work lost by a worker of {name} killed in mid-epoch: since its last checkpoint, and "
            "epochs in that checkpoint that were trained again; a checkpoint is written each epoch",
            value=round(again + kill.seconds_since / epoch_s, 2),
            unit="epochs",
            at_most=1.0,
            peer=f"killed after {len(kill.kept)} epochs of {epoch_s:.2f} s; {again} of them trained again",
        ),
        Row(
            id=f"links.{name}_kill_mrr_difference",
            what=f"filtered MRR of {name} after the kill, distance to the undisturbed training",
            value=round(abs(mrr - undisturbed), 4),
            unit="MRR",
            at_most=NOISE,
            peer=f"undisturbed {undisturbed:.4f}, killed {mrr:.4f}; bound: two deviations over five seeds",
        ),
    ]


def _evaluate(name: str, workspace: Path, kill: bool) -> tuple[dict[str, Any], Kill | None]:
    words = summary_words("evaluate", name, "--workspace", str(workspace))
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=RUNS.parent) as process:
        killed = _kill_worker(process, workspace) if kill else None
        printed, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}")
    return read_summary(printed), killed


def _kill_worker(trains: subprocess.Popen[str], workspace: Path) -> Kill:
    """Kill the worker half an epoch after a checkpoint."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end and trains.poll() is None:
        for checkpoints in workspace.glob("**/checkpoint_manager_snapshot.json"):
            kept = noted_history(checkpoints.parent.parent)
            if len(kept) < EPOCHS_BEFORE:
                continue
            written = checkpoints.stat().st_mtime
            time.sleep(max(0.0, kept[-1]["seconds"] / 2 - (time.time() - written)))
            kept = noted_history(checkpoints.parent.parent) or kept
            since = time.time() - checkpoints.stat().st_mtime
            for process in psutil.Process(trains.pid).children(recursive=True):
                if WORKER in " ".join(process.cmdline()):
                    process.kill()
                    logger.info("bench links: killed worker %d after %d epochs", process.pid, len(kept))
                    return Kill(kept, since)
        time.sleep(0.02)
    trains.kill()
    raise RuntimeError(f"no worker was seen after {EPOCHS_BEFORE} epochs and before its end")


def noted_history(out: Path) -> History:
    """History in the newest checkpoint that Ray Train has noted; empty where there is none, or it is being replaced.

    Args:
        out: the training's folder.
    """
    try:
        noted = json.loads((out / "checkpoints/checkpoint_manager_snapshot.json").read_text())
        folder = (noted["latest_checkpoint_result"] or {"checkpoint_dir_name": "none"})["checkpoint_dir_name"]
        progress = json.loads((out / "checkpoints" / folder / "progress.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return []
    history: History = progress["history"]
    return history
