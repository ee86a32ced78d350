"""Documents that are not in the corpus, in its graph, so that a model can say what they are linked with.

The graph is extended by the new documents: they have a vector and words like all others, their links are links that may
be seen, and the model's learned vectors, which they lack, count as nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data.errors import InputError
from data.graph.graph import KEPT_GRAPHS, Graph, GraphArtifact
from data.graph.words import Vocabulary
from data.schema import PARTS


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
    extended = replace(
        graph,
        ids=[*graph.ids, *(document.id for document in new)],
        titles=[*graph.titles, *(document.title for document in new)],
        vectors=np.concatenate([graph.vectors, vectors]),
        pairs=np.concatenate([graph.pairs, np.array(brought, np.int64).reshape(-1, 2)]),
        split=np.concatenate([graph.split, np.full(len(brought), PARTS.index("brought"), graph.split.dtype)]),
        relation=np.concatenate([graph.relation, np.zeros(len(brought), graph.relation.dtype)]),
        words=words,
    )
    if not brought:  # the graphs are those of the corpus, with documents that nothing leads to
        for name in KEPT_GRAPHS:
            extended.__dict__[name] = _with_isolated(getattr(graph, name), len(new))
    return extended


def _with_isolated(graph: Graph, more: int) -> Graph:
    return Graph(np.concatenate([graph.indptr, np.full(more, graph.indptr[-1])]), graph.indices)
