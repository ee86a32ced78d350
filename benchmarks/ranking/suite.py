"""Every figure of ranking capabilities."""

from benchmarks.parts import Measured, measure_all
from benchmarks.ranking import bundled, choices, estimators, leaks, logged, quality, serving, speed, turn

PARTS = {
    "node2vec": speed.measure_walks,  # those that time something come first
    "replay": speed.measure_replay,
    "td": speed.measure_td,
    "step": speed.measure_step,
    "serve": serving.measure,
    "turn": turn.measure,
    "quality": quality.measure,
    "curve": quality.measure_curve,
    "leaks": leaks.measure,
    "logged": logged.measure,
    "bundled": bundled.measure,
    "choices": choices.measure,
    "estimators": estimators.measure,
}


def measure(parts: str = "") -> Measured:
    """Half an hour on two cores, half of it for the part ``bundled``.

    Args:
        parts: names of those to measure, by commas; all where empty.
    """
    return measure_all("rank", PARTS, parts.split(",") if parts else ())
