"""One row of a figures table, how it is measured, and the Markdown that keeps it."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

RESULTS = Path("benchmarks/results")


def describe_hardware() -> str:
    """The machine in a few words that fit a file name: cores, processor, accelerator."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores}-cores-{platform.machine()}" + _cpu_feature() + _accelerator()


def _cpu_feature() -> str:
    """Whether the processor multiplies bf16 matrices in hardware: it decides the embedding figures."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "-amx" if "amx_bf16" in flags else "-avx512bf16" if "avx512_bf16" in flags else ""


def _accelerator() -> str:
    import torch

    if not torch.cuda.is_available():
        return ""
    return "-" + torch.cuda.get_device_name(0).lower().replace("nvidia ", "").replace(" ", "-")


def today() -> str:
    """The date of a measurement, ISO."""
    return datetime.now(UTC).date().isoformat()


class Row(BaseModel):
    """One line of a figures table: what was measured, its bound, and what it is compared with.

    Exactly one of ``at_least`` and ``at_most`` is the bound; ``reach`` is the figure hoped for beyond it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(description="name of the row, stable over time: 'embed.speed_ratio'")
    what: str = Field(description="what was measured, in a sentence a reader understands alone")
    value: float = Field(description="median of the repetitions")
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    reach: float | None = None
    peer: str = Field("", description="what it was measured against, in the same run, with its own figure")
    hardware: str = Field(default_factory=describe_hardware)
    date: str = Field(default_factory=today)

    @property
    def met(self) -> bool:
        """Whether the value keeps its bound; a row without one always does."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )


def median_seconds(work: Callable[[], object], repeats: int = 3, warmup: int = 1) -> float:
    """Median wall-clock seconds of ``work`` over ``repeats`` calls, after ``warmup`` calls that do not count."""
    for _ in range(warmup):
        work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def median_ratio(
    ours: Callable[[], object], peer: Callable[[], object], repeats: int = 3
) -> tuple[float, float, float]:
    """How many times faster ``ours`` is than ``peer``, both measured turn by turn so that a busy machine slows both.

    Returns:
        median of peer seconds / our seconds, median seconds of ours, median seconds of the peer.
    """
    pairs = []
    for _ in range(repeats):
        pairs.append((median_seconds(ours, 1, 0), median_seconds(peer, 1, 0)))
    return (
        statistics.median(theirs / own for own, theirs in pairs),
        statistics.median(own for own, _ in pairs),
        statistics.median(theirs for _, theirs in pairs),
    )


def markdown(name: str, rows: Sequence[Row], not_measured: Mapping[str, str] | None = None) -> str:
    """The rows as a Markdown page headed by hardware and date; below them, why parts could not be measured."""
    lines = [
        f"# {name}: {rows[0].hardware}, {rows[0].date}",
        "",
        "| row | what | value | bound | reach for | met | beside |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{row.id}` | {row.what} | {_figure(row.value)} {row.unit} | {_bound(row)} | {_figure(row.reach)} "
        f"| {'yes' if row.met else 'no'} | {row.peer} |"
        for row in rows
    ]
    if not_measured:
        lines += ["", "Not measured: " + "; ".join(f"`{part}`: {why}" for part, why in not_measured.items())]
    return "\n".join(lines) + "\n"


def write_markdown(
    name: str, rows: Sequence[Row], not_measured: Mapping[str, str] | None = None, folder: Path = RESULTS
) -> Path:
    """Write ``<name>_<hardware>_<yyyy-mm>.md``; a second measurement in the same month replaces the first."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{rows[0].hardware}_{rows[0].date[:7]}.md"
    path.write_text(markdown(name, rows, not_measured), encoding="utf-8")
    return path


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _bound(row: Row) -> str:
    if row.at_least is not None:
        return f"at least {_figure(row.at_least)}"
    return f"at most {_figure(row.at_most)}" if row.at_most is not None else ""
