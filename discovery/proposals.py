"""The table of proposed links, and the sentence that gives the reason for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data.graph.graph import Graph, GraphArtifact
from data.partitions import read_batches
from discovery.candidates import SOURCES, Nodes

PROPOSALS = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("source_title", pa.string(), nullable=False),
        pa.field("target_title", pa.string(), nullable=False),
        pa.field("source_label", pa.string(), nullable=False),  # titles where they name one document, else ids or both
        pa.field("target_label", pa.string(), nullable=False),
        pa.field("probability", pa.float32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("text_similarity", pa.float32(), nullable=False),
        pa.field("shared_neighbours", pa.int32(), nullable=False),
        pa.field("shared", pa.list_(pa.string()), nullable=False),  # labels of the most telling ones
        pa.field("terms", pa.list_(pa.string()), nullable=False),  # rare words of both texts
        pa.field("candidate_sources", pa.list_(pa.string()), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)

SHARED_NAMED = 3


@dataclass(frozen=True)
class Proposed:
    """Links that are proposed, best first.

    Attributes:
        sources: int64 (P,) node numbers.
        targets: int64 (P,) node numbers.
        probability: float64 (P,).
        score: float32 (P,) of the model.
        relation: (P,) names.
        found_by: uint8 (P,) bits of ``candidates.SOURCES``.
    """

    sources: Nodes
    targets: Nodes
    probability: npt.NDArray[np.float64]
    score: npt.NDArray[np.float32]
    relation: Sequence[str]
    found_by: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.sources)

    def part(self, rows: slice) -> "Proposed":
        """Some of them."""
        return Proposed(
            self.sources[rows],
            self.targets[rows],
            self.probability[rows],
            self.score[rows],
            self.relation[rows],
            self.found_by[rows],
        )


def proposal_table(graph: GraphArtifact, proposed: Proposed, terms: Sequence[Sequence[str]]) -> pa.Table:
    """Proposals as rows of ``PROPOSALS``, in the given order.

    Args:
        graph: for ids, titles, vectors and shared neighbours (of all known links).
        proposed: the links.
        terms: of each, the telling words that both texts have.
    """
    sources, targets = proposed.sources, proposed.targets
    similarity = np.einsum("pd,pd->p", graph.vectors[sources], graph.vectors[targets])
    known, compared = graph.known_graph, graph.vectors.shape[1] > 0
    labels = graph.labels
    rows = []
    for p, (u, v) in enumerate(zip(sources.tolist(), targets.tolist(), strict=True)):
        shared = shared_neighbours(known, u, v)
        named = [labels.of(int(w)) for w in shared[:SHARED_NAMED]]
        ways = [name for name, bit in SOURCES.items() if proposed.found_by[p] & bit]
        rows.append(
            {
                "source": graph.ids[u],
                "target": graph.ids[v],
                "source_title": graph.titles[u],
                "target_title": graph.titles[v],
                "source_label": labels.of(u),
                "target_label": labels.of(v),
                "probability": float(proposed.probability[p]),
                "score": float(proposed.score[p]),
                "relation": proposed.relation[p],
                "text_similarity": float(similarity[p]),
                "shared_neighbours": len(shared),
                "shared": named,
                "terms": list(terms[p]),
                "candidate_sources": ways,
                "reason": reason(float(similarity[p]) if compared else None, len(shared), named, ways, terms[p]),
            }
        )
    return pa.Table.from_pylist(rows, schema=PROPOSALS)


def shared_neighbours(graph: Graph, u: int, v: int) -> Nodes:
    """Neighbours of both, the least linked first: a hub that links to everything is little evidence."""
    of_u = graph.indices[graph.indptr[u] : graph.indptr[u + 1]]
    of_v = graph.indices[graph.indptr[v] : graph.indptr[v + 1]]
    both = np.intersect1d(of_u, of_v, assume_unique=True)
    return np.asarray(both[np.argsort(graph.degrees[both], kind="stable")], np.int64)


def reason(
    similarity: float | None, shared: int, named: Sequence[str], ways: Sequence[str], terms: Sequence[str] = ()
) -> str:
    """Why a link is proposed, in one sentence.

    Args:
        similarity: cosine of the two texts; None where there are no vectors to compare.
        shared: how many neighbours both have.
        named: labels of some of them.
        ways: names of ``candidates.SOURCES`` that found the pair.
        terms: telling words that both texts have.
    """
    structure = f"Both are linked with {_listed(named, shared)}" if shared else "No neighbour in common"
    both = f"; both have {_listed(terms, len(terms))}" if terms else ""
    near_text = ", among the nearest texts" if "text" in ways else ""
    texts = "" if similarity is None else f"; text similarity {similarity:.2f}{near_text}"
    near_model = "; near each other in the link model" if "model" in ways else ""
    walks = "; met by walks over the links" if "walks" in ways and not shared else ""
    return f"{structure}{both}{texts}{near_model}{walks}."


def _listed(named: Sequence[str], count: int) -> str:
    """Names in quotes, and how many others there are."""
    quoted = [f"“{name}”" for name in named]
    others = count - len(quoted)
    if others:
        quoted.append(f"{others} other{'s' if others > 1 else ''}")
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def read_best(links: Path, top: int) -> list[dict[str, Any]]:
    """The best proposals of a written table, best first, at most ``top`` rows as plain dictionaries."""
    rows = (row for batch in read_batches(links, rows=max(1, min(top, 4096))) for row in batch.to_pylist())
    return list(islice(rows, top))
