"""How likely links are: of single pairs of documents, and of documents that are not in the corpus.

A run's trained model and its graph, opened once and asked often. Nothing is trained; shortlists, scores, probabilities
and reasons are those of discovery.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.graph.graph import VOCABULARY, Graph, GraphArtifact, load_graph
from data.graph.words import Vocabulary
from discovery.candidates import Candidates, Nodes
from discovery.proposals import Proposed, proposal_table
from discovery.shards import PairScorer, score_both_ways
from discovery.texts import NAMED, telling_words, texts_of
from discovery.unseen import NewDocument, with_documents
from evaluation.calibration import Calibrator
from training.links.nodes import LinkModel, load_model
from training.links.scoring import LinkScorer
from training.links.states import NODE_VECTORS, states_alone
from training.typed.model import is_typed
from training.typed.scoring import WEIGHTS, TypedScorer

Texts = Callable[[Collection[str]], Mapping[str, str]]
"""Finds texts of documents, by id."""

BATCH_PAIRS = 32_768


class LinkPredictor:
    """A trained link model over the graph that it was trained on. It may be asked by several threads.

    Args:
        graph: output folder of the graph stage.
        train: output folder of the train stage.
        calibrator: file that discovery wrote; None: probabilities are those of the scores as they are.
    """

    def __init__(self, graph: Path, train: Path, calibrator: Path | None = None) -> None:
        self.graph = load_graph(graph)
        self.numbers = {id_: number for number, id_ in enumerate(self.graph.ids)}
        self.typed = is_typed(train / WEIGHTS)
        self._folders = train, graph
        self._vocabulary = Vocabulary.load(graph / VOCABULARY) if (graph / VOCABULARY).exists() else None
        self._promised = None if calibrator is None else Calibrator.load(calibrator)

    def pairs(self, pairs: Sequence[tuple[str, str]], texts: Texts | None = None) -> list[dict[str, Any]]:
        """What is known and predicted of pairs of documents, in order.

        Args:
            pairs: ids of the corpus; no document with itself.
            texts: finds texts, for the words that both have; None leaves them out.

        Returns:
            Of each a row like those of ``PROPOSALS``; its ``score`` is the mean of both directions, as in discovery,
            and its ``relation`` that of the likelier one. Further ``outgoing``, whether that leads from the first to
            the second; ``known``, whether the corpus has the link; and ``seen``, whether the model was shown it, so
            that its score tells nothing.
        """
        ends = np.array([[self.numbers[a], self.numbers[b]] for a, b in pairs], np.int64).reshape(-1, 2)
        low, high = ends.min(1), ends.max(1)
        order = np.argsort(low, kind="stable")  # a scorer's cost may be a row of the graph a source
        asked = Candidates(low[order], high[order], np.zeros(len(order), np.uint8))
        both = np.empty((2, len(order)), np.float32)
        both[:, order] = score_both_ways(self._scorer, asked, BATCH_PAIRS)
        upwards = both[0] >= both[1]
        scores = np.asarray((both[0] + both[1]) * np.float32(0.5))
        relation = self._relations(self._scorer, np.where(upwards, low, high), np.where(upwards, high, low))
        proposed = Proposed(
            ends[:, 0], ends[:, 1], self._chances(scores), scores, relation, np.zeros(len(ends), np.uint8)
        )
        found = {} if texts is None else texts({id_ for pair in pairs for id_ in pair})
        terms = [self._shared(found.get(a, ""), found.get(b, "")) for a, b in pairs]
        rows: list[dict[str, Any]] = proposal_table(self.graph, proposed, terms).to_pylist()
        known, seen = (_linked(graph, low, high) for graph in (self.graph.known_graph, self.graph.seen_graph))
        for place, row in enumerate(rows):
            outgoing = bool(upwards[place] == (ends[place, 0] == low[place]))
            row.update(outgoing=outgoing, known=bool(known[place]), seen=bool(seen[place]))
        return rows

    def links_of(
        self,
        new: Sequence[NewDocument],
        vectors: npt.NDArray[np.float32],
        texts: Texts | None = None,
        top: int = 10,
        targets: Sequence[str] | None = None,
    ) -> list[list[dict[str, Any]]]:
        """Links of new documents, from them to those of the corpus.

        Args:
            new: the documents.
            vectors: float32 (m, dim), theirs, unit length.
            texts: as of ``pairs``.
            top: the likeliest of each, best first.
            targets: ids of the corpus, of each of which the link is wanted instead, in order.

        Returns:
            For each document, rows like those of ``PROPOSALS``.

        Raises:
            InputError: as ``with_documents``.
        """
        extended = with_documents(self.graph, new, vectors, self._vocabulary)
        alone = all(not document.links for document in new)
        scorer = LinkScorer.open(self._folders[0], extended, states=self._states(extended) if alone else None)
        wanted = None if targets is None else np.array([self.numbers[id_] for id_ in targets], np.int64)
        found = []
        for place, document in enumerate(new, len(self.graph.ids)):
            best = self._best(scorer, extended, place, top) if wanted is None else wanted
            sources = np.full(len(best), place)
            logits = scorer.score_pairs(sources, best)
            relation = self._relations(scorer, sources, best)
            nowhere = np.zeros(len(best), np.uint8)
            proposed = Proposed(sources, best, self._chances(logits), logits, relation, nowhere)
            others = [extended.ids[other] for other in best.tolist()]
            read = {} if texts is None else texts(others)
            terms = [self._shared(document.whole, read.get(id_, "")) for id_ in others]
            found.append(proposal_table(extended, proposed, terms).to_pylist())
        return found

    def _best(self, scorer: LinkScorer, extended: GraphArtifact, place: int, top: int) -> Nodes:
        """The documents of the corpus that a new one is likeliest linked with, without those it brings links to."""
        (scores,) = scorer.score(np.array([place]))
        brought = extended.seen_graph.adjacency[[place]].indices
        scores[[place, *brought]] = -np.inf
        scores[len(self.graph.ids) :] = -np.inf
        return np.argsort(-scores, kind="stable")[: min(top, len(self.graph.ids) - len(brought))]

    def _states(self, extended: GraphArtifact) -> npt.NDArray[np.float32]:
        """States of all documents, where the new ones bring no links: those of the corpus stay what they were."""
        states = np.load(self._folders[0] / NODE_VECTORS, mmap_mode="r")
        return np.concatenate([states, states_alone(self._model, extended, len(states))])

    @cached_property
    def _model(self) -> LinkModel:
        return load_model(self._folders[0] / "model.safetensors")

    @cached_property
    def _scorer(self) -> PairScorer:
        return (TypedScorer if self.typed else LinkScorer).load(*self._folders)

    def _relations(self, scorer: PairScorer, sources: Nodes, targets: Nodes) -> list[str]:
        if not len(sources):
            return []
        return [scorer.relation_names[number] for number in scorer.relations(sources, targets).tolist()]

    def _chances(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        return self._promised(scores) if self._promised is not None else 1 / (1 + np.exp(-scores.astype(np.float64)))

    def _shared(self, text: str, other: str) -> list[str]:
        """The words that are rarest in the corpus of those that two texts share."""
        if self._vocabulary is None or not text or not other:
            return []
        weights = self._vocabulary.weights(telling_words(text) & telling_words(other))
        both = [word for word, weight in weights.items() if weight > 0]
        return sorted(both, key=lambda word: (-weights[word], word))[:NAMED]


def links_of(
    new: Sequence[NewDocument],
    graph: Path,
    train: Path,
    encode: Callable[[list[str]], npt.NDArray[np.float32]] | None,
    calibrator: Path | None = None,
    documents: Path | None = None,
    top: int = 10,
) -> list[list[dict[str, Any]]]:
    """The likeliest links of new documents, best first, as discovery proposes them.

    Args:
        new: the documents.
        graph: output folder of the graph stage.
        train: output folder of the train stage, of links without type.
        encode: texts to unit vectors, by the encoder of the corpus; None where the corpus has no texts.
        calibrator: file that discovery wrote; None: probabilities are those of the scores as they are.
        documents: the documents table, for the words that both texts have; None leaves them out.
        top: links of each document.

    Returns:
        For each document, rows like those of ``PROPOSALS``.

    Raises:
        InputError: as ``with_documents``.
    """
    predictor = LinkPredictor(graph, train, calibrator)
    dim = predictor.graph.vectors.shape[1]
    vectors = np.zeros((len(new), dim), np.float32)
    if encode is not None and dim:
        vectors = encode([document.whole for document in new])
    return predictor.links_of(new, vectors, None if documents is None else partial(texts_of, documents), top)


def _linked(graph: Graph, low: Nodes, high: Nodes) -> npt.NDArray[np.bool_]:
    """Whether pairs are links of a graph."""
    if not len(low):
        return np.zeros(0, np.bool_)
    return np.asarray(graph.adjacency[low, high]).ravel() > 0
