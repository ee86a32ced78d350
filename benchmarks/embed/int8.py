"""What int8 costs and brings on labelled sets: as good as fp32 and faster, or refused by the gate.

A row is bound only where the gate lets int8 through: where it refuses, the row shows the figures it refused by.
"""

from pathlib import Path
from typing import Any

from benchmarks.rows import Row
from data.encoders.onnx.export import require
from ray_apps.config import load_run
from ray_apps.plan import Plan

RUNS = Path(__file__).resolve().parents[2] / "runs"
FORM = "onnx int8"


def measure() -> list[Row]:
    """nDCG@10 lost on SciFact and Cranfield, and speed against bf16; the gate's own figures, kept by it.

    Raises:
        InputError: if ONNX is not installed, or a corpus is not there.
    """
    require("onnx", "onnxruntime", "onnxscript")
    checked: dict[str, dict[str, Any]] = {}
    for name in ("scifact", "cranfield"):
        plan = Plan(load_run(RUNS / f"{name}.yaml"))
        checked[name] = plan.bring("gate").result
    return [*(_loss(name, result) for name, result in checked.items()), _speed(checked["scifact"])]


def _loss(name: str, result: dict[str, Any]) -> Row:
    lines = {line["form"]: line for line in result["forms"]}
    line, exact = lines[FORM], lines["torch fp32"]
    return Row(
        id=f"embed.int8_ndcg_loss_{name}",
        what=f"nDCG@10 that calibrated int8 loses on {name}, {result['questions']} questions over {result['passages']} "
        f"of {result['of_passages']} passages, exact dense search; {_decision(line)}",
        value=100 * line["ndcg_loss"] if line["ndcg_loss"] is not None else 100.0,  # what does not load finds nothing
        unit="%",
        at_most=0.5 if line["accepted"] else None,
        peer=f"torch fp32: {exact['ndcg_at_10']:.4f}; int8: {line['ndcg_at_10'] or 0:.4f}, smallest cosine "
        f"{line['cosine_min']:.4f}",
    )


def _speed(result: dict[str, Any]) -> Row:
    lines = {line["form"]: line for line in result["forms"]}
    line = lines[FORM]
    peer = lines.get("torch bf16", lines["torch fp32"])
    note = "" if peer["form"] == "torch bf16" else " (this processor has no bf16 arithmetic)"
    return Row(
        id="embed.int8_speed",
        what=f"documents per second of calibrated int8 over those of {peer['form']}{note}, passages of scifact; "
        f"{_decision(line)}",
        value=line["documents_per_s"] / peer["documents_per_s"] if peer["documents_per_s"] else 0.0,
        unit="times",
        at_least=1.0 if line["accepted"] else None,
        peer=", ".join(f"{other['form']}: {other['documents_per_s']:.1f} documents/s" for other in result["forms"]),
    )


def _decision(line: dict[str, Any]) -> str:
    return "the gate accepts it" if line["accepted"] else f"the gate refuses it: {line['reason']}"
