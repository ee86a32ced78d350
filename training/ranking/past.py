"""What is known of capabilities' pasts: now, for what is served, and before each trace, for what is trained.

A trace that is trained on must not find its own outcome among the features it is trained with: the model would learn to
trust a past more than it can be trusted with the next request. So each is trained with a *view*, features of all
capabilities as they were without it. Traces with a time see what had ended before a moment that is not after their own;
traces without one see what other intents brought (out of fold, as in stacking: Wolpert, Neural Networks 5, 1992).

Shapes: N traces, C capabilities, F features, Q intents, V views.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from data.capabilities.catalogue import Catalogue
from data.capabilities.features import NAMES, PAST, features_at, features_of, structure_of
from data.capabilities.traces import Traces
from evaluation.capability_split import PARTS, folds_of

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

MOMENTS = 32  # at which the past is looked at; between two of them it is as it was at the first
FOLDS = 5  # of the intents of traces without a time
CELLS = 64_000_000  # most values of the views, 256 MB: of large catalogues fewer moments are looked at
FOLD_SEED = 17


@dataclass(frozen=True)
class Past:
    """Features of all capabilities.

    Attributes:
        names: of the features, F.
        now: float32 (C, F), after the last trace that is trained on; what is judged and served is ranked by these.
        views: float32 (V, C, F), what was known before.
        view: int64 (N,), the view that each trace is trained with.
    """

    names: tuple[str, ...]
    now: Floats
    views: Floats
    view: Numbers

    @classmethod
    def none(cls, capabilities: int, traces: int) -> "Past":
        """Of a ranker that weighs no features."""
        empty = np.zeros((capabilities, 0), np.float32)
        return cls((), empty, empty[None], np.zeros(traces, np.int64))

    @classmethod
    def of(cls, catalogue: Catalogue, traces: Traces, part: Numbers, wanted: Sequence[str]) -> "Past":
        """From the traces that are trained on. Those of held-out intents do not count: they would be given away.

        Args:
            catalogue: of the traces.
            traces: all of them.
            part: int64 (Q,), place of each intent's part in ``PARTS``.
            wanted: names of features; the others are left out.
        """
        if not wanted:
            return cls.none(len(catalogue), len(traces))
        learned = np.flatnonzero(part[traces.intent] == PARTS.index("train"))
        seen = traces.take(learned)
        columns = [NAMES.index(name) for name in wanted]
        now = features_of(catalogue, seen, int(seen.time.max(initial=-1)) + 1).values_CF[:, columns]
        timed = seen.time >= 0
        views, view = [now[None]], np.zeros(len(traces), np.int64)
        if timed.any():
            moments = _moments(seen.time[timed], max(1, min(MOMENTS, CELLS // max(now.size, 1))))
            view[learned[timed]] = np.searchsorted(moments, seen.time[timed], side="right")
            views.append(_at(catalogue, seen, moments)[:, :, columns])
        if not timed.all():
            fold_N = folds_of(seen.intents, FOLDS, FOLD_SEED)[seen.intent]
            view[learned[~timed]] = sum(map(len, views)) + fold_N[~timed]
            views.append(np.stack([_without(catalogue, seen, fold_N == fold)[:, columns] for fold in range(FOLDS)]))
        return cls(tuple(wanted), now, np.concatenate(views), view)


def _moments(time_N: Numbers, count: int) -> Numbers:
    """Ascending times with about as many traces between each two; the first is that of the first trace."""
    return np.unique(np.quantile(time_N, np.arange(count) / count, method="lower"))


def _at(catalogue: Catalogue, traces: Traces, moments_V: Numbers) -> Floats:
    """Features of all capabilities by what had ended before some moments, float32 (V, C, len(NAMES))."""
    count = len(catalogue)
    everyone, times = np.tile(np.arange(count), len(moments_V)), np.repeat(moments_V, count)
    past = features_at(catalogue, traces, everyone, times).reshape(len(moments_V), count, len(PAST))
    structure = np.broadcast_to(structure_of(catalogue), (len(moments_V), count, len(NAMES) - len(PAST)))
    return np.concatenate([past, structure], axis=2)


def _without(catalogue: Catalogue, traces: Traces, left_out_N: npt.NDArray[np.bool_]) -> Floats:
    """Features of all capabilities by the other traces, float32 (C, len(NAMES))."""
    others = traces.take(np.flatnonzero(~left_out_N))
    return features_of(catalogue, others, int(traces.time.max(initial=-1)) + 1).values_CF


def after(past: Past) -> Past:
    """The same, trained with what is known now: each trace's own outcome among it. For comparison."""
    return replace(past, views=past.now[None], view=np.zeros(len(past.view), np.int64))
