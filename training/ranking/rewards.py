"""What a trace is worth: its outcome, or a return over the outcomes of its steps."""

import numpy as np

from data.capabilities.traces import Traces
from training.ranking.experience import Values
from training.ranking.td import Sequences, TDConfig, fit, lambda_returns

STEPS_APART = 8  # places of a sequence with a value of their own; later ones share the last


def rewards_of(traces: Traces, config: TDConfig | None) -> Values:
    """Worth of each trace, float64 (N,) from 0 to 1; NaN where nothing is known of it.

    With a config, a trace of several steps whose outcomes are known is worth its lambda-return from the first step, its
    last outcome after them, over what a sequence of the same length earns that succeeds throughout. Values are learned
    of the place of a step and of the outcome before it. All others are one step: their outcome is their return.
    """
    found = traces.reward.copy()
    if config is None:
        return found
    lengths = np.diff(traces.steps.indptr)
    owner = np.repeat(np.arange(len(traces)), lengths)
    unknown = np.bincount(owner, np.isnan(traces.steps.values), len(traces)) > 0
    several = np.flatnonzero((lengths >= 2) & ~unknown & ~np.isnan(found))
    if not len(several):
        return found
    taken, last = traces.steps.take(several), found[several]
    rewards = np.insert(taken.values, taken.indptr[1:], last)
    starts = taken.indptr[:-1] + np.arange(len(several))
    sequences = Sequences(rewards, starts, np.zeros(len(several)))
    places = np.arange(len(rewards)) - np.repeat(starts, sequences.lengths)
    before = np.concatenate([[0.5], rewards[:-1]])
    before[starts] = 0.5
    features = np.zeros((len(rewards), STEPS_APART + 1))
    features[np.arange(len(rewards)), np.minimum(places, STEPS_APART - 1)] = 1.0
    features[:, -1] = before
    values = features @ fit(features, sequences, config)
    returns = lambda_returns(values, sequences, config.gamma, config.trace_decay)[starts]
    most = np.cumsum(config.gamma ** np.arange(sequences.lengths.max()))[sequences.lengths - 1]
    found[several] = np.clip(returns / most, 0.0, 1.0)
    return found
