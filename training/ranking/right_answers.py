"""All right answers to an intent, whichever trace has them: one trace's success is no negative of another's.

Shapes: Q intents, N traces that are learned from, E right answers of all intents, B traces of a batch, A pairs of a
trace of the batch and another right answer to its intent, K capabilities that were drawn.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.capability_metrics import successes_of
from training.ranking.experience import Experience, Numbers, Values


@dataclass(frozen=True)
class RightAnswers:
    """What succeeded for the intents of some traces.

    Attributes:
        starts: int64 (N,), where the answers to each trace's intent begin.
        counts: int64 (N,), how many they are; 0 where there is none but the trace's own.
        chosen: int64 (N,), the trace's own.
        reward: float64 (N,), of it.
        items: int64 (E,), capabilities.
        grades: float64 (E,), the best reward that each had for the intent.
    """

    starts: Numbers
    counts: Numbers
    chosen: Numbers
    reward: Values
    items: Numbers
    grades: Values

    @classmethod
    def of(cls, experience: Experience, numbers: Numbers) -> "RightAnswers":
        """Of the traces that are learned from, and of no others: held-out intents have no part in it.

        Args:
            experience: traces and rewards.
            numbers: of those traces, int64 (N,).
        """
        traces, reward = experience.traces.take(numbers), experience.reward[numbers]
        found = successes_of(traces, reward, np.ones(len(traces.intents), bool))
        starts_Q = np.searchsorted(found.intents[found.query_E], np.arange(len(traces.intents) + 1))
        counts_N = np.diff(starts_Q)[traces.intent]
        return cls(
            starts=starts_Q[traces.intent],
            counts=np.where(counts_N < 2, 0, counts_N),
            chosen=traces.chosen,
            reward=reward,
            items=found.item_E,
            grades=found.grade_E,
        )

    def others(self, rows: Numbers) -> tuple[Numbers, Numbers]:
        """Right answers beside the chosen one, as places in a batch and capabilities: int64 (A,) each.

        An answer that is worth less than the trace's own stays a negative of it: a partial success is to be ranked
        below a whole one.

        Args:
            rows: int64 (B,), of the traces.
        """
        counts_B = self.counts[rows]
        place = np.repeat(np.arange(len(rows)), counts_B)
        within = np.arange(len(place)) - np.repeat(np.cumsum(counts_B) - counts_B, counts_B)
        answer = self.starts[rows][place] + within
        items, trace = self.items[answer], rows[place]
        other = (items != self.chosen[trace]) & (self.grades[answer] >= self.reward[trace])
        return place[other], items[other]


def drawn_among(candidates_K: Tensor, rows_A: Tensor, items_A: Tensor) -> tuple[Tensor, Tensor]:
    """Where capabilities are among those that were drawn, with repeats: rows, and columns in ``candidates_K``.

    Args:
        candidates_K: int64, drawn.
        rows_A: int64, of a table of scores.
        items_A: int64, the capability that is looked for in each of them.
    """
    ordered, column = candidates_K.sort()
    first, last = torch.searchsorted(ordered, items_A), torch.searchsorted(ordered, items_A, right=True)
    pair = torch.repeat_interleave(last - first)
    before = torch.cumsum(last - first, dim=0) - (last - first)
    within = torch.arange(len(pair), device=pair.device) - before[pair]
    return rows_A[pair], column[first[pair] + within]
