"""Values of sequences by temporal differences: TD(lambda), by its forward and its backward view.

A sequence is what followed when a ranking was shown: what was chosen, the outcome of each step, the last outcome. Where
feedback is one step there is nothing here to learn: its reward is its return, and a bandit fits better.

Shapes: S sequences of T steps each, of different lengths, one after the other in M steps; D features of a state.
``starts_S`` has the place of each sequence's first step, so that sequence s is steps ``starts_S[s]`` up to the next
start.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from data.artifacts import StageConfig

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


class TDConfig(StageConfig):
    """How far ahead values look, and how they are fitted."""

    gamma: float = Field(0.99, ge=0, le=1, description="what a reward one step later is worth")
    trace_decay: float = Field(
        0.95, ge=0, le=1, description="lambda: share of what follows that is seen; the rest is the next value"
    )
    rate: float = Field(0.5, gt=0, description="of a step, over the largest squared length of features")
    sweeps: int = Field(100, ge=1, description="times that all sequences are learnt from")


@dataclass(frozen=True)
class Sequences:
    """Sequences one after the other.

    Attributes:
        rewards: float64 (M,), each for the step from its state to the next.
        starts: int64 (S,), rising from 0; no sequence is empty.
        after: float64 (S,), the value of the state after the last step: 0 where the sequence has ended, the value of
            that state where it was only cut off there.
    """

    rewards: Floats
    starts: Places
    after: Floats

    def __post_init__(self) -> None:
        ends = np.append(self.starts, len(self.rewards))
        if not len(self.starts) or ends[0] != 0 or (np.diff(ends) < 1).any() or len(self.after) != len(self.starts):
            raise ValueError("starts rise from 0 to below the number of rewards, each with the value after it")

    @property
    def lengths(self) -> Places:
        """Steps of each, int64 (S,)."""
        return np.diff(np.append(self.starts, len(self.rewards)))

    def steps(self) -> "list[Places]":
        """Places of the first steps of all sequences, of the second steps, and so on, each in the order of lengths.

        Sequences are by falling length, so that step t has the first of those of step t - 1, in the same order.
        """
        order = np.argsort(-self.lengths, kind="stable")
        starts, lengths = self.starts[order], self.lengths[order]
        longer = len(lengths) - np.searchsorted(lengths[::-1], np.arange(1, lengths[0] + 1), side="left")
        return [starts[:count] + step for step, count in enumerate(longer)]


def unpadded(rewards_ST: Floats, lengths_S: Places, after_S: Floats | None = None) -> Sequences:
    """Sequences of a table, whose rows are filled up behind their lengths.

    Raises:
        ValueError: if a length is less than 1 or more than T.
    """
    if not 1 <= lengths_S.min() <= lengths_S.max() <= rewards_ST.shape[1]:
        raise ValueError(f"lengths from 1 to {rewards_ST.shape[1]} wanted, got {lengths_S.min()} to {lengths_S.max()}")
    there = np.arange(rewards_ST.shape[1]) < lengths_S[:, None]
    starts = np.cumsum(lengths_S) - lengths_S
    return Sequences(rewards_ST[there], starts, np.zeros(len(lengths_S)) if after_S is None else after_S)


def next_values(values_M: Floats, sequences: Sequences) -> Floats:
    """The value of the state after each step, float64 (M,)."""
    values = np.append(values_M[1:], 0.0)
    values[sequences.starts + sequences.lengths - 1] = sequences.after
    return values


def td_errors(values_M: Floats, sequences: Sequences, gamma: float) -> Floats:
    """What each step says beyond the value of its state: r + gamma V(next) - V(state), float64 (M,)."""
    return sequences.rewards + gamma * next_values(values_M, sequences) - values_M


def lambda_returns(values_M: Floats, sequences: Sequences, gamma: float, lambda_: float) -> Floats:
    """The lambda-return from each step on (Sutton and Barto, Reinforcement Learning, 2018, eq. 12.2 and 12.3).

    G_t = r_t + gamma ((1 - lambda) V_t+1 + lambda G_t+1), from the last step back, all sequences at once.

    Args:
        values_M: of the state of each step, as they are now.
        sequences: of rewards.
        gamma: what a reward one step later is worth.
        lambda_: 0 sees one reward, 1 all.

    Returns:
        float64 (M,).
    """
    found = sequences.rewards + gamma * next_values(values_M, sequences)
    steps = sequences.steps()
    for here, later in zip(steps[-2::-1], steps[:0:-1], strict=True):
        places = here[: len(later)]  # of the sequences that go on
        found[places] += gamma * lambda_ * (found[later] - values_M[later])
    return found


def forward_step(features_MD: Floats, weights_D: Floats, sequences: Sequences, gamma: float, lambda_: float) -> Floats:
    """What linear values are to change by, as the forward view has it: towards the returns, float64 (D,)."""
    values = features_MD @ weights_D
    return (lambda_returns(values, sequences, gamma, lambda_) - values) @ features_MD


def backward_step(features_MD: Floats, weights_D: Floats, sequences: Sequences, gamma: float, lambda_: float) -> Floats:
    """The same, as the backward view has it: each step's error goes to the states before it, by their traces.

    Traces e_t = gamma lambda e_t-1 + x_t accumulate, and weights change only after the last step, so that both views
    are equal (Sutton and Barto, 2018, section 12.2). It needs no future: it is what can run while a sequence goes on.
    """
    errors = td_errors(features_MD @ weights_D, sequences, gamma)
    change, traces = np.zeros(features_MD.shape[1]), np.zeros((len(sequences.starts), features_MD.shape[1]))
    for places in sequences.steps():
        traces = gamma * lambda_ * traces[: len(places)] + features_MD[places]
        change += errors[places] @ traces
    return change


def fit(features_MD: Floats, sequences: Sequences, config: TDConfig) -> Floats:
    """Weights of linear values, float64 (D,), learnt by sweeps over all sequences.

    The step is the mean over all steps, so that it does not depend on how many there are.
    """
    weights = np.zeros(features_MD.shape[1])
    rate = config.rate / max(float((features_MD**2).sum(axis=1).max()), 1e-12) / len(features_MD)
    for _ in range(config.sweeps):
        weights = weights + rate * forward_step(features_MD, weights, sequences, config.gamma, config.trace_decay)
    return weights
