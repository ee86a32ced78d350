"""Links of documents that are not in the corpus, from their text and the links they bring; nothing is trained anew.

The graph is extended by the new documents: they have a vector and words like all others, their links are links that may
be seen, and the model's learned vectors, which they lack, count as nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data.errors import InputError
from data.graph.graph import VOCABULARY, GraphArtifact, load_graph
from data.graph.words import Vocabulary
from data.schema import PARTS
from discovery.proposals import Proposed, proposal_table
from discovery.texts import NAMED, telling_words, texts_of
from evaluation.calibration import Calibrator
from training.links.scoring import LinkScorer


@dataclass(frozen=True)
class NewDocument:
    """A document that is not in the corpus.

    Attributes:
        id: unlike all of the corpus's.
        title: may be empty.
        text: may be empty where it brings links.
        links: ids of documents of the corpus that it is linked with.
    """

    id: str
    title: str
    text: str
    links: tuple[str, ...] = ()

    @property
    def whole(self) -> str:
        """Title and text, as the corpus's documents are read."""
        return f"{self.title}\n{self.text}"


def with_documents(
    graph: GraphArtifact,
    new: Sequence[NewDocument],
    vectors: npt.NDArray[np.float32],
    vocabulary: Vocabulary | None,
) -> GraphArtifact:
    """A graph with documents added at its end.

    Args:
        graph: of the corpus.
        new: the documents.
        vectors: float32 (m, dim), unit length, of the same encoder.
        vocabulary: of the corpus; None where it has no words.

    Raises:
        InputError: if an id is taken, or a link names an unknown document.
    """
    number = {id_: place for place, id_ in enumerate(graph.ids)}
    for document in new:
        if document.id in number:
            raise InputError(
                f"the corpus has a document with the id {document.id!r}", "Give the new document another id."
            )
        for other in document.links:
            if other not in number:
                raise InputError(
                    f"the new document {document.id!r} is linked with {other!r}, which the corpus does not have",
                    "Name documents by their ids in the corpus.",
                )
    brought = [
        (len(graph.ids) + place, number[other]) for place, document in enumerate(new) for other in document.links
    ]
    words = graph.words
    if words is not None:
        rows = (
            vocabulary.rows(document.whole for document in new)
            if vocabulary is not None
            else sp.csr_matrix(np.zeros((len(new), words.shape[1]), np.float32))
        )
        words = sp.csr_matrix(sp.vstack([words, rows]))
    return replace(
        graph,
        ids=[*graph.ids, *(document.id for document in new)],
        titles=[*graph.titles, *(document.title for document in new)],
        vectors=np.concatenate([graph.vectors, vectors]),
        pairs=np.concatenate([graph.pairs, np.array(brought, np.int64).reshape(-1, 2)]),
        split=np.concatenate([graph.split, np.full(len(brought), PARTS.index("brought"), graph.split.dtype)]),
        relation=np.concatenate([graph.relation, np.zeros(len(brought), graph.relation.dtype)]),
        words=words,
    )


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
    opened = load_graph(graph)
    dim = opened.vectors.shape[1]
    vectors = np.zeros((len(new), dim), np.float32)
    if encode is not None and dim:
        vectors = encode([document.whole for document in new])
    vocabulary = Vocabulary.load(graph / VOCABULARY) if (graph / VOCABULARY).exists() else None
    extended = with_documents(opened, new, vectors, vocabulary)
    scorer = LinkScorer.open(train, extended)
    promised = Calibrator.load(calibrator) if calibrator is not None else None
    found = []
    for place, document in enumerate(new, len(opened.ids)):
        (scores,) = scorer.score(np.array([place]))
        scores[[place, *extended.seen_graph.adjacency[[place]].indices]] = -np.inf
        scores[len(opened.ids) :] = -np.inf
        best = np.argsort(-scores, kind="stable")[: min(top, len(opened.ids) - len(document.links))]
        sources = np.full(len(best), place)
        logits = scorer.score_pairs(sources, best)
        chances = promised(logits) if promised is not None else 1 / (1 + np.exp(-logits.astype(np.float64)))
        relation = [scorer.relation_names[number] for number in scorer.relations(sources, best).tolist()]
        proposed = Proposed(sources, best, chances, logits, relation, np.zeros(len(best), np.uint8))
        terms = _shared_terms(document, [extended.ids[other] for other in best.tolist()], documents, vocabulary)
        found.append(proposal_table(extended, proposed, terms).to_pylist())
    return found


def _shared_terms(
    new: NewDocument, others: Sequence[str], documents: Path | None, vocabulary: Vocabulary | None
) -> list[list[str]]:
    """The words that are rarest in the corpus of those that a new document shares with each other one."""
    if documents is None or vocabulary is None:
        return [[] for _ in others]
    texts = texts_of(documents, others)
    weights = vocabulary.weights(telling_words(new.whole))
    shared = []
    for other in others:
        both = [word for word in telling_words(texts.get(other, "")) if weights.get(word, 0) > 0]
        shared.append(sorted(both, key=lambda word: (-weights[word], word))[:NAMED])
    return shared
