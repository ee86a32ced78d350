"""Counterfactual estimators beside the truth of a simulator, for each policy that may have logged."""

from benchmarks.rows import Row
from evaluation.simulated import catalogue, judge, softmax


def measure() -> list[Row]:
    """Two minutes: 200 logs of each of four policies."""
    made = catalogue()
    rows = []
    for one in judge(made, lambda scores: softmax(scores, 0.2)):
        claimed = one.coverage is not None
        rows.append(
            Row(
                id=f"rank.estimators.{one.policy.replace(' ', '_').replace('-', '_')}.{one.kind}",
                what=f"share of 95% intervals of {one.kind} that hold the truth, logged by {one.policy}"
                if claimed
                else f"bias of {one.kind}, which claims no interval, logged by {one.policy}",
                value=round(one.coverage if one.coverage is not None else one.bias, 4),
                unit="share" if claimed else "reward",
                at_least=0.93 if claimed else None,
                peer=f"truth {one.truth:.4f}, bias {one.bias:+.4f}, deviation {one.deviation:.4f}, refused "
                f"{one.refused:.1%} of logs",
            )
        )
    return rows
