"""Whether bf16 or fp16 can replace fp32: measured on this machine with this model, not assumed."""

import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.errors import EncoderUnavailable, InputError

logger = logging.getLogger("catena")

SMALLEST_COSINE = 0.999
_PROSE = (
    "The moon moves the sea twice a day, and the harbour master keeps a book of it. In the first column stands the "
    "hour of high water, in the second its height in feet, in the third the wind. Where the third column is strong "
    "the second departs from the almanac, and the pilots have learned to read one from the other. "
)
TEXTS = (
    "water",
    "How do I invert a sparse matrix?",
    "בראשית ברא אלהים את השמים ואת הארץ",
    "Il n'y a pas de fumée sans feu; 火のない所に煙は立たぬ。",
    "def area(radius: float) -> float:\n    return 3.14159 * radius ** 2  # m²",
    "0.05 < p ≤ 0.1; n = 1,204; 95% CI [0.81, 1.27]",
    _PROSE,
    _PROSE * 4,
)
COPIES = 16  # of the texts, timed on a GPU
Encode = Callable[[tuple[str, ...]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Check:
    """What was measured: the smallest cosine to fp32 vectors, and how many times faster the short form was.

    ``speedup`` is None where it was not timed: a form that has to be used at any speed.
    """

    cosine: float
    speedup: float | None

    @property
    def good(self) -> bool:
        """Whether the short form is as good."""
        return self.cosine >= SMALLEST_COSINE

    @property
    def passed(self) -> bool:
        """Whether the short form is as good and faster."""
        return self.good and self.speedup is not None and self.speedup > 1.0

    def __str__(self) -> str:
        times = f", {self.speedup:.1f} times its speed" if self.speedup is not None else ""
        return f"smallest cosine to fp32 {self.cosine:.5f}{times}"


def bf16_in_hardware(device: str) -> bool:
    """Whether the processor multiplies bf16 matrices itself: AVX512-BF16 or AMX, or a GPU of compute capability 8."""
    import torch

    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and bool(_flags() & {"avx512_bf16", "amx_bf16", "bf16"})  # the last is Arm's


def whole_products_are_faster(device: str) -> bool:
    """Whether bf16 attention is faster as whole products than in torch's fused kernel: AVX512-BF16 without AMX."""
    flags = _flags()
    return device == "cpu" and "avx512_bf16" in flags and "amx_bf16" not in flags


def _flags() -> set[str]:
    """Features of the processor as Linux lists them; empty on other systems."""
    return set(Path("/proc/cpuinfo").read_text().split()) if Path("/proc/cpuinfo").exists() else set()


def check_short(fp32: Encode, short: Encode, device: str, repeats: int = 3) -> Check:
    """Encode the fixed texts in both precisions, turn by turn.

    On a CPU a thread's own time is taken, so that a busy machine does not change the verdict. A GPU is given the texts
    many times over: eight of them take it as long as starting its kernels does, in any precision.

    Args:
        fp32: encodes texts in this thread, float32 of shape (n, dim), unit length.
        short: the same in bf16 or fp16.
        device: where they run.
        repeats: timed rounds after one that is not; with 0 only the cosine is measured.
    """
    clock = time.thread_time if device == "cpu" else time.perf_counter
    timed = TEXTS if device == "cpu" else TEXTS * COPIES
    reference, near = fp32(TEXTS), short(TEXTS)
    seconds: dict[Encode, list[float]] = {fp32: [], short: []}
    for _ in range(repeats):
        for encode, times in seconds.items():
            started = clock()
            encode(timed)
            times.append(clock() - started)
    cosine = float((reference * near).sum(axis=1).min())
    return Check(cosine, statistics.median(seconds[fp32]) / statistics.median(seconds[short]) if repeats else None)


def short_form(device: str) -> str | None:
    """The form that ``auto`` tries on a device: bf16 in hardware, fp16 on a GPU from before that, none elsewhere."""
    if bf16_in_hardware(device):
        return "bf16"
    return "fp16" if device.startswith("cuda") else None


def decide(
    asked: str, device: str, measure: Callable[[str], Check], bound_to_vectors: bool = False
) -> tuple[str, float]:
    """Choose the precision to compute in, log it in one line, and return it with its smallest cosine to fp32.

    Args:
        asked: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        device: where the encoder runs.
        measure: runs the check of a short form; called only where that is possible or asked for.
        bound_to_vectors: the precision is that of existing vectors, not the user's choice: it has to be as good as
            fp32, and may be slower.

    Raises:
        InputError: if a short form is asked for and is not as good as fp32, or not faster.
        EncoderUnavailable: if existing vectors have a short form that is not as good as fp32 here.
    """
    if asked == "fp32":
        if bound_to_vectors:
            logger.info("encoder: fp32 on %s, as the existing vectors", device)
        return "fp32", 1.0
    short = short_form(device) if asked == "auto" else asked
    if short is None:
        logger.info("encoder: fp32 on %s, which has no bf16 arithmetic", device)
        return "fp32", 1.0
    check = measure(short)
    if bound_to_vectors:
        return _bound_to_vectors(short, device, check)
    if asked != "auto" and not check.passed:
        raise InputError(
            f"encoder.precision: {short} does not pass its check on {device}: {check}; "
            f"needed: cosine at least {SMALLEST_COSINE}, faster than fp32",
            "Use precision: auto or fp32.",
        )
    logger.info("encoder: %s on %s (%s: %s)", short if check.passed else "fp32", device, short, check)
    return (short, check.cosine) if check.passed else ("fp32", 1.0)


def _bound_to_vectors(short: str, device: str, check: Check) -> tuple[str, float]:
    """The short precision of existing vectors, even where it is slower here."""
    if not check.good:
        raise EncoderUnavailable(
            f"the vectors that are there were computed in {short}, which does not pass its check on {device}: {check}; "
            f"needed: cosine at least {SMALLEST_COSINE}",
            f"Go on where {short} passes, or embed again.",
        )
    logger.info("encoder: %s on %s, as the existing vectors (%s)", short, device, check)
    return short, check.cosine
