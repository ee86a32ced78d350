"""What a ranker of capabilities learns from: a catalogue, its traces, vectors of all texts, and who is held out.

Shapes: Q intents, C capabilities, T tools, N traces, D dimensions of texts.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from data.capabilities.catalogue import Catalogue
from data.capabilities.traces import Traces
from evaluation.capability_metrics import Successes, successes_of
from evaluation.capability_split import PARTS, Part
from training.ranking.past import Past

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Experience:
    """Everything in memory, by number.

    Attributes:
        catalogue: tools and capabilities.
        traces: what was run, and what became of it.
        intents: float32 (Q, D), unit length, of ``traces.intents``.
        capabilities: float32 (C, D), unit length.
        tools: float32 (T, D), unit length.
        fingerprint: of the encoder.
        part: int64 (Q,), place of each intent's part in ``PARTS``.
        reward: float64 (N,), what a trace is worth, 0 to 1; NaN where nothing is known of it.
        past: what is known of capabilities besides their texts.
    """

    catalogue: Catalogue
    traces: Traces
    intents: Floats
    capabilities: Floats
    tools: Floats
    fingerprint: str
    part: Numbers
    reward: Values
    past: Past

    @property
    def features(self) -> tuple[str, ...]:
        """Names of what is known of a capability's past."""
        return self.past.names

    def over(self, traces: Traces, part: Numbers, reward: Values) -> "Experience":
        """The same catalogue with other traces of the same intents, or others held out; the past is that of these."""
        past = Past.of(self.catalogue, traces, part, self.past.names)
        return replace(self, traces=traces, part=part, reward=reward, past=past)

    def intents_in(self, *parts: Part) -> Mask:
        """Bool (Q,): which intents are in some parts."""
        return np.isin(self.part, [PARTS.index(part) for part in parts])

    def traces_in(self, *parts: Part) -> Numbers:
        """Numbers of the traces of those intents whose reward is known."""
        return np.flatnonzero(self.intents_in(*parts)[self.traces.intent] & ~np.isnan(self.reward))

    def successes(self, *parts: Part) -> Successes:
        """What succeeded for intents of some parts, among what can run."""
        return successes_of(self.traces, self.reward, self.intents_in(*parts))

    @cached_property
    def propensity(self) -> Values:
        """Probability with which each trace's choice was made, float64 (N,); NaN where no log has it.

        A log of what was put first has none of another choice: that was the caller's.
        """
        lists = self.traces.shown
        owner = np.repeat(np.arange(len(self.traces)), np.diff(lists.indptr))
        own = (lists.values == self.traces.chosen[owner]) & ~self.traces.passed_over[owner]
        found = np.full(len(self.traces), np.nan)
        found[owner[own]] = self.traces.propensities.values[own]
        return found


@dataclass(frozen=True)
class Counts:
    """What some traces say of each capability.

    Attributes:
        succeeded: float64 (C,), sum of rewards.
        failed: float64 (C,), sum of what was missing to 1.
    """

    succeeded: Values
    failed: Values

    @classmethod
    def of(cls, experience: Experience, numbers: Numbers) -> "Counts":
        """Of some traces."""
        chosen, reward, count = experience.traces.chosen[numbers], experience.reward[numbers], len(experience.catalogue)
        sums = (np.bincount(chosen, weights, count).astype(np.float64) for weights in (reward, 1 - reward))
        return cls(*sums)

    def times(self, factor: float) -> "Counts":
        """As of so many times as many traces."""
        return Counts(self.succeeded * factor, self.failed * factor)

    @property
    def rate(self) -> Values:
        """Success rate, float64 (C,), with one success and one failure that nobody saw (Laplace)."""
        return np.asarray((self.succeeded + 1) / (self.succeeded + self.failed + 2))
