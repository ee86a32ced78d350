"""Embedding: the encoder and its peers, the work around it, and what every saving costs: ``benchmarks.embed``.

Tried on two cores with AMX, bf16, abstracts of 241 tokens, and left out. Figures are documents per second of one core's
time, on a machine with other work, against 70 to 82 of what is in use (padded batches, transformers' SDPA attention):

- no padding, attention by stretches of equal length: 6% more at 2,048 tokens a batch, 1% at 4,096, measured by turns
  (a first version gave 6% less to 17% more from run to run), for 120 lines that know only BERT;
- eager attention: 71 at 2,048 tokens a batch, 45 at 4,096;
- attention as two matrix products and a bare exponential: 6 to 11% less than the former, and its scores reach 81, where
  the exponential overflows at 88;
- batches of 1,024, 4,096 and 8,192 tokens: 4% less, 2% more, 3% less.

There, what remains between the encoder and the matrix rate is attention's exponentials (41% of the time), GELU (7%),
copies (6%) and layer norms (5%); matrix products take 33%.

On two cores with AVX512-BF16 and no AMX, the same abstracts, one core's time by turns: attention in whole products
55 documents per second against 44 with torch's fused kernel; weights packed beforehand
for oneDNN (torch's private ``mkldnn`` operators) 6% more, GELU joined to them 3% more, both left out for relying on
what torch does not promise. Matrix products take 73% of the time there, GELU 6%, copies 7%, exponentials 4%.
"""

import importlib
from collections.abc import Callable

from benchmarks.parts import Measured, measure_all
from benchmarks.rows import Row

# The encoder's own rows first: Ray, once connected, keeps a part of a core busy.
PARTS = ("speed", "gpu", "infinity", "map_batches", "cache", "overhead", "scale", "storage", "ensemble", "int8", "late")


def measure(parts: str = "") -> Measured:
    """Every row of the table, and why a part could not be measured here; half an hour on two cores.

    Args:
        parts: names of those to measure, by commas; all where empty.
    """
    return measure_all("embed", {part: _measure(part) for part in PARTS}, parts.split(",") if parts else ())


def _measure(part: str) -> Callable[[], list[Row]]:
    """Its module is imported when its turn comes: some need packages of their own."""

    def measure_part() -> list[Row]:
        rows: list[Row] = importlib.import_module(f"benchmarks.embed.{part}").measure()
        return rows

    return measure_part
