"""What is known of a capability besides its text: how often it ran and what came of it, and where it stands.

A trace counts from the moment on at which it had ended, its time and the seconds that it ran. One without a time counts
in no window, and before all that have one, in the order of the table.

Shapes: C capabilities, N traces, F features, M questions.
"""

from dataclasses import dataclass

import numpy as np

from data.capabilities.catalogue import Catalogue, Numbers
from data.capabilities.structure import clustering, pagerank
from data.capabilities.traces import Traces, Values
from data.features.table import Features as Features
from data.features.table import Floats

DAY_US = 86_400_000_000
WINDOWS = {"7d": 7 * DAY_US, "30d": 30 * DAY_US, "all": None}
PAST = (
    *(f"{what}_{window}" for window in WINDOWS for what in ("log_runs", "success")),
    "rating",
    "log_seconds",
)
STRUCTURE = ("log_tools", "pagerank", "clustering")
NAMES = (*PAST, *STRUCTURE)


def features_of(catalogue: Catalogue, traces: Traces, now: int) -> Features:
    """Features of all capabilities.

    Args:
        catalogue: whose capabilities they are.
        traces: of the same catalogue; only what was known before ``now`` counts.
        now: microseconds since 1970.
    """
    everyone = np.arange(len(catalogue))
    past_CF = features_at(catalogue, traces, everyone, np.full(len(catalogue), now))
    values_CF = np.column_stack([past_CF, structure_of(catalogue)])
    return Features(NAMES, values_CF, tuple(catalogue.capabilities), now)


def features_before(catalogue: Catalogue, traces: Traces) -> Floats:
    """Features of the capability that each trace chose, float32 (N, F), by what was known before the trace.

    For training: neither the trace itself nor anything that ended at its time or later counts.
    """
    past_NF = features_at(catalogue, traces, traces.chosen, _ordered(traces.time))
    return np.column_stack([past_NF, structure_of(catalogue)[traces.chosen]])


def features_at(catalogue: Catalogue, traces: Traces, capabilities: Numbers, times: Numbers) -> Floats:
    """Features of the past of some capabilities at some times, float32 (M, len(PAST)).

    Success rates and ratings are smoothed towards one half by two imagined outcomes, one of each kind (Laplace), so
    that one success is no certainty.

    Args:
        catalogue: that the numbers are of.
        traces: all of them; those that end before each time count.
        capabilities: int64 (M,), their numbers.
        times: int64 (M,), microseconds since 1970.
    """
    history = _History.of(traces, len(catalogue))
    columns = []
    for window in WINDOWS.values():
        runs, outcomes, rewards, *_ = history.between(capabilities, times, window)
        columns += [np.log1p(runs), (rewards + 1) / (outcomes + 2)]
    _, _, _, rated, ratings, timed, seconds = history.between(capabilities, times, None)
    columns += [(ratings + 1) / (rated + 2), seconds / np.maximum(timed, 1)]
    return np.column_stack(columns).astype(np.float32)


def structure_of(catalogue: Catalogue) -> Floats:
    """Features of where each capability stands, float32 (C, len(STRUCTURE)).

    PageRank is given as the logarithm of its multiple of the mean, so that it does not shrink as a catalogue grows.
    """
    graph = catalogue.graph()
    rank_C = pagerank(graph)[len(catalogue.tools) :]
    sizes_C = np.diff(catalogue.indptr)
    columns = [np.log1p(sizes_C), np.log(np.maximum(rank_C * graph.num_nodes, 1e-12)), clustering(catalogue)]
    return np.column_stack(columns).astype(np.float32)


@dataclass(frozen=True)
class _History:
    """Traces by capability and, within one, by the time at which they were known, with running sums.

    Attributes:
        keys: int64 (N,), ascending: capability and place of the time among all times.
        times: int64, ascending, all that occur.
        sums: float64 (N + 1, 7): runs, outcomes, rewards, ratings given and their sum, durations and their sum of
            logarithms, of the traces before each.
    """

    keys: Numbers
    times: Numbers
    sums: Values

    @classmethod
    def of(cls, traces: Traces, capabilities: int) -> "_History":
        """Of all traces."""
        seconds = np.nan_to_num(traces.seconds, nan=0.0)
        known = _ordered(traces.time) + np.where(traces.time >= 0, seconds * 1e6, 0).astype(np.int64)
        times, place = np.unique(known, return_inverse=True)
        keys = traces.chosen * (len(times) + 1) + place
        order = np.argsort(keys, kind="stable")
        columns = [np.ones(len(keys))]
        for values, told in ((traces.reward, np.asarray), (traces.rating, np.asarray), (traces.seconds, np.log1p)):
            there = ~np.isnan(values)
            columns += [there.astype(np.float64), np.where(there, told(np.where(there, values, 0.0)), 0.0)]
        sums = np.zeros((len(keys) + 1, len(columns)))
        np.cumsum(np.column_stack(columns)[order], axis=0, out=sums[1:])
        return cls(keys[order], times, sums)

    def between(self, capabilities: Numbers, times: Numbers, window: int | None) -> Values:
        """Sums over the traces of each capability that were known in the window before a time, float64 (7, M)."""
        base = capabilities * (len(self.times) + 1)
        last = np.searchsorted(self.keys, base + np.searchsorted(self.times, times, side="left"), side="left")
        opens = np.full(len(times), np.iinfo(np.int64).min) if window is None else np.maximum(times - window, 0)
        first = np.searchsorted(self.keys, base + np.searchsorted(self.times, opens, side="left"), side="left")
        return np.asarray((self.sums[np.maximum(first, last)] - self.sums[first]).T)


def _ordered(time: Numbers) -> Numbers:
    """Times in microseconds since 1970; those that are not known are before 1970, in their order."""
    count = len(time)
    return np.where(time >= 0, time, np.arange(count, dtype=np.int64) - count)
