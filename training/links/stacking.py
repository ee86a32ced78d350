"""What the scorer of pairs is fitted on: links that the states have not seen, in lists with their rivals.

A state has learnt its own training links by heart, so the scorer learns from others: the validation links, and, where
they are few, parts of the training links that are held out in turn from a graph and from states of their own (stacking;
Wolpert, Neural Networks 5, 1992).

Shapes: Q lists, L places of a list, N documents.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp
import torch

from data.graph.graph import Graph, GraphArtifact
from data.matrices import distinct
from evaluation.links import both_directions, unordered_pairs
from training.links.config import ScorerConfig
from training.links.features import FEATURES, STRUCTURE, TEXTS, PairFeatures
from training.links.scorer import Lists, PairScorer, ScorerShape, fit_scorer, list_ranks
from training.links.shortlist import Shortlists
from training.links.task import told_graph

SCORERS: Mapping[str, tuple[str, ...]] = {
    "model": FEATURES,
    "mlp": STRUCTURE,  # what the table calls feature_mlp: nothing learned from words or by states
    "no_states": STRUCTURE + TEXTS,
}
"""What is fitted on one set of lists, and the features that it sees."""

ALONE = tuple(name for name in FEATURES if not name.endswith("degree"))  # may each be chosen alone
_PARTS = 3  # of the lists, each predicted by scorers fitted on the others


def hidden_parts(links: int, valid: int, config: ScorerConfig, seed: int) -> list[np.ndarray]:
    """Parts of the training links to hold out in turn: bool (links,) each; none where validation links are enough.

    A part is a tenth of the training links, so that the graph without it is much like the whole.
    """
    size = max(1, links // 10)
    parts = min(config.folds, -(-max(0, config.links - valid) // size), 10)
    part_of = np.random.default_rng(seed).permutation(links) % 10
    hidden = [part_of == number for number in range(parts)]
    return [part for part in hidden if 0 < part.sum() < links]


def make_lists(
    graph: GraphArtifact,
    seen: Graph,
    states: np.ndarray,
    links: tuple[np.ndarray, np.ndarray],
    config: ScorerConfig,
    seed: int,
    wanted: bool,
) -> Lists:
    """Lists of held-out links, each asked from both ends: the true target, the source's shortlist, random documents.

    Links whose target no shortlist has are left out: no scorer is asked about them, and among rivals from shortlists
    they teach that a middling look is the mark of a link.

    Documents that the source is known to link to, in training or validation, are no rivals. Test links are not looked
    at: they may stand among the rivals, as they do for anyone who does not know them.

    Args:
        graph: documents and their vectors.
        seen: the links that features are counted on.
        states: float32 (N, W), made from the same links.
        links: int64 (L,) twice, held out from both.
        config: how long the lists are.
        seed: of the sample of links and of random rivals.
        wanted: whether they are validation links.
    """
    rng = np.random.default_rng(seed)
    kept = rng.permutation(len(links[0]))[: config.links]
    sources, targets = both_directions(links[0][kept], links[1][kept])
    group, n = np.tile(np.arange(len(kept)), 2), len(graph.ids)
    known = told_graph(graph)
    listed = _listed(Shortlists(seen, graph.vectors, graph.words, states, config.shortlist), sources, n)
    asked = np.isin(np.arange(len(sources)) * n + targets, listed)
    if asked.any():
        sources, targets, group = sources[asked], targets[asked], group[asked]
        listed = listed[asked[listed // n]]
        listed = (np.cumsum(asked) - 1)[listed // n] * n + listed % n
    row, column = _with_random(listed, len(sources), n, config, rng)
    free = ~_linked(known, sources[row], column) & (column != targets[row]) & (column != sources[row])
    row, column = row[free], column[free]
    lengths = np.bincount(row, minlength=len(sources))
    place = 1 + np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    shape = (len(sources), 1 + int(lengths.max(initial=0)))
    documents, absent = np.zeros(shape, np.int64), np.ones(shape, bool)
    documents[:, 0], documents[row, place] = targets, column
    absent[:, 0], absent[row, place] = False, False
    features = np.zeros((*shape, len(FEATURES)), np.float32)
    at, _ = np.nonzero(~absent)
    features[~absent] = PairFeatures(seen, graph.vectors, graph.words, states).pairs(sources[at], documents[~absent])
    return Lists(torch.from_numpy(features), torch.from_numpy(absent), group, np.full(len(group), wanted))


def join(parts: Sequence[Lists]) -> Lists:
    """All lists together, shorter ones filled up with absent places, their groups kept apart."""
    width, features, absent, groups, offset = max(part.absent.shape[1] for part in parts), [], [], [], 0
    for part in parts:
        gap = width - part.absent.shape[1]
        features.append(torch.nn.functional.pad(part.features, (0, 0, 0, gap)))
        absent.append(torch.nn.functional.pad(part.absent, (0, gap), value=True))
        groups.append(part.group + offset)
        offset += int(part.group.max(initial=-1)) + 1
    wanted = np.concatenate([part.wanted for part in parts])
    return Lists(torch.cat(features), torch.cat(absent), np.concatenate(groups), wanted)


def choose(
    lists: Lists, features: Sequence[str], config: ScorerConfig, seed: int
) -> tuple[PairScorer, dict[str, float], str]:
    """The best scorer of these features on validation links: a network, a linear map, or one of them alone.

    What is fitted is judged on lists that it was not fitted on. A single feature that is better than both wins, so that
    the model is not worse than a baseline that it contains.

    Returns:
        The scorer, fitted on all lists; the MRR of each choice in the lists of validation links; the name of the best.
    """
    quick = config.model_copy(update={"members": 1})
    kinds = {"network": quick, "linear": quick.model_copy(update={"units": 0})} if config.units else {"linear": quick}
    figures = {kind: cross_fitted(lists, features, settings, seed) for kind, settings in kinds.items()}
    judged = lists.at(_judged(lists))
    for name in features:
        if name in ALONE:
            figures[name] = float((1 / list_ranks(judged.features[..., FEATURES.index(name)], judged.absent)).mean())
    best = max(figures, key=lambda name: figures[name])
    if best not in kinds:
        return _alone(best, config), figures, best
    settings = config if best == "network" else config.model_copy(update={"units": 0})
    return fit_scorer(lists, features, settings, seed), figures, best


def cross_fitted(lists: Lists, features: Sequence[str], config: ScorerConfig, seed: int) -> float:
    """MRR in the lists of validation links, each scored by a scorer that was fitted on other links."""
    part = np.random.default_rng(seed).permutation(int(lists.group.max(initial=0)) + 1)[lists.group] % _PARTS
    judged = _judged(lists)
    reciprocal = np.zeros(len(lists.group))  # what nothing could be fitted for counts 0
    for number in range(_PARTS):
        others, own = np.flatnonzero(part != number), judged[part[judged] == number]
        if not len(own) or not len(others):
            continue
        held = lists.at(own)
        scorer = fit_scorer(lists.at(others), features, config, seed)
        with torch.inference_mode():
            reciprocal[own] = 1 / list_ranks(scorer(held.features), held.absent)
    return float(reciprocal[judged].mean())


def _judged(lists: Lists) -> np.ndarray:
    """The lists of validation links; where there are none, all of them."""
    return np.flatnonzero(lists.wanted) if lists.wanted.any() else np.arange(len(lists.group))


def _alone(name: str, config: ScorerConfig) -> PairScorer:
    scorer = PairScorer(ScorerShape(features=(name,), units=0, members=0, shortlist=config.shortlist))
    torch.nn.init.ones_(scorer.direct.weight)
    torch.nn.init.zeros_(scorer.direct.bias)
    return scorer.eval()


def _listed(shortlists: Shortlists, sources: np.ndarray, documents: int) -> np.ndarray:
    """Shortlists as codes row * documents + document, ascending."""
    codes = [np.zeros(0, np.int64)]
    for start in range(0, len(sources), 256):
        row, column = shortlists.of(sources[start : start + 256])
        codes.append((row + start) * documents + column)
    return distinct(np.concatenate(codes))


def _with_random(
    listed: np.ndarray, sources: int, documents: int, config: ScorerConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and documents of shortlists and of random ones, each pair once, ascending."""
    rows = np.repeat(np.arange(sources), config.random)
    codes = distinct(np.concatenate([listed, rows * documents + rng.integers(0, documents, len(rows))]))
    return codes // documents, codes % documents


def _linked(known: Graph, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    if not len(sources):
        return np.zeros(0, bool)
    matrix: sp.csr_matrix = known.adjacency
    found: np.ndarray = np.asarray(matrix[sources, targets]).ravel() > 0
    return found


def valid_pairs(graph: GraphArtifact) -> tuple[np.ndarray, np.ndarray]:
    """The validation links, each unordered pair once."""
    return unordered_pairs(*graph.links("valid"))
